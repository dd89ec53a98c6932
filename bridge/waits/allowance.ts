/** Of the time, somebody may use so much for long … */
const SHARE = 0.3;
/** … and so many milliseconds more at once. */
const AT_ONCE_MS = 300;

/** How much of the time somebody has used lately. Times in milliseconds. */
export class Allowance {
  #usedMs = 0;

  constructor(private since: number) {}

  get isUsedUp(): boolean {
    return this.#usedMs > AT_ONCE_MS;
  }

  spend(ms: number, now: number): void {
    // What is far beyond it has to be made up for within a second or two.
    this.#usedMs = Math.min(this.#left(now) + ms, 2 * AT_ONCE_MS);
    this.since = now;
  }

  /** Whether nothing of it is used. */
  isWhole(now: number): boolean {
    return this.#left(now) === 0;
  }

  #left(now: number): number {
    return Math.max(0, this.#usedMs - SHARE * (now - this.since));
  }
}
