import type { Place } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { subjectMatches } from '../../shared/subject.ts';
import { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { decisionIn, eventIn, Facts, type DecisionFact, type EventFact } from '../audit/facts.ts';
import { Budget, StreamHistory } from '../audit/streamHistory.ts';
import { flattened, type Trace, type TraceNode } from '../audit/trace.ts';
import { why as explain } from '../audit/why.ts';
import { BRIDGE_AUDIT, BRIDGE_INTENTS, namesOf } from '../names.ts';
import { EVENT_ID_PARAMETER } from '../config/runs.ts';
import { Intents } from '../runs/intents.ts';
import { eventIdOf, parametersOf, type ReadParameters } from '../runs/parameters.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession, type Session } from './session.ts';

/** How many messages are read in all streams, and for how long. */
const MOST_MESSAGES = 500_000;
const MOST_MS = 60_000;
/** Decisions of routes in preview whose parameters are computed, each with a request. */
const MOST_PREVIEWED = 100;

/**
 * Prints what led to an event or run and what followed from it.
 *
 * @param id of an event, message or run, or `STREAM:sequence`
 * @returns the exit code: 1 when nothing is known about it
 */
export async function why(id: string, isJson: boolean, file: string, world: World): Promise<number> {
  const { settings } = configurationOf(file, world);
  return withSession(settings, world, async (session) => {
    const { trace, limits, previewed } = await ask(id, settings, session, world);
    const chain = () => chainOf(trace, previewed);
    if (isJson) world.out(`${JSON.stringify({ id: safeText(id), chain: chain(), limits }, undefined, 2)}\n`);
    else for (const line of linesOf(trace, previewed, settings.hooks?.stream)) world.out(`${line}\n`);
    for (const limit of limits) world.err(`${limit}.\n`);
    if (isUndecided(trace, settings))
      world.err(
        'No route has decided on it yet. See nats-event-bridge routes list, which says what a route waits for.\n',
      );
    if (trace.roots.length > 0) return 0;
    world.err(`Nothing is known of ${safeText(id, 200)}.\n`);
    return 1;
  });
}

/** Whether an event that a route takes is all there is to show. */
function isUndecided({ roots }: Trace, { runs }: BridgeSettings): boolean {
  const [root, ...others] = roots;
  if (root === undefined || others.length > 0 || root.children.length > 0 || root.fact.kind !== 'event') return false;
  const { place, subject } = root.fact;
  return runs.some(
    ({ mode, stream, subjects }) =>
      mode !== 'off' && stream === place?.stream && subjects.some((pattern) => subjectMatches(pattern, subject)),
  );
}

interface Answer {
  readonly trace: Trace;
  /** What wasn't read: sentences without a full stop. */
  readonly limits: readonly string[];
  readonly previewed: Previewed;
}

/** The parameters that the runs of a route in preview would have had. */
type Previewed = ReadonlyMap<TraceNode['fact'], ReadParameters>;

async function ask(id: string, settings: BridgeSettings, session: Session, world: World): Promise<Answer> {
  const { nats, jetStream } = session;
  const now = () => world.now();
  const names = namesOf(settings.instance);
  const audit = names.of(BRIDGE_AUDIT);
  const facts = new Facts();
  const budget = new Budget(MOST_MESSAGES, MOST_MS, now);
  const troubles = new Set<string>();
  const common = { nats, jetStream, budget };
  const histories = [
    new StreamHistory({
      ...common,
      stream: audit,
      whole: 'all',
      onMessage: (message) => {
        const decision = decisionIn(message);
        if (decision !== undefined) facts.addDecision(decision);
      },
    }),
    ...eventStreams(settings).map(
      (stream) =>
        new StreamHistory({
          ...common,
          stream,
          // The context of a structured event stands in its payload.
          whole: ({ headers }) => !headers.has('ce-id'),
          onMessage: (message) => {
            const event = eventIn(message);
            if (event.id === id || event.run !== undefined) facts.addEvent(event);
          },
        }),
    ),
  ];
  const attempt = async <Value, Otherwise>(
    look: () => Promise<Value>,
    otherwise: Otherwise,
  ): Promise<Value | Otherwise> => {
    try {
      return await look();
    } catch (error) {
      troubles.add(safeText(error instanceof TaskError ? error.problem : reasonOf(error), 500));
      return otherwise;
    }
  };
  const trace = await explain(id, {
    facts,
    histories,
    budget,
    now,
    event: (place) => attempt(() => eventAt(place, session), undefined),
    start: (run) =>
      settings.runs.length === 0 || !/^[1-9]\d{0,15}$/.test(run)
        ? Promise.resolve(undefined)
        : attempt(() => startOf(Number(run), new Intents(nats.keyValue(names.of(BRIDGE_INTENTS)))), 'unknown'),
  });
  const unread = trace.roots.length > 0 && !budget.isSpent ? [] : histories;
  const previewed = await attempt(() => previewedIn(trace, settings, session), new Map());
  const limits = [
    ...troubles,
    ...unread.flatMap((history) => history.unread ?? []),
    ...histories.flatMap((history) => (unread.length === 0 && history.trouble ? [history.trouble] : [])),
    ...(trace.isCut ? ['More than is shown came of it'] : []),
  ];
  return { trace, limits, previewed };
}

/** Computes them again, since nothing from an event is recorded; for events that are still stored. */
async function previewedIn(
  { roots }: Trace,
  { runs }: BridgeSettings,
  { nats }: Session,
): Promise<Map<TraceNode['fact'], ReadParameters>> {
  const found = new Map<TraceNode['fact'], ReadParameters>();
  for (const fact of flattened(roots)) {
    if (fact.kind !== 'decision' || fact.function !== 'runs' || fact.decision !== 'preview') continue;
    const route = runs.find(({ name }) => name === fact.name);
    const { place } = fact.event;
    if (route === undefined || place === undefined || found.size >= MOST_PREVIEWED) continue;
    const message = await nats.lookup.message(place.stream, place.sequence);
    if (message === undefined) continue;
    const event = new ReceivedEvent(message);
    const read = parametersOf(route, event, true);
    // Nobody asks Azure DevOps whether the pipeline has that parameter: it is taken for granted.
    found.set(fact, 'values' in read ? { values: { ...read.values, [EVENT_ID_PARAMETER]: eventIdOf(event) } } : read);
  }
  return found;
}

/** The streams with events. */
function eventStreams({ hooks, runs }: BridgeSettings): readonly string[] {
  return [...new Set([...(hooks === undefined ? [] : [hooks.stream]), ...runs.map(({ stream }) => stream)])];
}

async function eventAt({ stream, sequence }: Place, { nats }: Session): Promise<EventFact | undefined> {
  const message = await nats.lookup.message(stream, sequence);
  return message && eventIn(message);
}

/** The bucket's record of who a run belongs to, kept for some days, as a decision. */
async function startOf(run: number, intents: Intents): Promise<DecisionFact | undefined> {
  const record = await intents.run(run);
  const intent = record && (await intents.get(record.intent))?.intent;
  if (record === undefined || intent === undefined) return undefined;
  const { eventId, stream, sequence, done } = intent;
  const place = stream === undefined || sequence === undefined ? undefined : { stream, sequence };
  const url = done !== undefined && 'run' in done && done.run.id === run ? done.run.url : '';
  return {
    kind: 'decision',
    ...{
      function: 'runs',
      name: record.route,
      route: record.route,
      decision: 'started',
      reason: '',
      user: '',
      sequence: 0,
    },
    at: record.time,
    event: { id: eventId, subject: '', place },
    run: { id: String(run), url },
    ...{ through: undefined, deadLetter: undefined },
  };
}

/** The chain as programs read it, oldest first. */
function chainOf({ roots }: Trace, previewed: Previewed): readonly unknown[] {
  return flattened(roots).map((fact) => {
    const { kind } = fact;
    const time = fact.at > 0 ? new Date(fact.at).toISOString() : null;
    switch (kind) {
      case 'event': {
        const { id, subject, place, run } = fact;
        const { stream = null, sequence = null } = place ?? {};
        return { kind, id: safeText(id), stream, sequence, run: numberOf(run), subject: safeText(subject), time };
      }
      case 'decision': {
        const { route, decision, reason, run, event } = fact;
        const { stream = null, sequence = null } = event.place ?? {};
        return {
          ...{ kind, route: safeText(route), decision: safeText(decision), reason: safeText(reason) },
          ...{ function: safeText(fact.function), stream, sequence, run: numberOf(run?.id), time },
          ...parametersIn(previewed.get(fact)),
        };
      }
      case 'run':
        return { kind, id: numberOf(fact.id), url: fact.url === '' ? null : safeText(fact.url), time };
    }
  });
}

function parametersIn(read: ReadParameters | undefined): { readonly parameters?: Readonly<Record<string, string>> } {
  if (read === undefined || 'problem' in read) return {};
  const safe = Object.entries(read.values).map(([name, value]) => [name, safeText(value)] as const);
  return { parameters: Object.fromEntries(safe) };
}

/** A run's id as a number if it looks like one of Azure DevOps's, otherwise as text. */
function numberOf(run: string | undefined): number | string | null {
  if (run === undefined) return null;
  return /^[1-9]\d{0,14}$/.test(run) ? Number(run) : safeText(run);
}

/** The chain as people read it. */
function linesOf({ roots }: Trace, previewed: Previewed, hooksStream: string | undefined): readonly string[] {
  const lines: string[] = [];
  const visit = (node: TraceNode, first: string, others: string) => {
    lines.push(first + textOf(node.fact, hooksStream));
    const read = previewed.get(node.fact);
    if (read !== undefined) lines.push(`${others}   ${safeText(previewText(read), 2_000)}`);
    node.children.forEach((child, index) => {
      const isLast = index === node.children.length - 1;
      visit(child, `${others}${isLast ? '└─ ' : '├─ '}`, `${others}${isLast ? '   ' : '│  '}`);
    });
  };
  for (const root of roots) visit(root, '', '');
  return lines;
}

function previewText(read: ReadParameters): string {
  if ('problem' in read) return `as configured now, it would start no run: ${read.problem}`;
  const values = Object.entries(read.values).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `would have started a run with ${values.join(', ')}`;
}

function textOf(fact: TraceNode['fact'], hooksStream: string | undefined): string {
  const when = fact.at > 0 ? `${new Date(fact.at).toISOString().slice(0, 19).replace('T', ' ')}Z  ` : '';
  return when + safeText(wordsOf(fact, hooksStream), 1_000);
}

function wordsOf(fact: TraceNode['fact'], hooksStream: string | undefined): string {
  switch (fact.kind) {
    case 'event': {
      const { id, subject, place, run, pipeline } = fact;
      const where = place === undefined ? 'in no stream' : `${place.stream}:${place.sequence}`;
      const isHook = place?.stream === hooksStream && hooksStream !== undefined;
      const of = run === undefined ? '' : ` ${run}${pipeline === '' ? '' : ` of ${pipeline}`}`;
      const by =
        run === undefined
          ? isHook
            ? ', a service hook'
            : ''
          : isHook
            ? `, a service hook of run${of}`
            : `, published by run${of}`;
      return `event ${[id, subject].filter(Boolean).join(' ')} (${where})${by}`;
    }
    case 'decision': {
      const { name, route, decision, reason, user, deadLetter } = fact;
      const on = route === name ? '' : ` on ${route}`;
      const who =
        fact.function === 'orders'
          ? `${user} ordered ${name}${on}`
          : `${fact.function === 'runs' ? 'route' : fact.function} ${name}`;
      const letter = deadLetter === undefined ? '' : ` (dead letter ${deadLetter})`;
      return `${who}: ${decision}${reason === '' ? '' : `, ${reason}`}${letter}`;
    }
    case 'run':
      return `run ${fact.id}${fact.url === '' ? '' : ` ${fact.url}`}`;
  }
}
