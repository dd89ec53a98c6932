import { reasonOf } from '../shared/errors.ts';
import type { EventLog } from './log.ts';

/** From start to end: what was opened is closed in reverse, and what is under way gets its time. */
export class Lifecycle {
  readonly #stopping = new AbortController();
  readonly #endings: { readonly name: string; readonly end: (drained: AbortSignal) => Promise<void> }[] = [];

  constructor(private readonly log: EventLog) {}

  /** Aborts when the bridge is to stop. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Has the bridge stop. */
  stop(why: string): void {
    if (this.isStopping()) return;
    this.log.info('stopping', { reason: why });
    this.#stopping.abort();
  }

  /** Names what has begun. `end` is given a signal that aborts when the time of what is under way is over. */
  opened(name: string, end: (drained: AbortSignal) => Promise<void>): void {
    this.#endings.push({ name, end });
  }

  /** Ends what has begun, last first. Never rejects. */
  async end(drainMs: number): Promise<void> {
    this.#stopping.abort();
    const drained = AbortSignal.timeout(drainMs);
    for (const { name, end } of this.#endings.splice(0).reverse()) {
      try {
        await end(drained);
      } catch (error) {
        this.log.error('endFailed', { part: name, reason: reasonOf(error) });
      }
    }
  }
}
