import type { Place, ReceivedMessage } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { exactJson } from '../../shared/text/json.ts';
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
import { chainOf, keyOf, linesOf, type DataByPlace, type Previewed } from './chain.ts';
import { dataFields, dataLines } from './eventData.ts';
import { configurationOf, withSession, type Session } from './session.ts';
import { silentRoutes } from './silentRoutes.ts';

/** How many messages are read in all streams, and for how long. */
const MOST_MESSAGES = 500_000;
const MOST_MS = 60_000;
/** Several events may have the same id. */
const MOST_DATA = 10;
/** Decisions of routes in preview whose parameters are computed, each with a request. */
const MOST_PREVIEWED = 100;

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
    const { trace, limits: unread, previewed } = await ask(id, settings, session, world);
    const limits = [...unread];
    const messages = wanted.data && trace.roots.length > 0 ? await messagesOf(id, trace, session, limits) : [];
    if (wanted.json) {
      const chain = chainOf(trace, previewed, dataByPlace(messages, limits));
      world.out(`${exactJson({ id: safeText(id), chain, limits }, 2)}\n`);
    } else {
      for (const line of linesOf(trace, previewed, settings.hooks?.stream)) world.out(`${line}\n`);
      for (const message of messages) {
        world.out(`\nThe data of ${keyOf(message.place)}:\n`);
        for (const line of dataLines(message)) world.out(`${line}\n`);
      }
    }
    for (const limit of limits) world.err(`${limit}.\n`);
    // What wasn't read may have been a decision.
    const silent = limits.length === 0 ? silentRoutes(id, trace, settings.runs) : [];
    for (const text of silent) world.err(`${text}\n`);
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

interface Answer {
  readonly trace: Trace;
  /** What wasn't read: sentences without a full stop. */
  readonly limits: readonly string[];
  readonly previewed: Previewed;
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
  const previewed = await attempt(
    'What a preview would have started',
    () => previewedIn(trace, settings, session),
    new Map(),
  );
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
