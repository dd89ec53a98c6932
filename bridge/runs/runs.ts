import { randomBytes } from 'node:crypto';
import { TaskError } from '../../shared/errors.ts';
import type { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { subjectMatches } from '../../shared/subject.ts';
import type { Audit } from '../audit/audit.ts';
import type { Functions, Parts } from '../functions.ts';
import { CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, type JetStream } from '../jetStream/api.ts';
import { consumerOf, createStreamOption } from '../jetStream/needs.ts';
import { BRIDGE_INTENTS, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import { eventIdSupport } from './eventId.ts';
import { Gate } from '../azureDevOps/gate.ts';
import { Intents } from './intents.ts';
import { LoopGuard } from './loopGuard.ts';
import { PendingAge } from './pendingAge.ts';
import { RoutePauses } from './pauses.ts';
import { Pipelines } from './pipelines.ts';
import { RouteEvents } from './route.ts';
import { RouteRunner } from './routeRunner.ts';

/** Lets events start pipelines until it is stopped. */
export function startRuns(parts: Parts, audit: Audit, jetStream: JetStream): Functions {
  const { settings, nats, azureDevOps, metrics, log, contracts } = parts;
  const { instance, timing } = settings;
  const now = () => parts.now();
  // Distinct even from the routes of an earlier configuration in this process, which may still be finishing.
  const replica = `${audit.replica}-${randomBytes(2).toString('hex')}`;
  const runners: RouteRunner[] = [];
  const down = () =>
    new Map(runners.flatMap(({ name, downReason }) => (downReason === undefined ? [] : [[name, downReason]])));
  const gate = new Gate({
    firstPause: timing.firstPause,
    longestPause: timing.longestPause,
    now,
    onPause: (reason, ms, isNews) => {
      if (isNews) log.warning('azureDevOpsPaused', { reason, pauseMs: ms });
      for (const runner of runners) runner.refresh();
    },
    onOpen: () => {
      for (const runner of runners) runner.refresh();
    },
    onRecovery: () => log.info('azureDevOpsResumed'),
  });
  const bucket = nats.keyValue(namesOf(instance).of(BRIDGE_INTENTS));
  const intents = new Intents(bucket);
  const loops = new LoopGuard(intents, now);
  const pauses = new RoutePauses(bucket, now);
  const onRequest = (seconds: number) => metrics.runRequest.observe(seconds);
  const pipelines = new Pipelines({ azureDevOps, gate, now, onRequest });
  const ages: PendingAge[] = [];
  for (const route of settings.runs.filter(({ mode }) => mode !== 'off')) {
    const { name } = route;
    const streams = new StreamTimes(jetStream);
    let isFindable = route.eventId.isMapped;
    const events = new RouteEvents({
      route,
      contract: route.contract === undefined ? undefined : contracts[route.contract],
      isFindable: () => isFindable,
      isHook: hookTest(settings),
      loops,
      streamCreated: (stream) => streams.created(stream),
      now,
      warn: (text) => log.warning('route', { route: name, text }),
    });
    runners.push(
      new RouteRunner({
        ...{ route, events, intents, pipelines, gate, pauses, audit, log, timing, replica, now },
        metrics: {
          event: (outcome) => metrics.events.inc({ route: name, outcome }),
          started: (seconds) => {
            metrics.runsQueued.inc();
            if (seconds !== undefined) metrics.eventToRun.observe(seconds);
          },
          paused: (isPaused) => metrics.routePaused.set({ route: name }, isPaused ? 1 : 0),
          up: (isUp) => metrics.routeUp.set({ route: name }, isUp ? 1 : 0),
        },
        learn: async () => {
          const support = await eventIdSupport(route, pipelines);
          if (support.kind === 'declared' || support.kind === 'undeclared') isFindable = support.kind === 'declared';
          return support;
        },
        isFindable: () => isFindable,
        consumerProblem: () => consumerProblem(jetStream, settings, route.stream, consumerOf(instance, name)),
        openQueue: (told) => nats.workQueue(route.stream, consumerOf(instance, name), told),
        onQueueLost: () => streams.forget(),
      }),
    );
    const set = (seconds: number | undefined) => {
      if (seconds === undefined) metrics.routeOldestPending.remove({ route: name });
      else metrics.routeOldestPending.set({ route: name }, seconds);
    };
    ages.push(new PendingAge(route, consumerOf(instance, name), jetStream, now, set));
  }
  for (const runner of runners) runner.start();
  for (const age of ages) age.start(timing.routeState);
  return {
    routes: [],
    throttle: () => gate.pause,
    routesDown: down,
    stop: async (drained) => {
      for (const age of ages) age.stop();
      await Promise.all(runners.map((runner) => runner.stop(drained)));
      gate.close();
    },
  };
}

/** Why a consumer can't be used: sentences. Undefined when it can, or when that is unknown. */
async function consumerProblem(
  jetStream: JetStream,
  settings: BridgeSettings,
  stream: string,
  consumer: string,
): Promise<string | undefined> {
  const answer = await jetStream.consumer(stream, consumer);
  if (answer.kind !== 'error') return undefined;
  const create = 'nats-event-bridge setup --apply';
  if (answer.errorCode === STREAM_NOT_FOUND)
    return `The stream "${stream}" doesn't exist. Create it and the consumer: ${create} ${createStreamOption(settings, stream)}.`;
  const remedy = answer.errorCode === CONSUMER_NOT_FOUND ? ` Create it: ${create}.` : '';
  return `The consumer "${consumer}" of the stream "${stream}" can't be used: ${answer.description}.${remedy}`;
}

/** Whether an event comes from Azure DevOps' service hooks, even by way of another stream that sources theirs. */
export function hookTest({ hooks, instance }: BridgeSettings): (event: ReceivedEvent) => boolean {
  const names = namesOf(instance);
  const stream = hooks?.stream ?? names.of('AZDO');
  const subjects = `${hooks?.subjectPrefix ?? names.subject('azdo')}.>`;
  return ({ place, subject }) => place?.stream === stream || subjectMatches(subjects, subject);
}

/** When streams were created, asked for once until {@link forget}. */
export class StreamTimes {
  readonly #created = new Map<string, string>();

  constructor(private readonly jetStream: Pick<JetStream, 'stream'>) {}

  /** @throws TaskError where the stream doesn't answer */
  async created(stream: string): Promise<string> {
    const known = this.#created.get(stream);
    if (known !== undefined) return known;
    const answer = await this.jetStream.stream(stream);
    if (answer.kind !== 'ok') throw new TaskError('NoStream', `The stream "${stream}" doesn't answer`);
    this.#created.set(stream, answer.value.created);
    return answer.value.created;
  }

  forget(): void {
    this.#created.clear();
  }
}
