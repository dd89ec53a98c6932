import type { LookBack, StoredEvent, StreamLookup } from '../../shared/bus.ts';
import type { OpenWait } from './openWait.ts';
import type { KnownWait } from './openWaits.ts';
import type { WaitStart } from './record.ts';

/** How many lists of subjects are looked up at a time: any number of waits may end at once. */
const MOST_LOOKS = 5;

export interface LookBacksOptions {
  readonly stream: string;
  readonly nats: { readonly lookup: Pick<StreamLookup, 'holdings'> };
  /** Whether a wait may learn that there are events on a subject. */
  readonly mayRead: (wait: KnownWait, subject: string) => boolean;
}

/** What the stream holds for waits that end without having seen an event, as far as that costs little. Never rejects. */
export async function lookBacks(
  waits: readonly OpenWait[],
  { stream, nats, mayRead }: LookBacksOptions,
): Promise<(wait: OpenWait) => LookBack | undefined> {
  const lists = new Map<string, readonly string[]>();
  for (const wait of waits)
    if (lists.size < MOST_LOOKS && wait.counts.seen === 0) lists.set(keyOf(wait), wait.subjects);
  const looks = [...lists].map(async ([key, subjects]) => [key, await nats.lookup.holdings(stream, subjects)] as const);
  const found = new Map(await Promise.all(looks));
  return (wait) => {
    const held = found.get(keyOf(wait));
    if (held === undefined || wait.counts.seen > 0) return undefined;
    const { known } = wait;
    const last =
      typeof held.last === 'object' ? { ...held.last, isBeforeStart: isBefore(held.last, known.start) } : held.last;
    return { ...held, last, near: held.near.filter((subject) => mayRead(known, subject)) };
  };
}

function keyOf({ subjects }: OpenWait): string {
  return subjects.join(' ');
}

function isBefore({ place, storedAt }: StoredEvent, { after, at }: WaitStart): boolean {
  return at === undefined ? place.sequence <= after : storedAt !== undefined && storedAt < at;
}
