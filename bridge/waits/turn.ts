import { SLICE_MS } from '../../shared/waiting/judge.ts';

/** Keeps long work from holding up timers and the socket. */
export class Turn {
  #since = performance.now();

  /** Gives the event loop its turn once the work has gone on for long. */
  async over(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
