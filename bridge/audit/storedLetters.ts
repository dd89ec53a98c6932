import type { Place, ReceivedMessage, StreamLookup } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { deniedError, type JetStream } from '../jetStream/api.ts';
import type { Decisions } from './decisions.ts';
import { LIMITED } from './deadLetters.ts';
import { describeReplay, replayOf, type EarlierReplay, type EarlierReplays } from './replays.ts';

/** How many letters are requested at a time. */
const WINDOW = 64;

/** A dead letter as the stream has it. All texts are foreign. */
export interface StoredLetter {
  /** Its number. */
  readonly sequence: number;
  /** Milliseconds since the epoch. */
  readonly storedAt: number;
  /** `hooks`, `runs` or `waits`. */
  readonly function: string;
  /** The route, or for a hook the reason. */
  readonly name: string;
  readonly reason: string;
  readonly detail: string;
  readonly route: string | undefined;
  /** The original's place in its stream; events only. */
  readonly place: Place | undefined;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly payload: Uint8Array;
  /** Describes an original whose bytes were too many to keep; undefined when {@link payload} has them. */
  readonly missing: { readonly size: number; readonly sha256: string } | undefined;
}

/** Where dead letters are read. */
export interface LetterSource {
  readonly lookup: StreamLookup;
  readonly jetStream: Pick<JetStream, 'stream'>;
  /** `BRIDGE_DEAD`. */
  readonly stream: string;
  /** `bridge.dead`. */
  readonly subjectPrefix: string;
}

/** Which letters a person means: one by its number, or all of a route (for hooks: of a reason). */
export type LetterSelection = { readonly sequence: number } | { readonly route: string };

/** The outcome of judging a letter again: done, or a dead letter again. */
export type Replayed =
  | { readonly done: true; readonly followed: Readonly<Record<string, string | number>> }
  | { readonly done: false; readonly reason: string; readonly detail: string };

/** The reason for refusing a letter that was replayed before, and something came of it. */
export const ALREADY_REPLAYED = 'duplicate';

/** Judges a letter's original again, with all checks but its age. */
export type Replay = (letter: StoredLetter) => Promise<Replayed>;

/**
 * All dead letters there are now, oldest first.
 *
 * @throws TaskError where the stream isn't there or doesn't answer
 */
export async function* listLetters(source: LetterSource): AsyncIterable<StoredLetter> {
  const { stream, lookup, jetStream, subjectPrefix } = source;
  const info = await jetStream.stream(stream);
  if (info.kind === 'denied') throw deniedError(info);
  if (info.kind !== 'ok') {
    const problem = info.kind === 'error' ? `refused: ${info.description}` : 'did not answer';
    throw new TaskError('NoStream', `The stream ${stream} ${problem}`, 'See nats-event-bridge check.');
  }
  const { first_seq: first, last_seq: last } = info.value.state;
  // A stream that has never held anything says that it begins at 0.
  for (let from = Math.max(1, first); from <= last; from += WINDOW) {
    const sequences = Array.from({ length: Math.min(WINDOW, last - from + 1) }, (_, index) => from + index);
    for (const message of await Promise.all(sequences.map((sequence) => lookup.message(stream, sequence))))
      if (message !== undefined) yield letterIn(message, subjectPrefix);
  }
}

/**
 * One dead letter.
 *
 * @throws TaskError `InvalidInput` where there is none with this number
 */
export async function findLetter(source: LetterSource, sequence: number): Promise<StoredLetter> {
  const message = await source.lookup.message(source.stream, sequence);
  if (message !== undefined) return letterIn(message, source.subjectPrefix);
  throw new TaskError('InvalidInput', `There is no dead letter ${sequence}`, 'List them with deadLetters list.');
}

/** A letter that was judged again. */
export interface ReplayedLetter {
  readonly letter: StoredLetter;
  readonly result: Replayed;
}

