import type { Attributes } from '../../shared/event/cloudEvent.ts';
import type { Intents } from './intents.ts';

/** An event at the end of a chain of this many runs of the bridge starts no more. */
export const MOST_HOPS = 3;
const MOST_KNOWN = 10_000;
/** A run whose answer was lost is recorded late. */
const UNKNOWN_MS = 5_000;

/** Counts the runs of the bridge that led to an event, so that events can't start pipelines in a circle. */
export class LoopGuard {
  readonly #known = new Map<number, { readonly hops: number; readonly until: number }>();

  /** @param now milliseconds since the epoch */
  constructor(
    private readonly intents: Pick<Intents, 'run'>,
    private readonly now: () => number,
  ) {}

  /** The hops of an event; 0 if none of the bridge's runs published it. Fails as the bucket does. */
  async hopsOf({ azprunid }: Attributes): Promise<number> {
    if (azprunid === undefined || !/^[1-9]\d{0,14}$/.test(azprunid)) return 0;
    const id = Number(azprunid);
    const known = this.#known.get(id);
    if (known !== undefined && this.now() < known.until) return known.hops;
    const record = await this.intents.run(id);
    const hops = record === undefined ? 0 : record.hops + 1;
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(id, { hops, until: record === undefined ? this.now() + UNKNOWN_MS : Infinity });
    return hops;
  }
}
