/**
 * A signal that aborts after a time, or with another signal. For use many times per second: `AbortSignal.timeout` stays
 * around until its time is over, and `AbortSignal.any` leaves something behind on a long-lived signal.
 */
export class TimeLimit {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort: () => void;
  #isOver = false;

  /**
   * @param ms in milliseconds
   * @param outer aborts it, too
   * @param reason what it aborts with when the time is over
   */
  constructor(
    ms: number,
    private readonly outer?: AbortSignal,
    reason?: () => Error,
  ) {
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#controller.abort(reason?.());
    }, ms).unref();
    this.#onAbort = () => this.#controller.abort(outer?.reason);
    if (outer?.aborted === true) this.#onAbort();
    else outer?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether the time was over before the end. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Releases everything; from here on it never aborts. */
  end(): void {
    clearTimeout(this.#timer);
    this.outer?.removeEventListener('abort', this.#onAbort);
  }
}
