import { safeText } from '../../shared/text/safeText.ts';
import { auditOf, deadLetterPlaces } from '../audit/audit.ts';
import {
  findLetter,
  listLetters,
  replayLetters,
  type LetterSelection,
  type LetterSource,
  type Replay,
  type StoredLetter,
} from '../audit/storedLetters.ts';
import type { Parts } from '../functions.ts';
import { judgeOptions } from '../hooks/hooks.ts';
import { replayHook } from '../hooks/receive.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession, type Session } from './session.ts';

export type DeadLettersCommand =
  | { readonly kind: 'list' }
  | { readonly kind: 'show'; readonly sequence: number }
  | { readonly kind: 'replay'; readonly selection: LetterSelection; readonly reason: string };

/**
 * Lists dead letters, shows one, or judges some again.
 *
 * @returns the exit code
 */
export async function deadLetters(command: DeadLettersCommand, file: string, world: World): Promise<number> {
  const { settings } = configurationOf(file, world);
  return withSession(settings, world, (session) => {
    const { nats, jetStream } = session;
    const source = { lookup: nats.lookup, jetStream, ...deadLetterPlaces(settings) };
    switch (command.kind) {
      case 'list':
        return list(source, world);
      case 'show':
        return show(source, command.sequence, world);
      case 'replay':
        return replay(source, command, { ...session, settings, now: () => world.now() }, world);
    }
  });
}

async function list(source: LetterSource, world: World): Promise<number> {
  let letters = 0;
  for await (const letter of listLetters(source)) {
    if (letters++ === 0) world.out(lineOf(['N', 'TIME', 'FUNCTION', 'ROUTE OR REASON', 'REASON', 'BYTES', 'DETAIL']));
    const { sequence, function: of, name, reason, payload, missing, detail } = letter;
    const bytes = missing?.size ?? payload.length;
    world.out(lineOf([String(sequence), timeOf(letter), of, name, reason, String(bytes), detail]));
  }
  world.err(letters === 0 ? 'There are no dead letters.\n' : `${letters} dead letter${letters === 1 ? '' : 's'}.\n`);
  return 0;
}

async function show(source: LetterSource, sequence: number, world: World): Promise<number> {
  const letter = await findLetter(source, sequence);
  const facts = [
    ['N', String(sequence)],
    ['Time', timeOf(letter)],
    ['Function', letter.function],
    ['Route or reason', letter.name],
    ...[...letter.headers].flatMap(([header, values]) => values.map((value) => [header, value])),
  ];
  for (const [fact = '', value = ''] of facts) world.out(`${safeText(fact)}: ${safeText(value)}\n`);
  world.out('\n');
  // Bytes from anywhere could tell a terminal to do things.
  world.out(world.isTerminal ? linesOf(letter.payload) : letter.payload);
  return 0;
}

async function replay(
  source: LetterSource,
  { selection, reason }: Extract<DeadLettersCommand, { kind: 'replay' }>,
  parts: Session & Parts,
  world: World,
): Promise<number> {
  const audit = auditOf(parts, world.version);
  let refused = 0;
  const order = { user: world.user, reason };
  for await (const { letter, result } of replayLetters(source, selection, order, replaysOf(parts), audit.decisions)) {
    if (!result.done) refused++;
    const outcome = result.done
      ? ['done', ...Object.entries(result.followed).map(([name, value]) => `${name} ${value}`)]
      : ['refused', `${result.reason}: ${result.detail}`];
    world.out(lineOf([String(letter.sequence), ...outcome]));
  }
  await audit.deadLetters.close();
  return refused === 0 ? 0 : 1;
}

/** How the letters of each function that the configuration turns on are judged again. */
function replaysOf(parts: Parts): Readonly<Record<string, Replay>> {
  const { hooks }: BridgeSettings = parts.settings;
  return hooks === undefined ? {} : { hooks: replayHook(judgeOptions(hooks, parts)) };
}

function timeOf({ storedAt }: StoredLetter): string {
  return new Date(storedAt).toISOString();
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
