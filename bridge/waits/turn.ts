/** After this much work in a row, in milliseconds, timers and the socket get a turn. */
export const TURN_MS = 10;

/** Keeps long work from holding up timers and the socket. */
export class Turn {
  #since: number;

  /** @param now milliseconds since the epoch */
  constructor(private readonly now: () => number) {
    this.#since = now();
  }

  /** Gives the event loop a turn once the work has gone on for long. */
  async over(): Promise<void> {
    if (this.now() - this.#since < TURN_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = this.now();
  }
}

export interface RestOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Waits this many milliseconds, or until the signal aborts. Never rejects. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Limits heavy users, all together, to half of the time: the other half is for everything else. */
export class Rest {
  #workedMs = 0;
  #until = 0;

  constructor(
    private readonly options: RestOptions,
    private readonly signal: AbortSignal,
  ) {}

  /** Notes that one of them has worked this long. */
  worked(ms: number): void {
    this.#workedMs += ms;
    if (this.#workedMs < TURN_MS) return;
    this.#until = this.options.now() + this.#workedMs;
    this.#workedMs = 0;
  }

  /** Resolves once one of them may work again, or the signal has aborted. */
  async over(): Promise<void> {
    const { now, pause } = this.options;
    for (let ms = this.#until - now(); ms > 0 && !this.signal.aborted; ms = this.#until - now())
      await pause(ms, this.signal);
  }
}
