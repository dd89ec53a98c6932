import type { Place } from '../../shared/bus.ts';
import { parsePlace, type DecisionFact, type EventFact, type Facts } from './facts.ts';
import { traceOf, type Asked, type Trace } from './trace.ts';

const DAY_MS = 86_400_000;
/** The longest a run that publishes an event may take, and as long as the bridge remembers which ones it started. */
const RUN_MS = 7 * DAY_MS;

/** A part of the past, read into the facts step by step, newest first. */
export interface History {
  /** All since then was read, in milliseconds since the epoch; -Infinity: all there is. */
  readonly reachedAt: number;
  /** Never rejects. */
  stepBack(): Promise<void>;
}

export interface WhySources {
  readonly facts: Facts;
  readonly histories: readonly History[];
  readonly budget: { readonly isSpent: boolean };
  /** The event in a place; undefined when it isn't there, or no longer is. */
  event(place: Place): Promise<EventFact | undefined>;
  /** The bridge's own record of having started a run, apart from the audit stream; `unknown` when that can't be asked. */
  start(run: string): Promise<DecisionFact | 'unknown' | undefined>;
  /** Milliseconds since the epoch. */
  now(): number;
}

/**
 * Finds out what led to an event or run, and what came of it.
 *
 * @param id of an event, message or run, or `STREAM:sequence`
 */
export async function why(id: string, sources: WhySources): Promise<Trace> {
  return new Inquiry(sources).ask(id);
}

class Inquiry {
  /** Events of decisions that are gone from their streams or were looked up, by stream and sequence. */
  readonly #looked = new Map<string, EventFact>();

  constructor(private readonly sources: WhySources) {}

  async ask(id: string): Promise<Trace> {
    const asked = await this.#find(id);
    for (const one of asked) await this.#climb(one);
    // Everything that came of it is younger, so that is all there is to read.
    const oldest = Math.min(...asked.map((one) => this.#timeOf(one)));
    if (asked.length > 0) await this.#readBackTo(() => oldest);
    return traceOf(asked, this.sources.facts, (decision) => this.#eventOf(decision));
  }

  async #find(id: string): Promise<readonly Asked[]> {
    const { sources } = this;
    const { facts } = sources;
    const place = parsePlace(id);
    if (place !== undefined) {
      const event = await sources.event(place);
      if (event !== undefined) return [{ kind: 'event', event }];
    }
    const start = await sources.start(id);
    if (start !== undefined && start !== 'unknown') return [{ kind: 'run', run: id }];
    const known = (): boolean =>
      facts.eventsWithId(id).length > 0 ||
      facts.decisionsWithId(id).length > 0 ||
      facts.startOf(id) !== undefined ||
      facts.eventsOf(id).length > 0 ||
      (place !== undefined && facts.decisionsOn(stub(place)).length > 0);
    await this.#readBackTo(() => (known() ? Infinity : -Infinity));
    return this.#known(id, place);
  }

  async #known(id: string, place: Place | undefined): Promise<readonly Asked[]> {
    const { facts } = this.sources;
    if (place !== undefined) {
      const event = stub(place);
      const [first] = facts.decisionsOn(event);
      return first === undefined ? [] : [{ kind: 'event', event: await this.#lookUp(first, place) }];
    }
    const events = new Map<string, EventFact>();
    const note = (event: EventFact) => events.set(`${event.place?.stream ?? ''}:${event.place?.sequence ?? ''}`, event);
    for (const event of facts.eventsWithId(id)) note(event);
    for (const decision of facts.decisionsWithId(id)) note(await this.#lookUp(decision));
    if (events.size > 0) return [...events.values()].map((event) => ({ kind: 'event', event }));
    if (facts.startOf(id) !== undefined) return [{ kind: 'run', run: id }];
    if (facts.eventsOf(id).length === 0) return [];
    // The newest of its events was found; the others aren't much older.
    await this.#readBackTo(() => (facts.eventsOf(id)[0]?.at ?? 0) - DAY_MS);
    return [{ kind: 'run', run: id }];
  }

  /** Loads what led to something into the facts, as far as the bridge was part of it. */
  async #climb(asked: Asked): Promise<void> {
    const seen = new Set<string>();
    let run = asked.kind === 'run' ? asked.run : asked.event.run;
    let before = asked.kind === 'event' ? asked.event.at : this.sources.now();
    while (run !== undefined && !seen.has(run)) {
      seen.add(run);
      const start = await this.#startOf(run, before);
      if (start === undefined) return;
      const event = await this.#lookUp(start);
      run = event.run;
      before = event.at;
    }
  }

  async #startOf(run: string, before: number): Promise<DecisionFact | undefined> {
    const { sources } = this;
    const { facts } = sources;
    const found = facts.startOf(run);
    if (found !== undefined) return found;
    const answer = await sources.start(run);
    // Anything this recent would be remembered.
    if (answer === undefined && before > sources.now() - RUN_MS + DAY_MS) return undefined;
    const remembered = answer === 'unknown' ? undefined : answer;
    const since = (remembered?.at ?? before - RUN_MS) - DAY_MS;
    await this.#readBackTo(() => (facts.startOf(run) === undefined ? since : Infinity));
    if (facts.startOf(run) === undefined && remembered !== undefined) facts.addDecision(remembered);
    return facts.startOf(run);
  }

  /** Reads the past until all since a time is known, or the budget is spent. */
  async #readBackTo(time: () => number): Promise<void> {
    const { histories, budget } = this.sources;
    while (!budget.isSpent) {
      const [next] = [...histories].sort((one, other) => other.reachedAt - one.reachedAt);
      if (next === undefined || next.reachedAt === -Infinity || next.reachedAt < time()) return;
      await next.stepBack();
    }
  }

  async #lookUp(decision: DecisionFact, at?: Place): Promise<EventFact> {
    const { event } = decision;
    const place = at ?? event.place;
    if (place === undefined) return this.#eventOf(decision);
    const found = this.sources.facts.eventAt(place) ?? (await this.sources.event(place));
    const known = found ?? { ...stub(place), id: event.id, subject: event.subject, at: decision.at };
    this.#looked.set(`${place.stream}:${place.sequence}`, known);
    return known;
  }

  #eventOf({ event, at }: DecisionFact): EventFact {
    const { place, id, subject } = event;
    const looked =
      place && (this.#looked.get(`${place.stream}:${place.sequence}`) ?? this.sources.facts.eventAt(place));
    return looked ?? { kind: 'event', id, subject, place, run: undefined, pipeline: '', at };
  }

  #timeOf(asked: Asked): number {
    if (asked.kind === 'event') return asked.event.at;
    const { facts } = this.sources;
    return facts.startOf(asked.run)?.at ?? facts.eventsOf(asked.run)[0]?.at ?? 0;
  }
}

function stub(place: Place): EventFact {
  return { kind: 'event', id: '', subject: '', place, run: undefined, pipeline: '', at: 0 };
}
