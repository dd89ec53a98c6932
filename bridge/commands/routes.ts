import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import type { Place, ReceivedMessage } from '../../shared/bus.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { subjectMatches } from '../../shared/subject.ts';
import { probablyMeant } from '../../shared/text/nearest.ts';
import { quoted, safeText } from '../../shared/text/safeText.ts';
import { auditOf } from '../audit/audit.ts';
import { parsePlace } from '../audit/facts.ts';
import { describeReplay, earlierReplays, replayOf } from '../audit/replays.ts';
import type { Configuration } from '../config/configuration.ts';
import { loadContracts } from '../config/contracts.ts';
import type { RouteStatus } from '../http/routesTable.ts';
import { BRIDGE_INTENTS, namesOf } from '../names.ts';
import { routeStates, unreadable } from '../routeStates.ts';
import { eventIdSupport } from '../runs/eventId.ts';
import { NO_EVENT_ID } from '../runs/parameters.ts';
import { describePause, RoutePauses } from '../runs/pauses.ts';
import { routeByHand } from '../runs/replay.ts';
import type { Verdict } from '../runs/route.ts';
import type { RouteSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { eventInFile } from './eventFile.ts';
import { configurationOf, withSession, type Session } from './session.ts';

export type RoutesCommand =
  | { readonly kind: 'list' }
  | { readonly kind: 'pause' | 'resume'; readonly name: string; readonly reason: string }
  | { readonly kind: 'try'; readonly name: string; /** A file, or `STREAM:SEQ`. */ readonly event: string }
  | {
      readonly kind: 'replay';
      readonly name: string;
      /** Both ends included. */
      readonly from: number;
      readonly to: number;
      readonly reason: string;
    };

/** The most sequences in one replay. */
const MOST_REPLAYED = 100_000;
/** How many events are read ahead. */
const WINDOW = 64;

/** What a command about routes works with. */
interface Work {
  readonly configuration: Configuration;
  readonly session: Session;
  readonly world: World;
}

/**
 * Lists the routes, pauses or resumes one, tries one on an event, or replays stored events through it.
 *
 * @returns the exit code
 */
export async function routes(command: RoutesCommand, file: string, world: World): Promise<number> {
  const configuration = configurationOf(file, world);
  const route = command.kind === 'list' ? undefined : routeOf(command.name, configuration);
  return withSession(configuration.settings, world, async (session) => {
    const work = { configuration, session, world };
    if (command.kind === 'list' || route === undefined) return list(work);
    switch (command.kind) {
      case 'pause':
      case 'resume':
        return pauseOrResume(command.kind, route, command.reason, work);
      case 'try':
        return tryOn(route, command.event, work);
      case 'replay':
        return replay(route, command, work);
    }
  });
}

function routeOf(name: string, { settings }: Configuration): RouteSettings {
  const route = settings.runs.find((one) => one.name === name);
  if (route !== undefined) return route;
  const known = settings.runs.map((one) => one.name).join(', ');
  throw new TaskError(
    'InvalidInput',
    `The configuration has no route ${quoted(name)}`,
    known === '' ? 'It has none: see runs.' : `It has ${known}.`,
  );
}

function partsOf({ configuration, session, world }: Work) {
  return { ...session, settings: configuration.settings, now: () => world.now() };
}

async function list(work: Work): Promise<number> {
  const { world } = work;
  const states = await statesOf(work);
  if (states.length === 0) {
    world.err('The configuration has no routes.\n');
    return 0;
  }
  world.out(lineOf(['ROUTE', 'MODE', 'PAUSED', 'PENDING', 'OLDEST PENDING', 'LAST DECISION', 'REASON']));
  for (const state of states) world.out(lineOf(cellsOf(state)));
  const troubles = [
    ...new Set(
      states.flatMap(({ name, trouble, down, waiting, decisionsTrouble }) =>
        [
          trouble ?? [],
          down === undefined ? [] : `The route ${name} gets no events: ${down}`,
          waiting?.oldestTrouble === undefined
            ? []
            : `The oldest event of ${name} isn't known: ${waiting.oldestTrouble}`,
          decisionsTrouble ?? [],
        ].flat(),
      ),
    ),
  ];
  for (const trouble of troubles) world.err(`${safeText(trouble)}.\n`);
  const unexplained = states.filter((state) =>
    waitsUnexplained(state, world.now() - work.configuration.settings.timing.minute),
  );
  for (const { name } of unexplained)
    world.err(`The oldest event of ${name} waits, and nothing stored says why. ${ASK_REPLICAS}\n`);
  return troubles.length === 0 ? 0 : 1;
}

/** The states of all routes, with what a replica would report of them if this command can see it. */
async function statesOf(work: Work): Promise<RouteStatus[]> {
  const { settings } = work.configuration;
  const { jetStream } = work.session;
  const states = await routeStates(partsOf(work));
  return Promise.all(
    states.map(async (state) => ({
      ...state,
      down: state.waiting && (await unreadable(state, { settings, jetStream })),
    })),
  );
}

const ASK_REPLICAS =
  "If Azure DevOps is paused, or a route can't begin, only the replicas know: look at their status pages, or for azureDevOpsPaused and routeDown in their logs.";

/**
 * Whether nothing explains why an event waits: nobody has tried it, and it's of before a time in milliseconds since the epoch,
 * or its age is unknown.
 */
function waitsUnexplained({ mode, pause, down, waiting }: RouteStatus, before: number): boolean {
  if (mode === 'off' || pause !== undefined || down !== undefined || waiting === undefined) return false;
  const { oldest, oldestTrouble } = waiting;
  return oldestTrouble !== undefined || (oldest !== undefined && !oldest.failure && oldest.at < before);
}

function cellsOf({ name, mode, pause, down, trouble, waiting, decisions }: RouteStatus): string[] {
  const oldest = waiting?.oldest;
  const isOldestUnknown = waiting?.oldestTrouble !== undefined;
  const [last] = decisions;
  const run = last?.run === undefined ? '' : ` run ${last.run}`;
  return [
    name,
    mode,
    pause === undefined ? '-' : `by ${pause.by} since ${timeOf(pause.at)}${pause.reason && `: ${pause.reason}`}`,
    waiting === undefined ? (mode === 'off' ? '-' : '?') : String(waiting.events),
    oldest === undefined ? (isOldestUnknown ? '?' : '-') : `${oldest.place} since ${timeOf(oldest.at)}`,
    last === undefined ? '-' : `${last.decision}${run} at ${timeOf(last.at)}`,
    (down && `down: ${down}`) ?? trouble ?? oldest?.failure?.reason ?? last?.reason ?? '',
  ];
}

function timeOf(ms: number): string {
  return Number.isNaN(ms) ? '?' : new Date(ms).toISOString();
}

async function pauseOrResume(
  kind: 'pause' | 'resume',
  { name }: RouteSettings,
  reason: string,
  work: Work,
): Promise<number> {
  const { world } = work;
  const pauses = pausesOf(work);
  const before = await pauses.get(name);
  if ((before === undefined) === (kind === 'resume')) {
    const by = before === undefined ? 'is not paused' : `is paused already, by ${before.by}: ${before.reason}`;
    world.err(`The route ${name} ${safeText(by)}.\n`);
    return 0;
  }
  const { decisions, deadLetters } = auditOf(partsOf(work), world.version);
  const decision = kind === 'pause' ? 'paused' : 'resumed';
  // Nothing happens on a person's behalf that can't be looked up later.
  await decisions.order({
    ...{ function: 'orders', name: `routes-${kind}`, decision, reason, user: world.user },
    followed: { route: name },
  });
  if (kind === 'pause') await pauses.pause(name, world.user, reason);
  else await pauses.resume(name);
  await deadLetters.close();
  world.err(`The route ${name} is ${decision}.\n`);
  return 0;
}

function pausesOf({ configuration, session, world }: Work): RoutePauses {
  const bucket = session.nats.keyValue(namesOf(configuration.settings.instance).of(BRIDGE_INTENTS));
  return new RoutePauses(bucket, () => world.now());
}

async function tryOn(route: RouteSettings, given: string, work: Work): Promise<number> {
  const { configuration, world, session } = work;
  const contracts = await loadContracts(configuration);
  const message = await messageOf(given, route, work);
  // Nobody asks Azure DevOps whether the pipeline has the parameter natsEventId: it is taken for granted.
  const support = () => Promise.resolve({ kind: 'declared' } as const);
  const byHand = routeByHand(route, partsOf(work), contracts, session.jetStream, 'try', support);
  const isSubject = route.subjects.some((subject) => subjectMatches(subject, message.subject));
  const verdict = isSubject ? await byHand.judge(message, true) : undefined;
  const answer = {
    route: route.name,
    ...(verdict === undefined ? otherSubject(route, message) : answerOf(verdict)),
    ...(route.mode === 'on' ? {} : { mode: route.mode }),
  };
  world.out(`${JSON.stringify(answer, safeValue, 2)}\n`);
  if (verdict?.kind === 'passes' && verdict.decision === 'expired')
    world.err('It is too old for the route; a replay would leave its age out.\n');
  if (verdict?.kind === 'starts' && verdict.work.intent.eventId === NO_EVENT_ID)
    world.err(
      `The event in the file has no id. In the stream, such an event is known by its place: ${route.stream}:7.\n`,
    );
  return verdict?.kind === 'starts' ? 0 : 1;
}

function otherSubject({ subjects }: RouteSettings, { subject }: ReceivedMessage) {
  return { decision: 'notMatching', reason: `the route takes ${subjects.join(', ')}, and this is on ${subject}` };
}

function answerOf(verdict: Verdict): Readonly<Record<string, unknown>> {
  switch (verdict.kind) {
    case 'starts':
      return { decision: 'starts', parameters: verdict.work.parameters };
    case 'passes': {
      const reason = 'reason' in verdict.judgement ? verdict.judgement.reason : '';
      return { decision: verdict.decision, reason: reason || reasonOfDecision(verdict.decision) };
    }
    case 'deadLetter':
      return { decision: 'deadLetter', reason: `${verdict.decision}: ${verdict.reason}` };
  }
}

function reasonOfDecision(decision: string): string {
  return decision === 'hooksNotAllowed' ? 'it is an event of a service hook, and allowHooks is not set' : decision;
}

function safeValue(_: string, value: unknown): unknown {
  return typeof value === 'string' ? safeText(value) : value;
}

async function messageOf(given: string, route: RouteSettings, { session, world }: Work): Promise<ReceivedMessage> {
  const place = parsePlace(given);
  if (place !== undefined) return storedAt(place, route, session);
  let bytes: Buffer;
  try {
    bytes = readFileSync(given);
  } catch (error) {
    throw new TaskError(
      'InvalidInput',
      `--event ${quoted(given)} can't be read: ${reasonOf(error)}`,
      'Name a file with an event, or an event of a stream as STREAM:SEQUENCE.',
    );
  }
  return eventInFile(bytes, route, world.now());
}

async function storedAt(place: Place, route: RouteSettings, session: Session): Promise<ReceivedMessage> {
  const { stream, sequence } = place;
  const message = await session.nats.lookup.message(stream, sequence).catch((error: unknown) => {
    if (error instanceof TaskError && error.code === 'NoStream') return noStream(place, route, session);
    throw error;
  });
  if (message !== undefined) return message;
  throw new TaskError('InvalidInput', `The stream ${stream} has no message ${sequence}`, '');
}

/** A stream that isn't there is more often misspelt than missing. */
async function noStream({ stream, sequence }: Place, route: RouteSettings, { jetStream }: Session): Promise<never> {
  const named = await jetStream.streamNames('>');
  const meant = probablyMeant(stream, [route.stream, ...(named.kind === 'ok' ? named.value : [])]);
  throw new TaskError(
    'InvalidInput',
    `--event ${stream}:${sequence}: this account has no stream ${quoted(stream)}`,
    meant === undefined
      ? `The events of route ${route.name} are in ${route.stream}.`
      : `Did you mean ${meant}:${sequence}?`,
  );
}

async function replay(
  route: RouteSettings,
  { from, to, reason }: Extract<RoutesCommand, { kind: 'replay' }>,
  work: Work,
): Promise<number> {
  const { configuration, session, world } = work;
  if (to - from >= MOST_REPLAYED) {
    const problem = `--from ${from} --to ${to} are more than ${MOST_REPLAYED} sequences`;
    throw new TaskError('InvalidInput', problem, 'Replay them in several parts.');
  }
  if (route.mode !== 'on')
    throw new TaskError('InvalidInput', `The route ${route.name} is ${route.mode}, not on`, 'Set its mode to on.');
  const pause = await pausesOf(work).get(route.name);
  if (pause !== undefined) {
    world.err(`Nothing is replayed: ${safeText(describePause(route.name, pause))}.\n`);
    return 1;
  }
  const contracts = await loadContracts(configuration);
  const audit = auditOf(partsOf(work), world.version);
  const byHand = routeByHand(route, partsOf(work), contracts, session.jetStream, audit.replica, (pipelines) =>
    eventIdSupport(route, pipelines),
  );
  const order = { function: 'orders', name: 'routes-replay', reason, user: world.user } as const;
  await audit.decisions.order({ ...order, decision: 'ordered', followed: { route: route.name, from, to } });
  // Each order has its own intents: its events have usually been handled before.
  const id = `order-${randomBytes(9).toString('hex')}`;
  const earlier = await earlierReplays('routes-replay', partsOf(work), route.name);
  if (earlier.trouble !== undefined)
    world.err(`Which events were replayed before isn't known: ${safeText(earlier.trouble)}.\n`);
  const counts = new Map<string, number>();
  let failures = 0;
  for await (const message of eventsBetween(route, from, to, work)) {
    const { place } = message;
    const sequence = String(place?.sequence);
    try {
      const result = await byHand.replay(message, id);
      const outcome = result.done ? 'started' : result.reason;
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      const passes = !result.done && PASSING.includes(result.reason);
      if (!result.done && !passes) failures++;
      const details = result.done
        ? Object.entries(result.followed).map(([name, value]) => `${name}=${value}`)
        : [result.detail];
      const before = replayOf(earlier, message);
      const again = result.done && before?.isDone === true ? [`replayed before ${describeReplay(before)}`] : [];
      world.out(lineOf([sequence, outcome, ...details, ...again]));
      if (passes) continue;
      await audit.decisions.order({
        ...order,
        decision: result.done ? 'replayed' : 'refused',
        ...(result.done ? {} : { reason: `${result.reason}: ${result.detail}` }),
        event: { subject: message.subject, ...(place === undefined ? {} : { place }) },
        followed: { route: route.name, ...(result.done ? result.followed : {}) },
      });
    } catch (error) {
      world.err(`Stopped at ${sequence}: ${safeText(reasonOf(error))} Go on with --from ${sequence}.\n`);
      failures++;
      break;
    }
  }
  await audit.deadLetters.close();
  const summary = [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
  const nothing = failures > 0 ? 'Nothing was started' : `There are no events of the route between ${from} and ${to}`;
  world.err(`${summary || nothing}.\n`);
  return failures === 0 && counts.size > 0 ? 0 : 1;
}

/** An event that isn't the route's, treated as without an order. */
const PASSING = ['foreign', 'expired', 'notMatching', 'hooksNotAllowed'];

async function* eventsBetween(
  { stream, subjects }: RouteSettings,
  from: number,
  to: number,
  { session }: Work,
): AsyncIterable<ReceivedMessage> {
  const { lookup } = session.nats;
  for (let first = from; first <= to; first += WINDOW) {
    const sequences = Array.from({ length: Math.min(WINDOW, to - first + 1) }, (_, index) => first + index);
    for (const message of await Promise.all(sequences.map((sequence) => lookup.message(stream, sequence))))
      if (message !== undefined && subjects.some((subject) => subjectMatches(subject, message.subject))) yield message;
  }
}

function lineOf(cells: readonly string[]): string {
  return `${cells.map((cell) => safeText(cell, 300)).join('\t')}\n`;
}
