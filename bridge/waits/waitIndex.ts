import { subjectTest } from '../../shared/subject.ts';

/** The keys that waits are found by. */
export interface Indexed {
  /** Patterns, none covered by another. */
  readonly subjects: readonly string[];
  readonly correlationId: string | undefined;
}

/** The waits on one subject or pattern. */
class Shelf<Wait extends Indexed> {
  readonly #correlated = new Map<string, Set<Wait>>();
  readonly #others = new Set<Wait>();

  get isEmpty(): boolean {
    return this.#correlated.size === 0 && this.#others.size === 0;
  }

  add(wait: Wait): void {
    const { correlationId } = wait;
    if (correlationId === undefined) {
      this.#others.add(wait);
      return;
    }
    const waits = this.#correlated.get(correlationId) ?? new Set();
    this.#correlated.set(correlationId, waits.add(wait));
  }

  delete(wait: Wait): void {
    const { correlationId } = wait;
    this.#others.delete(wait);
    if (correlationId === undefined) return;
    const waits = this.#correlated.get(correlationId);
    waits?.delete(wait);
    if (waits?.size === 0) this.#correlated.delete(correlationId);
  }

  find(correlationIdOf: () => string | undefined, found: Set<Wait>): void {
    for (const wait of this.#others) found.add(wait);
    if (this.#correlated.size === 0) return;
    const id = correlationIdOf();
    for (const wait of (id === undefined ? undefined : this.#correlated.get(id)) ?? []) found.add(wait);
  }
}

/** Finds the waits that an event may concern: one lookup for all those with correlation ids. */
export class WaitIndex<Wait extends Indexed> {
  readonly #literals = new Map<string, Shelf<Wait>>();
  readonly #patterns = new Map<string, { readonly test: (subject: string) => boolean; readonly shelf: Shelf<Wait> }>();

  add(wait: Wait): void {
    for (const subject of wait.subjects) {
      if (isLiteral(subject)) {
        const shelf = this.#literals.get(subject) ?? new Shelf();
        this.#literals.set(subject, shelf);
        shelf.add(wait);
      } else {
        const pattern = this.#patterns.get(subject) ?? { test: subjectTest(subject), shelf: new Shelf() };
        this.#patterns.set(subject, pattern);
        pattern.shelf.add(wait);
      }
    }
  }

  delete(wait: Wait): void {
    for (const subject of wait.subjects) {
      const shelf = isLiteral(subject) ? this.#literals.get(subject) : this.#patterns.get(subject)?.shelf;
      shelf?.delete(wait);
      if (shelf?.isEmpty !== true) continue;
      this.#literals.delete(subject);
      this.#patterns.delete(subject);
    }
  }

  /**
   * The waits on a subject without a correlation id or with this one, each once.
   *
   * @param correlationIdOf the event's; asked for only where it decides
   */
  find(subject: string, correlationIdOf: () => string | undefined): ReadonlySet<Wait> {
    const found = new Set<Wait>();
    this.#literals.get(subject)?.find(correlationIdOf, found);
    for (const { test, shelf } of this.#patterns.values()) if (test(subject)) shelf.find(correlationIdOf, found);
    return found;
  }
}

/** How many events have passed on some subjects. */
export interface Passed {
  readonly count: number;
}

interface Counter {
  count: number;
  users: number;
  readonly tests: readonly ((subject: string) => boolean)[];
}

/** Counts events per set of subjects, so that not every wait has to be shown every event. */
export class PassedEvents {
  readonly #literals = new Map<string, Counter>();
  readonly #others = new Map<string, Counter>();

  /** The counter of these subjects, which lasts until it was left as often as it was joined. */
  join(subjects: readonly string[]): Passed {
    const [counters, name] = this.#placeOf(subjects);
    const counter = counters.get(name) ?? { count: 0, users: 0, tests: subjects.map(subjectTest) };
    counter.users++;
    counters.set(name, counter);
    return counter;
  }

  leave(subjects: readonly string[]): void {
    const [counters, name] = this.#placeOf(subjects);
    const counter = counters.get(name);
    if (counter !== undefined && --counter.users === 0) counters.delete(name);
  }

  passed(subject: string): void {
    const literal = this.#literals.get(subject);
    if (literal !== undefined) literal.count++;
    for (const counter of this.#others.values()) if (counter.tests.some((test) => test(subject))) counter.count++;
  }

  #placeOf(subjects: readonly string[]): [Map<string, Counter>, string] {
    const name = subjects.join(' ');
    return [subjects.length === 1 && isLiteral(name) ? this.#literals : this.#others, name];
  }
}

function isLiteral(subject: string): boolean {
  return !/(^|\.)[*>](\.|$)/.test(subject);
}
