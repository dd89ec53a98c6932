/** The share of time that one owner may use in the long run … */
const SHARE = 0.3;
/** … and how many milliseconds on top at once. */
const AT_ONCE_MS = 300;

/** How much time an owner has used lately. Times in milliseconds. */
export class Allowance {
  #usedMs = 0;

  constructor(private since: number) {}

  get isUsedUp(): boolean {
    return this.#usedMs > AT_ONCE_MS;
  }

  spend(ms: number, now: number): void {
    // Even a large excess has to be made up for within a second or two.
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
