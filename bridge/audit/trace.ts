import type { DecisionFact, EventFact, Facts, RunFact } from './facts.ts';

/** Anyone who wants to see more wants a database. */
const MOST_NODES = 10_000;

export interface RunNode extends RunFact {
  readonly kind: 'run';
  /** When it was started, as far as that is known: when the first event of it came, otherwise; in milliseconds. */
  readonly at: number;
}

/** What happened, and what came of it. */
export interface TraceNode {
  readonly fact: EventFact | DecisionFact | RunNode;
  readonly children: readonly TraceNode[];
}

/** What the person asks about. */
export type Asked =
  { readonly kind: 'event'; readonly event: EventFact } | { readonly kind: 'run'; readonly run: string };

/** What led to something, from the very start, and everything that followed from it. */
export interface Trace {
  readonly roots: readonly TraceNode[];
  /** More followed from it than is shown. */
  readonly isCut: boolean;
}

/**
 * Puts the facts together.
 *
 * @param eventOf the event that a decision is about, as far as it is known
 */
export function traceOf(asked: readonly Asked[], facts: Facts, eventOf: (decision: DecisionFact) => EventFact): Trace {
  const tracer = new Tracer(facts, eventOf);
  const roots = asked.flatMap((one) => tracer.rootOf(one) ?? []);
  return { roots: roots.sort((one, next) => one.fact.at - next.fact.at), isCut: tracer.isCut };
}

class Tracer {
  readonly #seen = new Set<string>();
  #nodes = 0;

  constructor(
    private readonly facts: Facts,
    private readonly eventOf: (decision: DecisionFact) => EventFact,
  ) {}

  get isCut(): boolean {
    return this.#nodes > MOST_NODES;
  }

  /** Undefined when it's part of what has been shown. */
  rootOf(asked: Asked): TraceNode | undefined {
    if (asked.kind === 'event') {
      const node = this.#eventNode(asked.event);
      return node && this.#under(asked.event.run, node);
    }
    const node = this.#runNode({ id: asked.run, url: this.facts.startOf(asked.run)?.run?.url ?? '' });
    return node && this.#underStart(asked.run, node);
  }

  /** Puts an event's tree under the run that published it, if the bridge started that run. */
  #under(run: string | undefined, node: TraceNode): TraceNode {
    const start = run === undefined ? undefined : this.facts.startOf(run);
    if (run === undefined || start?.run === undefined || !this.#isNew(`run ${run}`)) return node;
    return this.#underStart(run, { fact: { kind: 'run', ...start.run, at: start.at }, children: [node] });
  }

  #underStart(run: string, node: TraceNode): TraceNode {
    const start = this.facts.startOf(run);
    if (start === undefined) return node;
    const event = this.eventOf(start);
    const decided: TraceNode = { fact: start, children: [node] };
    if (!this.#isNew(nameOf(event))) return decided;
    return this.#under(event.run, { fact: event, children: [decided] });
  }

  #eventNode(event: EventFact): TraceNode | undefined {
    if (!this.#isNew(nameOf(event))) return undefined;
    return { fact: event, children: this.facts.decisionsOn(event).flatMap((one) => this.#decisionNode(one) ?? []) };
  }

  #decisionNode(decision: DecisionFact): TraceNode | undefined {
    if (!this.#isNew(`decision ${decision.sequence} ${decision.run?.id ?? ''}`)) return undefined;
    const run = decision.run === undefined ? undefined : this.#runNode(decision.run);
    return { fact: decision, children: run === undefined ? [] : [run] };
  }

  #runNode(run: RunFact): TraceNode | undefined {
    if (!this.#isNew(`run ${run.id}`)) return undefined;
    const events = this.facts.eventsOf(run.id);
    const at = this.facts.startOf(run.id)?.at ?? events[0]?.at ?? 0;
    return { fact: { kind: 'run', ...run, at }, children: events.flatMap((event) => this.#eventNode(event) ?? []) };
  }

  /** Whether something hasn't been shown yet and may be. */
  #isNew(name: string): boolean {
    if (this.#seen.has(name)) return false;
    this.#seen.add(name);
    return ++this.#nodes <= MOST_NODES;
  }
}

function nameOf({ place, id }: EventFact): string {
  return place === undefined ? `event ${id}` : `event ${place.stream}:${place.sequence}`;
}

/** A whole trace, oldest first; effects come after their causes, whatever the clocks say. */
export function flattened(roots: readonly TraceNode[]): readonly TraceNode['fact'][] {
  const all: { readonly fact: TraceNode['fact']; readonly at: number }[] = [];
  const visit = ({ fact, children }: TraceNode, since: number) => {
    const at = Math.max(since, fact.at);
    all.push({ fact, at });
    for (const child of children) visit(child, at);
  };
  for (const root of roots) visit(root, 0);
  return all.sort((one, next) => one.at - next.at).map(({ fact }) => fact);
}
