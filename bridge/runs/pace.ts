/** Lets a limited number through in any minute; later callers wait for a place. */
export class Pace {
  /** When the last ones were let through, oldest first. */
  readonly #taken: number[] = [];

  /**
   * @param minuteMs how long a minute is
   * @param now milliseconds since the epoch
   */
  constructor(
    private readonly most: number,
    private readonly minuteMs: number,
    private readonly now: () => number,
  ) {}

  /** How long to wait for a place, in milliseconds; 0 takes one. */
  take(): number {
    const now = this.now();
    while ((this.#taken[0] ?? Infinity) <= now - this.minuteMs) this.#taken.shift();
    const [oldest] = this.#taken;
    if (oldest !== undefined && this.#taken.length >= this.most) return Math.max(1, oldest + this.minuteMs - now);
    this.#taken.push(now);
    return 0;
  }
}
