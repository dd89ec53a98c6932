import type { ReceivedMessage } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import type { Contracts } from '../config/contracts.ts';
import type { Parts } from '../functions.ts';
import type { JetStream } from '../jetStream/api.ts';
import { BRIDGE_INTENTS, namesOf } from '../names.ts';
import { ALREADY_REPLAYED, type Replay, type Replayed, type StoredLetter } from '../audit/storedLetters.ts';
import type { RouteSettings } from '../settings.ts';
import { eventIdSupport, type EventIdSupport } from './eventId.ts';
import { Intents } from './intents.ts';
import { LoopGuard } from './loopGuard.ts';
import { describePause, RoutePauses } from './pauses.ts';
import { Pipelines } from './pipelines.ts';
import { Protocol } from './protocol.ts';
import { RouteEvents, type Verdict } from './route.ts';
import { hookTest, StreamTimes } from './runs.ts';
import { setTimeout as delay } from 'node:timers/promises';

const ORIGINAL = 'bridge-original-';

/**
 * Judges the events in dead letters of runs again, with all checks but the age, each with an intent of its own: a letter that
 * has started a run doesn't start another one.
 *
 * @param replica what tells this process from others
 */
export function replayRun(
  parts: Omit<Parts, 'contracts'>,
  contracts: Contracts,
  jetStream: JetStream,
  replica: string,
): Replay {
  const { settings } = parts;
  return async (letter) => {
    const name = letter.route ?? letter.name;
    const route = settings.runs.find((one) => one.name === name);
    if (route === undefined) return refused('noRoute', `the configuration has no route "${name}"`);
    if (route.mode !== 'on')
      return refused(
        route.mode,
        `nothing was done: the route is ${route.mode}; set its mode to on, then replay this again`,
      );
    const support = (pipelines: Pipelines) => eventIdSupport(route, pipelines);
    const byHand = routeByHand(route, parts, contracts, jetStream, replica, support);
    return byHand.replay(originalOf(letter, parts.now()), String(letter.sequence));
  };
}

/** A route operated by a person: judges as its replicas do, and starts what the person orders. */
export interface RouteByHand {
  /** @param checksAge false for what is ordered again */
  judge(message: ReceivedMessage, checksAge: boolean): Promise<Verdict | undefined>;
  /**
   * Judges an event by all checks but the age, and starts its run with an intent of its own.
   *
   * @param order distinguishes the intent from others of the event
   * @throws TaskError when Azure DevOps can't be asked now
   */
  replay(message: ReceivedMessage, order: string): Promise<Replayed>;
}

/**
 * @param support whether the pipeline has the parameter `natsEventId`
 * @param replica what tells this process from others
 */
export function routeByHand(
  route: RouteSettings,
  parts: Omit<Parts, 'contracts'>,
  contracts: Contracts,
  jetStream: JetStream,
  replica: string,
  support: (pipelines: Pipelines) => Promise<EventIdSupport>,
): RouteByHand {
  const { settings, nats, azureDevOps, log } = parts;
  const now = () => parts.now();
  const bucket = nats.keyValue(namesOf(settings.instance).of(BRIDGE_INTENTS));
  const intents = new Intents(bucket);
  const pauses = new RoutePauses(bucket, now);
  // Somebody is waiting: what Azure DevOps doesn't take now ends the order, which can be given again.
  const gate = {
    success: () => undefined,
    trouble: (reason: string) => void (trouble = reason),
  };
  let trouble: string | undefined;
  const giveUp = (): Promise<void> =>
    trouble === undefined
      ? Promise.resolve()
      : Promise.reject(new TaskError('Unreachable', `Azure DevOps can't be asked now: ${trouble}`));
  const pipelines = new Pipelines({ azureDevOps, gate, now });
  let known: EventIdSupport | undefined;
  const isFindable = () => known?.kind === 'declared' || (known?.kind === 'unknown' && route.eventId.isMapped);
  const streams = new StreamTimes(jetStream);
  const events = new RouteEvents({
    ...{ route, isFindable, isHook: hookTest(settings), now },
    contract: route.contract === undefined ? undefined : contracts[route.contract],
    loops: new LoopGuard(intents, now),
    streamCreated: (stream) => streams.created(stream),
    warn: (text) => log.warning('route', { route: route.name, text }),
  });
  const judge: RouteByHand['judge'] = async (message, checksAge) => {
    known ??= await support(pipelines);
    if (known.kind === 'postponed') await giveUp();
    return (await events.judge([message], checksAge))[0];
  };
  return {
    judge,
    async replay(message, order) {
      const pause = await pauses.get(route.name);
      if (pause !== undefined) return refused('paused', describePause(route.name, pause));
      const verdict = await judge(message, false);
      if (verdict?.kind === 'passes')
        return refused(verdict.decision, 'reason' in verdict.judgement ? verdict.judgement.reason : verdict.decision);
      if (verdict?.kind === 'deadLetter') return refused(verdict.decision, verdict.reason);
      if (verdict === undefined) return refused('Internal', 'it could not be judged');
      const protocol = new Protocol(
        {
          intents,
          start: (work) => pipelines.start(route.pipeline, work.parameters),
          find: ({ intent, parameters }, since) => pipelines.find(route.pipeline, intent.eventId, parameters, since),
          turn: giveUp,
          open: giveUp,
          bury: () => Promise.resolve(),
          sleep: (ms) => delay(ms),
          now,
          warn: (text) => log.warning('run', { route: route.name, text }),
        },
        { replica, maxDeliver: route.maxDeliver, isFindable, forgetsFailures: true, timing: settings.timing },
      );
      const result = await protocol.run({ ...verdict.work, key: `${verdict.work.key}.${order}` });
      switch (result.kind) {
        case 'started':
          return { done: true, followed: { run: result.run.id, url: result.run.url } };
        case 'failed':
          return refused(result.reason, result.detail);
        case 'duplicate':
          return refused(
            ALREADY_REPLAYED,
            `nothing was done: it was replayed before${'run' in result.done ? `, which started run ${result.done.run.id}` : ''}`,
          );
        case 'elsewhere':
          return refused('elsewhere', 'somebody else is replaying it');
      }
    },
  };
}

function refused(reason: string, detail: string): Replayed {
  return { done: false, reason, detail };
}

/** The event as it was when it became a letter. */
function originalOf({ headers, payload, place, storedAt }: StoredLetter, receivedAt: number): ReceivedMessage {
  const kept = [...headers].flatMap(([name, values]): [string, readonly string[]][] => {
    if (name.startsWith(ORIGINAL)) return [[name.slice(ORIGINAL.length), values]];
    return /^(nats|bridge)-/.test(name) ? [] : [[name, values]];
  });
  const time = Date.parse(headers.get('bridge-time')?.[0] ?? '');
  return {
    subject: headers.get('bridge-subject')?.[0] ?? '',
    headers: new Map(kept),
    payload,
    place,
    storedAt: Number.isNaN(time) ? storedAt : time,
    receivedAt,
  };
}
