import { AZURE_DEVOPS } from './azureDevOps/check.ts';
import { NOT_ASKED } from './azureDevOps/client.ts';
import { deadLetterPlaces } from './audit/audit.ts';
import type { CalloutStatus } from './functions.ts';
import { countLetters } from './audit/letterCounts.ts';
import { earlierReplays } from './audit/replays.ts';
import { statusPage, type Status } from './http/statusPage.ts';
import type { SubscriptionStates } from './hooks/subscriptions/watch.ts';
import type { JetStream } from './jetStream/api.ts';
import type { Metrics } from './metrics.ts';
import { BRIDGE_DEAD, namesOf } from './names.ts';
import type { Nats } from './nats.ts';
import type { Readiness } from './readiness.ts';
import { routeStates } from './routeStates.ts';
import type { BridgeSettings } from './settings.ts';

/** The findings of the last self-check. */
export type CheckResult = NonNullable<Status['check']>;

/** What the status page is made from. */
export interface StatusSources {
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly startedAt: number;
  readonly settings: BridgeSettings;
  readonly readiness: Readiness;
  /** Undefined before the bridge has connected. */
  readonly nats: Nats | undefined;
  /** Why there was no link when there last was none: a clause. */
  readonly natsTrouble: string | undefined;
  readonly jetStream: JetStream | undefined;
  readonly throttle: Status['throttle'];
  /** Why routes get no events at this replica, by their names. */
  readonly routesDown: ReadonlyMap<string, string>;
  readonly feeds: Status['feeds'];
  readonly waits: Status['waits'];
  readonly callout: CalloutStatus | undefined;
  readonly metrics: Metrics;
  readonly check: CheckResult | undefined;
  readonly unused: Status['unused'];
  readonly restartKeys: Status['restartKeys'];
  /** Undefined before the first check, and when it's unclear which subscriptions belong to this bridge. */
  readonly subscriptions: SubscriptionStates | undefined;
  /** Milliseconds since the epoch; undefined without a token that expires. */
  readonly tokenValidUntil: number | undefined;
}

/** The status page as it is now, in HTML. */
export async function currentStatus({ readiness, settings, ...sources }: StatusSources): Promise<string> {
  return statusPage({
    version: sources.version,
    now: sources.now,
    startedAt: sources.startedAt,
    instance: settings.instance,
    organization: settings.azureDevOps.organization,
    readiness: readiness.status,
    nats: natsOf(readiness, sources),
    azureDevOps: azureDevOpsOf(readiness, settings, sources),
    streams: Object.entries(readiness.streams).map(([name, state]) => ({ name, state })),
    hooks: settings.hooks === undefined ? undefined : await hooksOf(sources.metrics),
    subscriptions: subscriptionsOf(sources.subscriptions),
    throttle: sources.throttle,
    feeds: sources.feeds,
    waits: sources.waits,
    callout: sources.callout && { ...sources.callout, signIns: await countsOf(sources.metrics) },
    ...(await storedOf(settings, sources)),
    check: sources.check,
    unused: sources.unused,
    restartKeys: sources.restartKeys,
  });
}

/** `up`, or `down` with the reason. */
export function natsOf({ nats }: Pick<Readiness, 'nats'>, { natsTrouble: why }: Pick<StatusSources, 'natsTrouble'>) {
  return nats === 'up' || why === undefined ? nats : `${nats}: ${why}`;
}

/** The state of Azure DevOps: the token, and whether the last self-check could sign in with it. */
export function azureDevOpsOf(
  { azureDevOps: trouble }: Pick<Readiness, 'azureDevOps'>,
  settings: Pick<BridgeSettings, 'azureDevOps' | 'callout'>,
  { check, tokenValidUntil: until }: Pick<StatusSources, 'check' | 'tokenValidUntil'>,
): Status['azureDevOps'] {
  if (settings.callout !== undefined) return { state: 'not needed by the callout', isGood: true };
  if (trouble !== 'ok' && trouble !== NOT_ASKED) return { state: trouble, isGood: false };
  const isRefused = check?.findings.some(({ about }) => about === AZURE_DEVOPS) === true;
  const tried = isRefused ? 'see the self-check' : 'accepted at the last self-check';
  return { state: `${tokenOf(settings, until)}, ${check === undefined ? 'not tried yet' : tried}`, isGood: !isRefused };
}

