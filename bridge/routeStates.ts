import { reasonOf, TaskError } from '../shared/errors.ts';
import { ReceivedEvent } from '../shared/event/receivedEvent.ts';
import { decisionIn, type DecisionFact } from './audit/facts.ts';
import { Budget, StreamHistory } from './audit/streamHistory.ts';
import type { OldestEvent, RouteDecision, RouteStatus } from './http/routesTable.ts';
import type { JetStream } from './jetStream/api.ts';
import { consumerOf } from './jetStream/needs.ts';
import { BRIDGE_AUDIT, BRIDGE_INTENTS, namesOf } from './names.ts';
import type { Nats } from './nats.ts';
import { intentKey, Intents } from './runs/intents.ts';
import { RoutePauses } from './runs/pauses.ts';
import type { BridgeSettings, RouteSettings } from './settings.ts';

/** How many decisions of all routes are read, from the end of the audit stream. */
const DECISIONS = 2_000;
/** How many are kept per route. */
const MOST_DECISIONS = 5;
const LIMIT_MS = 5_000;

export interface StateSources {
  readonly settings: BridgeSettings;
  readonly nats: Nats;
  readonly jetStream: JetStream;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** The current state of all routes, in the order of the configuration. Never rejects: each says what isn't known about it. */
export async function routeStates(sources: StateSources): Promise<RouteStatus[]> {
  const { settings, nats } = sources;
  if (settings.runs.length === 0) return [];
  const bucket = nats.keyValue(namesOf(settings.instance).of(BRIDGE_INTENTS));
  const pauses = new RoutePauses(bucket, () => sources.now());
  const intents = new Intents(bucket);
  const { byRoute, trouble } = await lastDecisions(sources);
  return Promise.all(
    settings.runs.map(async (route): Promise<RouteStatus> => {
      const { name, mode, stream, subjects } = route;
      const decisions = byRoute.get(name) ?? [];
      const [pause, waiting] = await Promise.allSettled([
        pauses.get(name),
        mode === 'off' ? Promise.resolve(undefined) : waitingOf(route, intents, sources),
      ]);
      const troubles = [pause, waiting].flatMap((one) => (one.status === 'rejected' ? [wordsOf(one.reason)] : []));
      const paused = pause.status === 'fulfilled' ? pause.value : undefined;
      return {
        ...{ name, mode, stream, subjects, decisions },
        pause: paused && { by: paused.by, reason: paused.reason, at: Date.parse(paused.time) },
        waiting: waiting.status === 'fulfilled' ? waiting.value : undefined,
        trouble: troubles[0],
        decisionsTrouble: trouble,
      };
    }),
  );
}

function wordsOf(error: unknown): string {
  return error instanceof TaskError ? error.problem : reasonOf(error);
}

async function waitingOf(
  route: RouteSettings,
  intents: Intents,
  { settings, jetStream, nats }: StateSources,
): Promise<NonNullable<RouteStatus['waiting']>> {
  const { stream, subjects, name } = route;
  const consumer = consumerOf(settings.instance, name);
  const answer = await jetStream.consumer(stream, consumer);
  if (answer.kind !== 'ok') {
    const why = answer.kind === 'error' ? answer.description : answer.kind;
    throw new TaskError('NoStream', `Its consumer ${consumer} of ${stream} can't be looked at (${why})`);
  }
  const { num_pending: pending, num_ack_pending: unacknowledged, ack_floor: floor } = answer.value;
  const events = pending + unacknowledged;
  if (events === 0) return { events, oldest: undefined };
  const next = await Promise.all(subjects.map((subject) => jetStream.next(stream, floor.stream_seq + 1, subject)));
  const [first] = next
    .flatMap((one) => (one.kind === 'ok' ? [one.value] : []))
    .sort((one, other) => one.sequence - other.sequence);
  if (first === undefined) {
    const denied = next.find((one) => one.kind === 'denied');
    return { events, oldest: undefined, ...(denied && { oldestTrouble: deniedTo(denied.subject) }) };
  }
  const message = await nats.lookup.message(stream, first.sequence);
  const failure = message && (await failureOf(route, new ReceivedEvent(message), intents, jetStream));
  return { events, oldest: { place: `${stream}:${first.sequence}`, at: first.storedAt, failure } };
}

function deniedTo(subject: string): string {
  return `The NATS server does not let this user publish to "${subject}"`;
}

/**
 * Why replicas with this user can't get a route's events: a sentence without a full stop. Undefined where nothing keeps them
 * from it that anybody but a replica can see.
 *
 * @param jetStream of a consumer that's there: some servers don't answer about another one
 */
export async function unreadable(
  { stream, name }: Pick<RouteSettings, 'stream' | 'name'>,
  { settings, jetStream }: Pick<StateSources, 'settings' | 'jetStream'>,
): Promise<string | undefined> {
  const consumer = consumerOf(settings.instance, name);
  const fetching = `${await jetStream.apiPrefix()}.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
  if (!(await jetStream.mayAsk(fetching))) return deniedTo(fetching);
  return (await jetStream.mayAcknowledge(stream, consumer)) ? undefined : deniedTo(`$JS.ACK.${stream}.${consumer}.>`);
}

/** Why the last attempt for an event failed. */
async function failureOf(
  { name }: RouteSettings,
  event: ReceivedEvent,
  intents: Intents,
  jetStream: JetStream,
): Promise<OldestEvent['failure']> {
  const { source, id } = event.attributes;
  const isKnown = source !== undefined && id !== undefined;
  const info = isKnown || event.place === undefined ? undefined : await jetStream.stream(event.place.stream);
  const created = info?.kind === 'ok' ? info.value.created : '';
  const posting = (await intents.get(intentKey(name, event, created)))?.intent.posting;
  if (posting?.after === undefined) return undefined;
  return { attempt: posting.attempt, reason: posting.after, at: posting.time };
}

interface LastDecisions {
  /** Newest first. */
  readonly byRoute: ReadonlyMap<string, readonly RouteDecision[]>;
  readonly trouble: string | undefined;
}

async function lastDecisions({ settings, nats, jetStream, now }: StateSources): Promise<LastDecisions> {
  const found: DecisionFact[] = [];
  const history = new StreamHistory({
    ...{ nats, jetStream, stream: namesOf(settings.instance).of(BRIDGE_AUDIT), whole: 'all', step: DECISIONS },
    budget: new Budget(DECISIONS, LIMIT_MS, now),
    onMessage: (message) => {
      const decision = decisionIn(message);
      if (decision?.function === 'runs') found.push(decision);
    },
  });
  await history.stepBack();
  const byRoute = new Map<string, RouteDecision[]>();
  for (const decision of found.sort((one, next) => next.sequence - one.sequence)) {
    const decisions = byRoute.get(decision.name) ?? [];
    byRoute.set(decision.name, decisions);
    if (decisions.length < MOST_DECISIONS) decisions.push(shownOf(decision));
  }
  return { byRoute, trouble: history.trouble };
}

function shownOf({ at, decision, reason, event, run, through }: DecisionFact): RouteDecision {
  const { place } = event;
  const isOne = place !== undefined && through === undefined;
  return { at, decision, reason, place: isOne ? `${place.stream}:${place.sequence}` : '', run: run?.id };
}
