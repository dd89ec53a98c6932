import { reasonOf } from '../shared/errors.ts';
import type { EventLog } from './log.ts';

/** From start to end: whatever was opened is closed in reverse order, and work in progress gets time to finish. */
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

  /** Stops the bridge. */
  stop(why: string): void {
    if (this.isStopping()) return;
    this.log.info('stopping', { reason: why });
    this.#stopping.abort();
  }

  /** Registers something that has started. `end` gets a signal that aborts when the time for work in progress is over. */
  opened(name: string, end: (drained: AbortSignal) => Promise<void>): void {
    this.#endings.push({ name, end });
  }

  /** Ends everything that has started, last first. Never rejects. */
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