/**
 * Judges letters again, as a person orders. The order is in the audit stream before anything is done, and so is each outcome
 * after it. The letters stay: the stream is a record.
 *
 * @param replays by function
 * @param earlier what became of letters that were replayed before: nothing is done for them twice
 * @throws TaskError where there is no such letter, or the order can't be noted
 */
export async function* replayLetters(
  source: LetterSource,
  selection: LetterSelection,
  order: { readonly user: string; readonly reason: string },
  replays: Readonly<Record<string, Replay>>,
  decisions: Decisions,
  earlier: EarlierReplays,
): AsyncIterable<ReplayedLetter> {
  const numbers = await selected(source, selection);
  if (numbers.length === 0) {
    const route = 'route' in selection ? selection.route : '';
    throw new TaskError('InvalidInput', `There are no dead letters of "${route}"`, 'List them with deadLetters list.');
  }
  const noted = { function: 'orders', name: 'deadLetters-replay', reason: order.reason, user: order.user } as const;
  await decisions.order({ ...noted, decision: 'ordered', followed: { ...selection, letters: numbers.length } });
  for (const number of numbers) {
    const letter = await findLetter(source, number);
    const place = { stream: source.stream, sequence: number };
    const before = replayOf(earlier, { place, storedAt: letter.storedAt });
    const result = before?.isDone === true ? alreadyReplayed(before) : await replayed(letter, replays);
    await decisions.order({
      ...noted,
      decision: result.done ? 'replayed' : 'refused',
      ...(result.done ? {} : { reason: `${result.reason}: ${result.detail}` }),
      event: { place },
      ...(result.done ? { followed: result.followed } : {}),
    });
    yield { letter, result };
  }
}

function alreadyReplayed(before: EarlierReplay): Replayed {
  return {
    done: false,
    reason: ALREADY_REPLAYED,
    detail: `nothing was done: it was replayed ${describeReplay(before)}`,
  };
}

async function selected(source: LetterSource, selection: LetterSelection): Promise<readonly number[]> {
  if ('sequence' in selection) return [(await findLetter(source, selection.sequence)).sequence];
  const numbers: number[] = [];
  for await (const letter of listLetters(source)) {
    if ((letter.route ?? letter.name) === selection.route && letter.reason !== LIMITED) numbers.push(letter.sequence);
  }
  return numbers;
}

async function replayed(letter: StoredLetter, replays: Readonly<Record<string, Replay>>): Promise<Replayed> {
  const cannot = (detail: string): Replayed => ({ done: false, reason: 'notReplayable', detail });
  if (letter.reason === LIMITED) return cannot('it only tells of letters that were not kept');
  if (letter.missing !== undefined) return cannot(`its ${letter.missing.size} bytes were more than NATS took`);
  const replay = Object.hasOwn(replays, letter.function) ? replays[letter.function] : undefined;
  if (replay === undefined) return cannot(`this configuration has no ${letter.function}`);
  try {
    return await replay(letter);
  } catch (error) {
    if (!(error instanceof TaskError)) return { done: false, reason: 'Internal', detail: reasonOf(error) };
    const { code, problem, remedy } = error;
    return { done: false, reason: code, detail: remedy === '' ? problem : `${problem}. ${remedy}` };
  }
}

function letterIn(message: ReceivedMessage, subjectPrefix: string): StoredLetter {
  const header = (name: string) => message.headers.get(name)?.[0];
  const [of = '', ...name] = message.subject.slice(subjectPrefix.length + 1).split('.');
  const stream = header('bridge-stream');
  const size = header('bridge-size');
  return {
    sequence: message.place?.sequence ?? 0,
    storedAt: message.storedAt ?? 0,
    function: of,
    name: name.join('.'),
    reason: header('bridge-reason') ?? '',
    detail: header('bridge-detail') ?? '',
    route: header('bridge-route'),
    place: stream === undefined ? undefined : { stream, sequence: Number(header('bridge-sequence')) },
    headers: message.headers,
    payload: message.payload,
    missing: size === undefined ? undefined : { size: Number(size), sha256: header('bridge-sha-256') ?? '' },
  };
}
