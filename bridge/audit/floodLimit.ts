/** Lets a limited number through from one source in any minute. */
export class FloodLimit {
  /** When the last ones were let through, by source, oldest first. */
  readonly #taken = new Map<string, number[]>();

  /** @param now milliseconds since the epoch */
  constructor(
    private readonly most: number,
    private readonly now: () => number,
  ) {}

  /** Gives the place back if it wasn't needed after all; undefined when there is no place. */
  take(source: string): (() => void) | undefined {
    const now = this.now();
    const taken = this.#recent(source, now);
    if (taken.length >= this.most) return undefined;
    taken.push(now);
    return () => {
      const index = taken.indexOf(now);
      if (index >= 0) taken.splice(index, 1);
    };
  }

  #recent(source: string, now: number): number[] {
    // Those that have gone quiet are forgotten.
    if (this.#taken.size >= MOST_SOURCES) {
      for (const [other, times] of this.#taken) if ((times.at(-1) ?? 0) <= now - WINDOW_MS) this.#taken.delete(other);
    }
    const taken = this.#taken.get(source) ?? [];
    this.#taken.set(source, taken);
    while ((taken[0] ?? now) <= now - WINDOW_MS) taken.shift();
    return taken;
  }
}

const WINDOW_MS = 60_000;
const MOST_SOURCES = 1_000;