function tokenOf({ azureDevOps }: Pick<BridgeSettings, 'azureDevOps'>, until: number | undefined): string {
  if (azureDevOps.identity.kind === 'pat') return 'personal access token';
  if (until === undefined) return 'no token yet';
  return `token valid until ${new Date(until).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** A row per event. */
function subscriptionsOf(subscriptions: SubscriptionStates | undefined): Status['subscriptions'] {
  if (subscriptions?.kind !== 'seen') return subscriptions?.why;
  const events = [...new Set(subscriptions.states.map(({ event }) => event))];
  return events.map((event) => ({ event, states: subscriptions.states.filter((one) => one.event === event) }));
}

/** Sign-ins by outcome. */
async function countsOf({ calloutSignIns }: Metrics): Promise<NonNullable<Status['callout']>['signIns']> {
  const { values } = await calloutSignIns.get();
  return values.map(({ labels, value }) => ({ outcome: String(labels.outcome), count: value }));
}

async function hooksOf(metrics: Metrics): Promise<NonNullable<Status['hooks']>> {
  const received = (await metrics.hooksReceived.get()).values;
  const last = new Map((await metrics.hookLastReceived.get()).values.map(({ labels, value }) => [labels.event, value]));
  const events = [...new Set(received.map(({ labels }) => String(labels.event)))].sort();
  return events.map((event) => {
    const lastAt = last.get(event);
    return {
      event,
      received: received
        .filter(({ labels }) => labels.event === event)
        .map(({ labels, value }) => ({ outcome: String(labels.outcome), count: value })),
      lastAt: lastAt === undefined ? undefined : lastAt * 1_000,
    };
  });
}

/** What JetStream knows. */
async function storedOf(
  settings: BridgeSettings,
  { nats, jetStream, now, routesDown }: Pick<StatusSources, 'nats' | 'jetStream' | 'now' | 'routesDown'>,
): Promise<Pick<Status, 'routes' | 'deadLetters'>> {
  if (nats === undefined || jetStream === undefined || !nats.isLinkUp) {
    const trouble = 'NATS is not connected';
    const unknown = { pause: undefined, trouble, waiting: undefined, decisions: [], decisionsTrouble: undefined };
    return { routes: settings.runs.map((route) => ({ ...route, ...unknown })), deadLetters: undefined };
  }
  const sources = { settings, nats, jetStream, now: () => now };
  const [routes, deadLetters] = await Promise.all([
    routeStates(sources),
    earlierReplays('deadLetters-replay', sources).then((earlier) =>
      countLetters(deadLetterPlaces(settings), sources, earlier),
    ),
  ]);
  const here = routes.map((route) => ({ ...route, down: routesDown.get(route.name) }));
  return { routes: here, deadLetters: deadLetters ?? (await countsBySubject(settings, jetStream)) };
}

/** What is known about the letters when the user may not read them. */
async function countsBySubject({ instance }: BridgeSettings, jetStream: JetStream): Promise<Status['deadLetters']> {
  const names = namesOf(instance);
  const answer = await jetStream.stream(names.of(BRIDGE_DEAD), names.subject('bridge.dead.>'));
  if (answer.kind !== 'ok') return undefined;
  const prefix = names.subject('bridge.dead.').length;
  return Object.entries(answer.value.state.subjects ?? {})
    .map(([subject, count]) => {
      const [of = '', ...name] = subject.slice(prefix).split('.');
      return { function: of, name: name.join('.'), reason: '', count, replayed: 0, detail: '', lastAt: undefined };
    })
    .sort((one, next) => next.count - one.count);
}
