import type { Place, ReceivedMessage } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { subjectMatches } from '../../shared/subject.ts';
import { exactJson } from '../../shared/text/json.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { decisionIn, eventIn, Facts, type DecisionFact, type EventFact } from '../audit/facts.ts';
import { Budget, StreamHistory } from '../audit/streamHistory.ts';
import { flattened, type Trace, type TraceNode } from '../audit/trace.ts';
import { why as explain } from '../audit/why.ts';
import { BRIDGE_AUDIT, BRIDGE_INTENTS, namesOf } from '../names.ts';
import { Intents } from '../runs/intents.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { dataFields, dataLines } from './eventData.ts';
import { configurationOf, withSession, type Session } from './session.ts';

/** How many messages are read in all streams, and for how long. */
const MOST_MESSAGES = 500_000;
const MOST_MS = 60_000;
/** Several events may have the same id. */
const MOST_DATA = 10;

/**
 * Prints what led to an event or run and what followed from it.
 *
 * @param id of an event, message or run, or `STREAM:sequence`
 * @param wanted `data`: also what the event says or, of a run, the event that started it
 * @returns the exit code: 1 when nothing is known about it
 */
export async function why(
  id: string,
  wanted: { readonly json: boolean; readonly data: boolean },
  file: string,
  world: World,
): Promise<number> {
  const { settings } = configurationOf(file, world);
  return withSession(settings, world, async (session) => {
    const { trace, limits: unread } = await ask(id, settings, session, world);
    const limits = [...unread];
    const messages = wanted.data && trace.roots.length > 0 ? await messagesOf(id, trace, session, limits) : [];
    if (wanted.json) {
      const chain = chainOf(trace, dataByPlace(messages, limits));
      world.out(`${exactJson({ id: safeText(id), chain, limits }, 2)}\n`);
    } else {
      for (const line of linesOf(trace, settings.hooks?.stream)) world.out(`${line}\n`);
      for (const message of messages) {
        world.out(`\nThe data of ${keyOf(message.place)}:\n`);
        for (const line of dataLines(message)) world.out(`${line}\n`);
      }
    }
    for (const limit of limits) world.err(`${limit}.\n`);
    if (isUndecided(trace, settings))
      world.err(
        'No route has decided on it yet. See nats-event-bridge routes list, which says what a route waits for.\n',
      );
    if (trace.roots.length > 0) return 0;
    const about = safeText(id, 200);
    world.err(
      limits.length === 0
        ? `Nothing is known of ${about}.\n`
        : `In what could be read, there is nothing about ${about}.\n`,
    );
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
}

/** Of the events that are asked about. What can't be shown goes to the limits. */
async function messagesOf(
  id: string,
  { roots }: Trace,
  { nats }: Session,
  limits: string[],
): Promise<readonly ReceivedMessage[]> {
  const facts = flattened(roots);
  const events = facts.filter((fact): fact is EventFact => fact.kind === 'event' && fact.place !== undefined);
  const own = events.filter((event) => event.id === id || keyOf(event.place) === id);
  const starts = facts.flatMap((fact) =>
    fact.kind === 'decision' && fact.run?.id === id ? [keyOf(fact.event.place)] : [],
  );
  const asked = own.length > 0 ? own : events.filter(({ place }) => starts.includes(keyOf(place)));
  if (asked.length === 0) limits.push('No stream has an event whose data could be shown');
  if (asked.length > MOST_DATA) limits.push(`The data of ${asked.length - MOST_DATA} more events isn't shown`);
  const messages: ReceivedMessage[] = [];
  for (const { place } of asked.slice(0, MOST_DATA)) {
    if (place === undefined) continue;
    try {
      const message = await nats.lookup.message(place.stream, place.sequence);
      if (message === undefined)
        limits.push(`${keyOf(place)} isn't in its stream any more, so its data can't be shown`);
      else messages.push(message);
    } catch (error) {
      limits.push(`The data of ${keyOf(place)} can't be read: ${problemOf(error)}`);
    }
  }
  return messages;
}

function dataByPlace(messages: readonly ReceivedMessage[], limits: string[]): DataByPlace {
  return new Map(
    messages.flatMap((message) => {
      const fields = dataFields(message);
      if (fields === undefined) limits.push(`The data of ${keyOf(message.place)} is too large to be shown`);
      return fields === undefined ? [] : [[keyOf(message.place), fields] as const];
    }),
  );
}

type DataByPlace = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

function keyOf(place: Place | undefined): string {
  return place === undefined ? '' : `${place.stream}:${place.sequence}`;
}

function problemOf(error: unknown): string {
  return safeText(error instanceof TaskError ? error.problem : reasonOf(error), 500);
}

async function ask(id: string, settings: BridgeSettings, session: Session, world: World): Promise<Answer> {
  const { nats, jetStream } = session;
  const now = () => world.now();
  const names = namesOf(settings.instance);
  const [audit, intents] = [names.of(BRIDGE_AUDIT), names.of(BRIDGE_INTENTS)];
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
    what: string,
    look: () => Promise<Value>,
    otherwise: Otherwise,
  ): Promise<Value | Otherwise> => {
    try {
      return await look();
    } catch (error) {
      troubles.add(`${what} could not be read: ${problemOf(error)}`);
      return otherwise;
    }
  };
  const trace = await explain(id, {
    facts,
    histories,
    budget,
    now,
    event: (place) => attempt(keyOf(place), () => eventAt(place, session), undefined),
    start: (run) =>
      settings.runs.length === 0 || !/^[1-9]\d{0,15}$/.test(run)
        ? Promise.resolve(undefined)
        : attempt(intents, () => startOf(Number(run), new Intents(nats.keyValue(intents))), 'unknown'),
  });
  const unread = trace.roots.length > 0 && !budget.isSpent ? [] : histories;
  const limits = [
    ...troubles,
    ...unread.flatMap((history) => history.unread ?? []),
    ...histories.flatMap((history) => (unread.length === 0 && history.trouble ? [history.trouble] : [])),
    ...(trace.isCut ? ['More than is shown came of it'] : []),
  ];
  return { trace, limits };
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
function chainOf({ roots }: Trace, data: DataByPlace): readonly unknown[] {
  return flattened(roots).map((fact) => {
    const { kind } = fact;
    const time = fact.at > 0 ? new Date(fact.at).toISOString() : null;
    switch (kind) {
      case 'event': {
        const { id, subject, place, run } = fact;
        const { stream = null, sequence = null } = place ?? {};
        const shown = {
          kind,
          id: safeText(id),
          stream,
          sequence,
          run: numberOf(run),
          subject: safeText(subject),
          time,
        };
        return { ...shown, ...data.get(keyOf(place)) };
      }
      case 'decision': {
        const { route, decision, reason, run, event } = fact;
        const { stream = null, sequence = null } = event.place ?? {};
        return {
          ...{ kind, route: safeText(route), decision: safeText(decision), reason: safeText(reason) },
          ...{ function: safeText(fact.function), stream, sequence, run: numberOf(run?.id), time },
        };
      }
      case 'run':
        return { kind, id: numberOf(fact.id), url: fact.url === '' ? null : safeText(fact.url), time };
    }
  });
}

/** A run's id as a number if it looks like one of Azure DevOps's, otherwise as text. */
function numberOf(run: string | undefined): number | string | null {
  if (run === undefined) return null;
  return /^[1-9]\d{0,14}$/.test(run) ? Number(run) : safeText(run);
}

/** The chain as people read it. */
function linesOf({ roots }: Trace, hooksStream: string | undefined): readonly string[] {
  const lines: string[] = [];
  const visit = (node: TraceNode, first: string, others: string) => {
    lines.push(first + textOf(node.fact, hooksStream));
    node.children.forEach((child, index) => {
      const isLast = index === node.children.length - 1;
      visit(child, `${others}${isLast ? '└─ ' : '├─ '}`, `${others}${isLast ? '   ' : '│  '}`);
    });
  };
  for (const root of roots) visit(root, '', '');
  return lines;
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
