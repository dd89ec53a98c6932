import type { ReceivedMessage } from '../../shared/bus.ts';
import { isObject, parseObject } from '../../shared/text/json.ts';
import type { JetStream } from '../jetStream/api.ts';
import { BRIDGE_AUDIT, namesOf } from '../names.ts';
import type { Nats } from '../nats.ts';
import type { BridgeSettings } from '../settings.ts';
import { decisionIn, keyOf } from './facts.ts';
import { Budget, StreamHistory } from './streamHistory.ts';

/** How long reading may take. The audit stream finds orders by their subject, however much else it has. */
const LIMIT_MS = 5_000;

/** How something was replayed the last time that something came of it; if nothing ever did, the last time. Texts are foreign. */
export interface EarlierReplay {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly user: string;
  readonly isDone: boolean;
  /** What came of it: `run 7` or the event's place; or why it was refused. */
  readonly outcome: string;
}

export interface EarlierReplays {
  /** By the place of the letter or event. */
  readonly byPlace: ReadonlyMap<string, EarlierReplay>;
  /** Why not all of them are known: a sentence without a full stop. */
  readonly trouble: string | undefined;
}

export interface ReplaySources {
  readonly settings: Pick<BridgeSettings, 'instance'>;
  readonly nats: Nats;
  readonly jetStream: JetStream;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * The replays that the audit stream has. Never rejects.
 *
 * @param route only those of this route; absent: all
 */
export async function earlierReplays(
  order: 'deadLetters-replay' | 'routes-replay',
  { settings, nats, jetStream, now }: ReplaySources,
  route?: string,
): Promise<EarlierReplays> {
  const names = namesOf(settings.instance);
  const byPlace = new Map<string, EarlierReplay>();
  const history = new StreamHistory({
    ...{ nats, jetStream, stream: names.of(BRIDGE_AUDIT), whole: 'all' },
    subject: names.subject(`bridge.decisions.orders.${order}`),
    budget: new Budget(Infinity, LIMIT_MS, now),
    // They come oldest first.
    onMessage: (message) => {
      const decision = decisionIn(message);
      const place = decision?.event.place;
      if (decision === undefined || place === undefined || !['replayed', 'refused'].includes(decision.decision)) return;
      if (route !== undefined && decision.route !== route) return;
      const isDone = decision.decision === 'replayed';
      const key = keyOf(place);
      if (!isDone && byPlace.get(key)?.isDone === true) return;
      const { at, user, reason } = decision;
      byPlace.set(key, { at, user, isDone, outcome: isDone ? followedIn(message.payload) : reason });
    },
  });
  await history.stepBack();
  return { byPlace, trouble: history.trouble };
}

/**
 * How a dead letter or event was replayed; undefined if it wasn't. What is older than the message itself was about another one:
 * a stream that is created anew counts from 1 again.
 *
 * @param storedAt when the message was stored, in milliseconds since the epoch
 */
export function replayOf(
  { byPlace }: EarlierReplays,
  { place, storedAt }: Pick<ReceivedMessage, 'place' | 'storedAt'>,
): EarlierReplay | undefined {
  const replay = place && byPlace.get(keyOf(place));
  return replay !== undefined && replay.at >= (storedAt ?? 0) ? replay : undefined;
}

/** What came of it, in words: foreign text. */
export function describeReplay({ at, user, isDone, outcome }: EarlierReplay): string {
  return `${isDone ? '' : 'refused '}at ${new Date(at).toISOString()} by ${user}${outcome === '' ? '' : `: ${outcome}`}`;
}

function followedIn(payload: Uint8Array): string {
  const followed = parseObject(Buffer.from(payload).toString())?.['followed'];
  if (!isObject(followed)) return '';
  const { run, stream, sequence } = followed;
  if (typeof run === 'number' || typeof run === 'string') return `run ${run}`;
  return typeof stream === 'string' && typeof sequence === 'number' ? `${stream}:${sequence}` : '';
}
