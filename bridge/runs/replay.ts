import type { ReceivedMessage } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import type { Contracts } from '../config/contracts.ts';
import type { Parts } from '../functions.ts';
import type { JetStream } from '../jetStream/api.ts';
import { BRIDGE_INTENTS, namesOf } from '../names.ts';
import type { Replay, Replayed, StoredLetter } from '../audit/storedLetters.ts';
import type { RouteSettings } from '../settings.ts';
import { eventIdSupport } from './eventId.ts';
import { Intents } from './intents.ts';
import { LoopGuard } from './loopGuard.ts';
import { Pipelines } from './pipelines.ts';
import { Protocol } from './protocol.ts';
import { RouteEvents } from './route.ts';
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
    if (route.mode !== 'on') return refused(route.mode, `the route is not on, but ${route.mode}`);
    return replayOn(route, letter, parts, contracts, jetStream, replica);
  };
}

async function replayOn(
  route: RouteSettings,
  letter: StoredLetter,
  parts: Omit<Parts, 'contracts'>,
  contracts: Contracts,
  jetStream: JetStream,
  replica: string,
): Promise<Replayed> {
  const { settings, nats, azureDevOps, log } = parts;
  const now = () => parts.now();
  const intents = new Intents(nats.keyValue(namesOf(settings.instance).of(BRIDGE_INTENTS)));
  // A person waits: what Azure DevOps doesn't take now is told, and can be ordered again.
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
  const support = await eventIdSupport(route, pipelines);
  if (support.kind === 'postponed') await giveUp();
  const isFindable = () => support.kind === 'declared' || (support.kind === 'unknown' && route.eventId.isMapped);
  const streams = new StreamTimes(jetStream);
  const events = new RouteEvents({
    ...{ route, isFindable, isHook: hookTest(settings), now },
    contract: route.contract === undefined ? undefined : contracts[route.contract],
    loops: new LoopGuard(intents, now),
    streamCreated: (stream) => streams.created(stream),
    warn: (text) => log.warning('route', { route: route.name, text }),
  });
  const [verdict] = await events.judge([originalOf(letter, now())], false);
  if (verdict?.kind === 'passes')
    return refused(verdict.decision, 'reason' in verdict.judgement ? verdict.judgement.reason : verdict.decision);
  if (verdict?.kind === 'deadLetter') return refused(verdict.decision, verdict.reason);
  if (verdict === undefined) return refused('Internal', 'it could not be judged');
  const protocol = new Protocol(
    {
      intents,
      start: (work) => pipelines.start(route.pipeline, work.parameters),
      find: (eventId, since) => pipelines.find(route.pipeline, eventId, since),
      turn: giveUp,
      open: giveUp,
      bury: () => Promise.resolve(),
      sleep: (ms) => delay(ms),
      now,
      warn: (text) => log.warning('run', { route: route.name, text }),
    },
    { replica, maxDeliver: route.maxDeliver, isFindable, forgetsFailures: true, timing: settings.timing },
  );
  const result = await protocol.run({ ...verdict.work, key: `${verdict.work.key}.${letter.sequence}` });
  switch (result.kind) {
    case 'started':
      return { done: true, followed: { run: result.run.id, url: result.run.url } };
    case 'failed':
      return refused(result.reason, result.detail);
    case 'duplicate':
      return refused('duplicate', `this letter has been replayed already: ${JSON.stringify(result.done)}`);
    case 'elsewhere':
      return refused('elsewhere', 'somebody else is replaying it');
  }
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
