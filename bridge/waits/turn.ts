import { SLICE_MS } from '../../shared/waiting/judge.ts';

/** Keeps long work from holding up timers and the socket. */
export class Turn {
  #since: number;

  /** @param now milliseconds since the epoch */
  constructor(private readonly now: () => number) {
    this.#since = now();
  }

  /** Gives the event loop its turn once the work has gone on for long. */
  async over(): Promise<void> {
    if (this.now() - this.#since < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = this.now();
  }
}
