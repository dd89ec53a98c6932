import type { Place } from '../../shared/bus.ts';
import { DECISIONS } from '../../shared/waiting/explain.ts';
import type { Decisions } from '../audit/decisions.ts';

/** Where a decision's name would say little. */
const WORDS = new Map([['foreign', DECISIONS.foreign.label]]);

interface Summary {
  count: number;
  first: Place | undefined;
  last: Place | undefined;
  readonly decisions: Map<string, number>;
}

/** Notes non-matching events as one decision per route and minute: individually, there'd be as many as events. */
export class Summaries {
  #summary: Summary | undefined;
  #writing: Promise<void> = Promise.resolve();
  readonly #timer: NodeJS.Timeout;

  constructor(
    private readonly route: string,
    private readonly decisions: Pick<Decisions, 'note'>,
    everyMs: number,
  ) {
    this.#timer = setInterval(() => void this.#flush(), everyMs).unref();
  }

  add(decision: string, place: Place | undefined): void {
    this.#summary ??= { count: 0, first: place, last: place, decisions: new Map() };
    const { decisions } = this.#summary;
    this.#summary.count++;
    this.#summary.last = place;
    decisions.set(decision, (decisions.get(decision) ?? 0) + 1);
  }

  /** Writes what is left. Never rejects. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#flush();
  }

  /** Resolves once all is written, including what a timer has just begun with. */
  #flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const summary = this.#summary;
    this.#summary = undefined;
    if (summary === undefined) return;
    const { count, first, last, decisions } = summary;
    await this.decisions.note({
      function: 'runs',
      name: this.route,
      decision: 'notMatching',
      reason: [...decisions].map(([decision, number]) => `${number} ${WORDS.get(decision) ?? decision}`).join(', '),
      followed: {
        count,
        stream: first?.stream ?? '',
        firstSequence: first?.sequence ?? 0,
        lastSequence: last?.sequence ?? 0,
      },
    });
  }
}
