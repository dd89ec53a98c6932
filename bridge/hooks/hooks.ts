import { isObject } from '../../shared/text/json.ts';
import { signingKeyOf, type Audit } from '../audit/audit.ts';
import type { AzureDevOps } from '../azureDevOps/client.ts';
import type { Functions, Parts } from '../functions.ts';
import type { JetStream } from '../jetStream/api.ts';
import { BRIDGE_PROJECTS, namesOf } from '../names.ts';
import type { HooksSettings } from '../settings.ts';
import { startFeeds } from './feeds/feeds.ts';
import type { JudgeOptions } from './judgeHook.ts';
import { organizationTest } from './organization.ts';
import { Projects } from './projects.ts';
import { hookRoute } from './receive.ts';
import { SilenceAlarm } from './silence.ts';
import { Storing } from './storing.ts';

/** While hooks may not be stored, one look at readiness in so many asks NATS for that permission. */
const MOST_ASKED = 5;

/** Takes service hooks until it is stopped. */
export function startHooks(hooks: HooksSettings, parts: Parts, audit: Audit, jetStream: JetStream): Functions {
  const { metrics } = parts;
  const now = () => parts.now();
  const log = parts.log.texts('hooks');
  const storing = new Storing({
    publisher: parts.nats.publisher,
    jetStream,
    askEveryMs: MOST_ASKED * parts.settings.timing.readiness,
    refusedMs: parts.settings.timing.minute,
    now,
  });
  const judging = { ...judgeOptions(hooks, parts), publisher: storing };
  const route = hookRoute({
    ...judging,
    ...audit,
    log,
    isLinkUp: () => parts.nats.isLinkUp,
    metrics: {
      received: (event, outcome) => metrics.hooksReceived.inc({ event, outcome }),
      lastReceived: (event, seconds) => metrics.hookLastReceived.set({ event }, seconds),
    },
  });
  const alarm = new SilenceAlarm({
    after: hooks.silenceAlarmMs,
    lastStored: () => lastStored(jetStream, hooks),
    now,
    log,
  });
  // A bridge that only reads feeds expects no hooks.
  const silence = hooks.events.length === 0 && hooks.feeds.length > 0 ? () => undefined : alarm.start();
  const feeds = startFeeds(hooks.feeds, parts, audit, judging);
  return {
    routes: [route],
    feeds: () => feeds.status(),
    hooksTrouble: async () => {
      const problem = await storing.trouble();
      return problem === undefined ? undefined : { stream: hooks.stream, problem };
    },
    stop: async (drained) => {
      silence();
      await feeds.stop(drained);
    },
  };
}

/** What hooks are judged with, including those in dead letters. */
export function judgeOptions(
  hooks: HooksSettings,
  parts: Pick<Parts, 'settings' | 'nats' | 'azureDevOps' | 'log' | 'now'>,
): JudgeOptions {
  const { settings, nats, azureDevOps, log } = parts;
  const now = () => parts.now();
  const { organization, organizationName } = settings.azureDevOps;
  return {
    hooks,
    organization,
    organizationName,
    isOurs: organizationTest(organization),
    signingKey: signingKeyOf(settings),
    publisher: nats.publisher,
    projects: new Projects({
      bucket: nats.keyValue(namesOf(settings.instance).of(BRIDGE_PROJECTS)),
      askName: (id, signal) => nameOfProject(azureDevOps, id, signal),
      log: log.texts('hooks'),
      now,
    }),
    now,
  };
}

/** A project's name; undefined where Azure DevOps knows no such project, or the identity may not see it. */
async function nameOfProject(azureDevOps: AzureDevOps, id: string, signal: AbortSignal): Promise<string | undefined> {
  const outcome = await azureDevOps.ask(`_apis/projects/${encodeURIComponent(id)}?api-version=7.1`, signal);
  if (outcome.kind === 'ok') {
    const name = isObject(outcome.body) ? outcome.body['name'] : undefined;
    return typeof name === 'string' ? name : undefined;
  }
  if (outcome.kind === 'refused' && outcome.status === 404) return undefined;
  throw new Error(outcome.message);
}

/** When the newest event was stored in the stream. */
async function lastStored(jetStream: JetStream, { stream }: HooksSettings): Promise<number | undefined> {
  const info = await jetStream.stream(stream);
  if (info.kind !== 'ok') throw new Error(`the stream ${stream} does not answer`);
  const { messages, last_ts: last } = info.value.state;
  return messages === 0 ? undefined : Date.parse(last);
}
