import { safeText } from '../../shared/text/safeText.ts';
import { auditOf, deadLetterPlaces } from '../audit/audit.ts';
import { describeReplay, earlierReplays, replayOf, type EarlierReplays } from '../audit/replays.ts';
import {
  ALREADY_REPLAYED,
  findLetter,
  listLetters,
  replayLetters,
  type LetterSelection,
  type LetterSource,
  type Replay,
  type StoredLetter,
} from '../audit/storedLetters.ts';
import { judgeOptions } from '../hooks/hooks.ts';
import { replayHook } from '../hooks/receive.ts';
import { loadContracts } from '../config/contracts.ts';
import type { Configuration } from '../config/configuration.ts';
import { replayRun } from '../runs/replay.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession, type Session } from './session.ts';

const LINE_FEED = 10;

export type DeadLettersCommand =
  | { readonly kind: 'list' }
  | { readonly kind: 'show'; readonly sequence: number }
  | { readonly kind: 'replay'; readonly letters: LetterSelection; readonly reason: string };

/**
 * Lists dead letters, shows one, or has some judged again.
 *
 * @returns the exit code
 */
export async function deadLetters(command: DeadLettersCommand, file: string, world: World): Promise<number> {
  const configuration = configurationOf(file, world);
  const { settings } = configuration;
  return withSession(settings, world, async (session) => {
    const source = { ...deadLetterPlaces(settings), lookup: session.nats.lookup, jetStream: session.jetStream };
    const earlier = await earlierReplays('deadLetters-replay', { ...session, settings, now: () => world.now() });
    if (earlier.trouble !== undefined)
      world.err(`Which letters were replayed before isn't known: ${safeText(earlier.trouble)}.\n`);
    switch (command.kind) {
      case 'list':
        return list(source, earlier, world);
      case 'show':
        return show(command.sequence, source, earlier, world);
      case 'replay':
        return replay(command, configuration, session, source, earlier, world);
    }
  });
}

async function list(source: LetterSource, earlier: EarlierReplays, world: World): Promise<number> {
  let letters = 0;
  for await (const letter of listLetters(source)) {
    if (letters++ === 0) world.out(lineOf(['N', 'TIME', 'FUNCTION', 'ROUTE OR REASON', 'BYTES', 'REASON', 'REPLAYED']));
    world.out(lineOf([...cellsOf(letter), replayCell(letter, source, earlier)]));
  }
  world.err(letters === 0 ? 'There are no dead letters.\n' : `${letters} dead letter${letters === 1 ? '' : 's'}.\n`);
  return 0;
}

async function show(sequence: number, source: LetterSource, earlier: EarlierReplays, world: World): Promise<number> {
  const letter = await findLetter(source, sequence);
  const [, time, of, name] = cellsOf(letter);
  const replayed = replayCell(letter, source, earlier);
  const facts = [
    ['N', String(sequence)],
    ['Time', time],
    ['Function', of],
    ['Route or reason', name],
    ...(replayed === '-' ? [] : [['Replayed', replayed]]),
    ...[...letter.headers].flatMap(([header, values]) => values.map((value) => [header, value])),
  ];
  for (const [fact = '', value = ''] of facts) world.out(`${safeText(fact)}: ${safeText(value)}\n`);
  world.out('\n');
  // Foreign bytes could control the terminal.
  world.out(world.isTerminal ? linesOf(letter.payload) : letter.payload);
  // A line break of ours isn't among the bytes of the original.
  if (!world.isTerminal && letter.payload.at(-1) !== LINE_FEED) world.err('\n');
  return 0;
}

async function replay(
  { letters, reason }: Extract<DeadLettersCommand, { kind: 'replay' }>,
  configuration: Configuration,
  session: Session,
  source: LetterSource,
  earlier: EarlierReplays,
  world: World,
): Promise<number> {
  const { settings } = configuration;
  const parts = { ...session, settings, now: () => world.now() };
  const audit = auditOf(parts, world.version);
  const contracts = await loadContracts(configuration);
  const replays: Record<string, Replay> = {
    ...(settings.hooks === undefined ? {} : { hooks: replayHook(judgeOptions(settings.hooks, parts)) }),
    ...(settings.runs.length === 0 ? {} : { runs: replayRun(parts, contracts, session.jetStream, audit.replica) }),
  };
  let failures = 0;
  const order = { user: world.user, reason };
  for await (const { letter, result } of replayLetters(source, letters, order, replays, audit.decisions, earlier)) {
    const number = String(letter.sequence);
    if (result.done) {
      const what = Object.entries(result.followed).map(([name, value]) => `${name}=${value}`);
      world.out(lineOf([number, 'done', ...what]));
    } else {
      // What this order is for was done before.
      if (result.reason !== ALREADY_REPLAYED) failures++;
      world.out(lineOf([number, 'refused', result.reason, result.detail]));
    }
  }
  await audit.deadLetters.close();
  return failures === 0 ? 0 : 1;
}

/** How it was replayed, if it was. */
function replayCell({ sequence, storedAt }: StoredLetter, { stream }: LetterSource, earlier: EarlierReplays): string {
  const before = replayOf(earlier, { stream, sequence }, storedAt);
  return before === undefined ? (earlier.trouble === undefined ? '-' : '?') : describeReplay(before);
}

function cellsOf({ sequence, storedAt, function: of, name, payload, missing, reason, detail }: StoredLetter): string[] {
  const size = String(missing?.size ?? payload.length);
  return [
    String(sequence),
    new Date(storedAt).toISOString(),
    of,
    name,
    size,
    [reason, detail].filter(Boolean).join(': '),
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
