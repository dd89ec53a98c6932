import type { ReceivedMessage, StreamLookup } from '../../shared/bus.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { STREAM_NOT_FOUND } from '../jetStream/api.ts';
import { BRIDGE_DEAD, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession, type Session } from './session.ts';

/** Letters that are asked for at a time. */
const WINDOW = 64;

export type DeadLettersCommand = { readonly kind: 'list' } | { readonly kind: 'show'; readonly sequence: number };

/**
 * Lists dead letters, or shows one.
 *
 * @returns the exit code
 */
export async function deadLetters(command: DeadLettersCommand, file: string, world: World): Promise<number> {
  const { settings } = configurationOf(file, world);
  return withSession(settings, world, (session) => {
    switch (command.kind) {
      case 'list':
        return list(settings, session, world);
      case 'show':
        return show(command.sequence, settings, session, world);
    }
  });
}

async function list(settings: BridgeSettings, { nats, jetStream }: Session, world: World): Promise<number> {
  const stream = streamOf(settings);
  const info = await jetStream.stream(stream);
  if (info.kind !== 'ok') {
    const isMissing = info.kind === 'error' && info.errorCode === STREAM_NOT_FOUND;
    world.err(
      `The stream ${stream} ${isMissing ? "doesn't exist: nats-event-bridge setup --apply" : "can't be asked"}.\n`,
    );
    return 1;
  }
  const { first_seq: first, last_seq: last } = info.value.state;
  let letters = 0;
  // A stream that has never held anything says that it begins at 0.
  for (let from = Math.max(1, first); from <= last; from += WINDOW) {
    const sequences = Array.from({ length: Math.min(WINDOW, last - from + 1) }, (_, index) => from + index);
    for (const letter of await Promise.all(sequences.map((sequence) => nats.lookup.message(stream, sequence)))) {
      if (letter === undefined) continue;
      if (letters++ === 0) world.out(lineOf(['N', 'TIME', 'FUNCTION', 'ROUTE OR REASON', 'BYTES', 'REASON']));
      world.out(lineOf(cellsOf(letter, settings)));
    }
  }
  world.err(letters === 0 ? 'There are no dead letters.\n' : `${letters} dead letter${letters === 1 ? '' : 's'}.\n`);
  return 0;
}

async function show(sequence: number, settings: BridgeSettings, { nats }: Session, world: World): Promise<number> {
  const letter = await letterAt(sequence, settings, nats.lookup);
  if (letter === undefined) {
    world.err(`There is no dead letter ${sequence}.\n`);
    return 1;
  }
  const [, time, of, name] = cellsOf(letter, settings);
  const facts = [
    ['N', String(sequence)],
    ['Time', time],
    ['Function', of],
    ['Route or reason', name],
    ...[...letter.headers].flatMap(([header, values]) => values.map((value) => [header, value])),
  ];
  for (const [fact = '', value = ''] of facts) world.out(`${safeText(fact)}: ${safeText(value)}\n`);
  world.out('\n');
  // Bytes from anywhere could tell a terminal to do things.
  world.out(world.isTerminal ? linesOf(letter.payload) : letter.payload);
  return 0;
}

/** A dead letter; undefined where there is none with this sequence. */
export function letterAt(
  sequence: number,
  settings: BridgeSettings,
  lookup: StreamLookup,
): Promise<ReceivedMessage | undefined> {
  return lookup.message(streamOf(settings), sequence);
}

function streamOf({ instance }: BridgeSettings): string {
  return namesOf(instance).of(BRIDGE_DEAD);
}

function cellsOf(
  { place, storedAt, subject, headers, payload }: ReceivedMessage,
  { instance }: BridgeSettings,
): string[] {
  const [of = '', ...name] = subject.slice(namesOf(instance).subject('bridge.dead.').length).split('.');
  return [
    String(place?.sequence ?? ''),
    storedAt === undefined ? '' : new Date(storedAt).toISOString(),
    of,
    name.join('.'),
    String(payload.length),
    headers.get('bridge-reason')?.join(', ') ?? '',
  ];
}

function lineOf(cells: readonly string[]): string {
  return `${cells.map((cell) => safeText(cell, 200)).join('\t')}\n`;
}

function linesOf(payload: Uint8Array): string {
  return Buffer.from(payload)
    .toString()
    .split('\n')
    .map((line) => `${safeText(line)}\n`)
    .join('');
}
