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
    azureDevOps: readiness.azureDevOps,
    streams: Object.entries(readiness.streams).map(([name, state]) => ({ name, state })),
    hooks: settings.hooks === undefined ? undefined : await hooksOf(sources.metrics),
    deadLetters: await deadLettersOf(settings, sources.jetStream),
    check: sources.check,
  });
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
