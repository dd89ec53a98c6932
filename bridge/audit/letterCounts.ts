import type { ReceivedMessage } from '../../shared/bus.ts';
import type { JetStream } from '../jetStream/api.ts';
import type { Nats } from '../nats.ts';
import { replayOf, type EarlierReplays } from './replays.ts';
import { Budget, StreamHistory } from './streamHistory.ts';

/** How many letters are read, from the end of the stream. */
const LETTERS = 5_000;
const LIMIT_MS = 5_000;

/** The number of dead letters of one kind. Texts are foreign. */
export interface LetterCount {
  readonly function: string;
  /** The route, or for a hook the reason. */
  readonly name: string;
  readonly reason: string;
  readonly count: number;
  /** How many of them were replayed, and something came of it. */
  readonly replayed: number;
  /** Of the newest one. */
  readonly detail: string;
  /** When the newest one came, in milliseconds since the epoch. */
  readonly lastAt: number | undefined;
}

/**
 * Counts the last dead letters by route and reason, by their headers alone; undefined where they can't be read.
 *
 * @param earlier what became of letters that were replayed
 */
export async function countLetters(
  { stream, subjectPrefix }: { readonly stream: string; readonly subjectPrefix: string },
  { nats, jetStream, now }: { readonly nats: Nats; readonly jetStream: JetStream; readonly now: () => number },
  earlier: EarlierReplays,
): Promise<LetterCount[] | undefined> {
  const counts = new Map<string, LetterCount>();
  const history = new StreamHistory({
    ...{ nats, jetStream, stream, whole: () => false, step: LETTERS },
    budget: new Budget(LETTERS, LIMIT_MS, now),
    // They come oldest first.
    onMessage: (message) => {
      const letter = letterIn(message, subjectPrefix.length + 1);
      const key = [letter.function, letter.name, letter.reason].join(' ');
      const { count = 0, replayed = 0 } = counts.get(key) ?? {};
      const { place, storedAt } = message;
      const isReplayed = place !== undefined && replayOf(earlier, place, storedAt)?.isDone === true;
      counts.set(key, { ...letter, count: count + 1, replayed: replayed + Number(isReplayed) });
    },
  });
  await history.stepBack();
  if (history.trouble !== undefined) return undefined;
  return [...counts.values()].sort((one, next) => (next.lastAt ?? 0) - (one.lastAt ?? 0));
}

function letterIn(
  { subject, headers, storedAt }: ReceivedMessage,
  prefix: number,
): Omit<LetterCount, 'count' | 'replayed'> {
  const [of = '', ...name] = subject.slice(prefix).split('.');
  const header = (key: string) => headers.get(key)?.[0] ?? '';
  return {
    ...{ function: of, name: name.join('.'), reason: header('bridge-reason') },
    ...{ detail: header('bridge-detail'), lastAt: storedAt },
  };
}
