import { AZURE_DEVOPS } from './azureDevOps/check.ts';
import { statusPage, type Status } from './http/statusPage.ts';
import type { JetStream } from './jetStream/api.ts';
import type { Metrics } from './metrics.ts';
import { BRIDGE_DEAD, namesOf } from './names.ts';
import type { Readiness } from './readiness.ts';
import type { BridgeSettings } from './settings.ts';

/** What the last self-check found. */
export type CheckResult = NonNullable<Status['check']>;

/** What the status page is made from. */
export interface StatusSources {
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly startedAt: number;
  readonly settings: BridgeSettings;
  readonly readiness: Readiness;
  readonly jetStream: JetStream | undefined;
  readonly metrics: Metrics;
  readonly check: CheckResult | undefined;
  /** Milliseconds since the epoch; undefined without a token that ends by itself. */
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
    nats: readiness.nats,
    azureDevOps: azureDevOpsOf(readiness, settings, sources),
    streams: Object.entries(readiness.streams).map(([name, state]) => ({ name, state })),
    hooks: settings.hooks === undefined ? undefined : await hooksOf(sources.metrics),
    deadLetters: await deadLettersOf(settings, sources.jetStream),
    check: sources.check,
  });
}

/** What is known of Azure DevOps: the token, and whether the last self-check got in with it. */
export function azureDevOpsOf(
  { azureDevOps: trouble }: Pick<Readiness, 'azureDevOps'>,
  settings: Pick<BridgeSettings, 'azureDevOps'>,
  { check, tokenValidUntil: until }: Pick<StatusSources, 'check' | 'tokenValidUntil'>,
): Status['azureDevOps'] {
  if (trouble !== 'ok') return { state: trouble, isGood: false };
  const isRefused = check?.findings.some(({ about }) => about === AZURE_DEVOPS) === true;
  const tried = isRefused ? 'see the self-check' : 'accepted at the last self-check';
  return { state: `${tokenOf(settings, until)}, ${check === undefined ? 'not tried yet' : tried}`, isGood: !isRefused };
}

function tokenOf({ azureDevOps }: Pick<BridgeSettings, 'azureDevOps'>, until: number | undefined): string {
  if (azureDevOps.identity.kind === 'pat') return 'personal access token';
  if (until === undefined) return 'no token yet';
  return `token valid until ${new Date(until).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
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

async function deadLettersOf(
  { instance }: BridgeSettings,
  jetStream: JetStream | undefined,
): Promise<Status['deadLetters']> {
  const names = namesOf(instance);
  const answer = await jetStream?.stream(names.of(BRIDGE_DEAD), names.subject('bridge.dead.>'));
  if (answer?.kind !== 'ok') return undefined;
  const prefix = names.subject('bridge.dead.').length;
  return Object.entries(answer.value.state.subjects ?? {})
    .map(([subject, count]) => {
      const [of = '', ...name] = subject.slice(prefix).split('.');
      return { function: of, name: name.join('.'), count };
    })
    .sort((one, next) => next.count - one.count);
}
