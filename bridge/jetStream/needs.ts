import { permissionsBlock, type Grants } from '../../shared/nats/permissions.ts';
import { overlap, withoutCovered } from '../../shared/subject.ts';
import { BRIDGE_AUDIT, BRIDGE_DEAD, BRIDGE_INTENTS, BRIDGE_PROJECTS, BRIDGE_WAITS, namesOf } from '../names.ts';
import { REQUEST_SUBJECT } from '../callout/subject.ts';
import type { BridgeSettings, RouteSettings } from '../settings.ts';
import type { ConsumerConfig, StreamConfig } from './api.ts';

const NS_PER_MS = 1_000_000;
const HOUR_MS = 3_600_000;
/** Pinned project names and the like take a fraction of this. */
const BUCKET_BYTES = 64 * 1_024 * 1_024;

/** As long as the bridge remembers what it has started. */
const INTENTS_MS = 7 * 24 * HOUR_MS;
/** Half a million events in that time. */
const INTENTS_BYTES = 512 * 1_024 * 1_024;

/** Longer than any wait: anything left by then is of no use. */
const WAITS_MS = 4 * 24 * HOUR_MS;
/** 50,000 waits of 20 KiB. */
const WAITS_BYTES = 1_024 * 1_024 * 1_024;

/** A required stream or bucket, as `setup` creates it. */
export interface StreamNeed {
  /** A bucket is a stream called `KV_` and its name. */
  readonly kind: 'stream' | 'bucket';
  /** The name of the stream, or of the bucket. */
  readonly name: string;
  readonly config: StreamConfig & { readonly subjects: readonly string[] };
}

/** The streams and buckets that a configuration needs. */
export function streamNeeds(settings: BridgeSettings): StreamNeed[] {
  const { streams, hooks, instance } = settings;
  const names = namesOf(instance);
  const { replicas, maxAgeMs } = streams;
  return [
    ...(hooks === undefined
      ? []
      : [
          stream(hooks.stream, `${hooks.subjectPrefix}.>`, replicas, maxAgeMs.AZDO, Math.min(HOUR_MS, maxAgeMs.AZDO)),
          bucket(names.of(BRIDGE_PROJECTS), replicas, 0, BUCKET_BYTES),
        ]),
    ...(settings.runs.length === 0 ? [] : [bucket(names.of(BRIDGE_INTENTS), replicas, INTENTS_MS, INTENTS_BYTES)]),
    ...(settings.waits === undefined ? [] : [bucket(names.of(BRIDGE_WAITS), replicas, WAITS_MS, WAITS_BYTES)]),
    stream(names.of(BRIDGE_AUDIT), names.subject('bridge.decisions.>'), replicas, maxAgeMs.BRIDGE_AUDIT),
    stream(names.of(BRIDGE_DEAD), names.subject('bridge.dead.>'), replicas, maxAgeMs.BRIDGE_DEAD),
  ];
}

/** A stream that isn't the bridge's own, but is to be created for its routes and waits. */
export interface StreamOrder {
  readonly name: string;
  readonly subjects: readonly string[];
}

/** As `nats stream add --defaults` creates it, with as many replicas as the bridge's own streams. */
export function streamToCreate({ name, subjects }: StreamOrder, { streams }: BridgeSettings): StreamNeed {
  const { config } = stream(name, '', streams.replicas, 0);
  return { kind: 'stream', name, config: { ...config, subjects } };
}

/** What the routes of a stream read of it; nothing twice. */
export function subjectsOf({ runs }: Pick<BridgeSettings, 'runs'>, name: string): string[] {
  return withoutCovered(
    runs.filter(({ mode, stream }) => mode !== 'off' && stream === name).flatMap((route) => route.subjects),
  );
}

/** The option of `setup` that creates the stream of some routes. */
export function createStreamOption(settings: Pick<BridgeSettings, 'runs'>, name: string): string {
  return `--create-stream '${name}=${subjectsOf(settings, name).join(',')}'`;
}

function stream(name: string, subject: string, replicas: number, maxAgeMs: number, windowMs?: number): StreamNeed {
  const window = windowMs === undefined ? {} : { duplicate_window: windowMs * NS_PER_MS };
  return {
    kind: 'stream',
    name,
    config: {
      name,
      subjects: [subject],
      retention: 'limits',
      storage: 'file',
      discard: 'old',
      max_age: maxAgeMs * NS_PER_MS,
      max_bytes: -1,
      max_msgs: -1,
      max_msg_size: -1,
      num_replicas: replicas,
      allow_direct: true,
      ...window,
    },
  };
}

/** As the key-value stores of NATS' clients are made. */
function bucket(name: string, replicas: number, maxAgeMs: number, maxBytes: number): StreamNeed {
  return {
    kind: 'bucket',
    name,
    config: {
      name: `KV_${name}`,
      subjects: [`$KV.${name}.>`],
      retention: 'limits',
      storage: 'file',
      discard: 'new',
      max_age: maxAgeMs * NS_PER_MS,
      max_bytes: maxBytes,
      max_msgs: -1,
      max_msg_size: -1,
      max_msgs_per_subject: 1,
      num_replicas: replicas,
      allow_direct: true,
      allow_rollup_hdrs: true,
      deny_delete: true,
    },
  };
}

/** A required durable consumer, as `setup` creates it. */
export interface ConsumerNeed {
  readonly route: RouteSettings;
  readonly stream: string;
  readonly config: ConsumerConfig;
}

/** The name of a route's durable consumer. */
export function consumerOf(instance: string, route: string): string {
  return namesOf(instance).of(`bridge-${route}`);
}

/** The durable consumers that a configuration needs. */
export function consumerNeeds({ runs, instance, timing }: BridgeSettings): ConsumerNeed[] {
  return runs
    .filter(({ mode }) => mode !== 'off')
    .map((route) => {
      const { startFrom, subjects } = route;
      const config: ConsumerConfig = {
        durable_name: consumerOf(instance, route.name),
        ...(typeof startFrom === 'number'
          ? { deliver_policy: 'by_start_time', opt_start_time: new Date(startFrom).toISOString() }
          : { deliver_policy: startFrom }),
        ack_policy: 'explicit',
        ack_wait: timing.ackWait * NS_PER_MS,
        max_ack_pending: 1_000,
        // Attempts are counted in the intent: the server would drop an event silently.
        max_deliver: -1,
        ...filterOf(subjects),
      };
      return { route, stream: route.stream, config };
    });
}

function filterOf(subjects: readonly string[]): Pick<ConsumerConfig, 'filter_subject' | 'filter_subjects'> {
  const [only, ...others] = subjects;
  if (only !== undefined && others.length === 0) return { filter_subject: only };
  const isOverlapping = subjects.some((one, index) => subjects.slice(index + 1).some((other) => overlap(one, other)));
  // The server refuses filters that overlap (error 10138); the route looks at each event's subject itself.
  return isOverlapping ? {} : { filter_subjects: subjects };
}

/**
 * Subjects of a route that its stream doesn't take; undefined when there are none, or the stream may hold others than it takes.
 *
 * @param fits whether a subject of the stream is enough for one of the route
 */
export function subjectMistake(
  { route, stream }: ConsumerNeed,
  { subjects: taken = [], mirror, sources = [], subject_transform: transform }: StreamConfig,
  fits: (taken: string, subject: string) => boolean,
): { readonly problem: string; readonly remedy: string } | undefined {
  if ((mirror ?? transform) !== undefined || sources.length > 0) return undefined;
  const others = route.subjects.filter((subject) => !taken.some((one) => fits(one, subject)));
  if (others.length === 0) return undefined;
  const problem = `${stream} takes ${taken.join(', ') || 'no subject'}, not ${others.join(', ')}`;
  return { problem, remedy: correctSubject(route) };
}

/** What to do where a stream doesn't take a route's subjects. */
export function correctSubject({ name }: RouteSettings): string {
  return `Correct the subject of route ${name}, or the stream's subjects.`;
}

/**
 * Waits name the streams they read, or their subjects do: which ones there are isn't known beforehand. Readers make
 * consumers of their own, on the bucket of waits as well.
 */
const WAIT_OPERATIONS = [
  'STREAM.NAMES',
  'STREAM.INFO.*',
  'STREAM.MSG.GET.*',
  'CONSUMER.CREATE.*.>',
  'CONSUMER.MSG.NEXT.*.*',
  'CONSUMER.DELETE.*.*',
];

/** Grants of {@link WAIT_OPERATIONS}, each with one that waits can't do without: readers' consumers on the bucket of waits. */
export function waitProbes({ waits, instance }: BridgeSettings): { readonly grant: string; readonly probe: string }[] {
  if (waits === undefined) return [];
  const bucket = `KV_${namesOf(instance).of(BRIDGE_WAITS)}`;
  return WAIT_OPERATIONS.map((grant) => ({ grant, probe: grant.replace('*', bucket).replace(/[*>]/g, 'none') }));
}

/** What the reasons for permissions begin with that are only used to set up. */
export const APPLY_REASON = 'setup --apply';

/**
 * The permissions that the bridge's user needs, and no more.
 *
 * @param others streams that `setup` creates besides the bridge's own
 */
export function grantNeeds(settings: BridgeSettings, others: readonly StreamNeed[] = []): Grants {
  const { instance } = settings;
  const { inboxPrefix = '_INBOX', jetStreamDomain } = settings.nats();
  const needs = streamNeeds(settings);
  const deadLetters = namesOf(instance).of(BRIDGE_DEAD);
  // A server of the domain takes away its name before it looks at permissions; one of another domain doesn't.
  const prefixes = ['$JS.API', ...(jetStreamDomain === undefined ? [] : [`$JS.${jetStreamDomain}.API`])];
  const consumers = consumerNeeds(settings).map(({ stream, config }) => ({
    stream,
    name: config.durable_name,
    config,
  }));
  const sources = [...new Set(consumers.map(({ stream }) => stream))];
  const audit = namesOf(instance).of(BRIDGE_AUDIT);
  // `why` reads them with consumers of its own, which last as long as the command.
  const explained = [...new Set([...(settings.hooks === undefined ? [] : [settings.hooks.stream]), ...sources, audit])];
  const api = (operation: string) => prefixes.map((prefix) => `${prefix}.${operation}`);
  return {
    publish: [
      // Where servers wait for the answers to their requests.
      ...(settings.callout === undefined ? [] : ['$SYS._INBOX.>']),
      ...needs.flatMap(({ config }) => config.subjects),
      ...needs.flatMap(({ config }) => api(`STREAM.INFO.${config.name}`)),
      ...needs.filter(({ kind }) => kind === 'bucket').flatMap(({ config }) => api(`STREAM.MSG.GET.${config.name}`)),
      ...sources
        .filter((name) => needs.every(({ config }) => config.name !== name))
        .flatMap((name) => api(`STREAM.INFO.${name}`)),
      ...consumers.flatMap(({ stream, name }) => [
        ...api(`CONSUMER.INFO.${stream}.${name}`),
        ...api(`CONSUMER.MSG.NEXT.${stream}.${name}`),
        // Servers that are told to name the domain in it, too.
        `$JS.ACK.${stream}.${name}.>`,
        `$JS.ACK.*.*.${stream}.${name}.>`,
      ]),
      ...(settings.waits === undefined ? [] : WAIT_OPERATIONS.flatMap(api)),
      ...(jetStreamDomain === undefined ? [] : ['$JS.API.INFO']),
    ],
    subscribe: [...(settings.callout === undefined ? [] : [REQUEST_SUBJECT]), `${inboxPrefix}.*.*`],
    optional: [
      ...api(`STREAM.MSG.GET.${deadLetters}`).map((subject) => ({ subject, reason: 'the command deadLetters' })),
      ...needs
        .flatMap(({ config }) => api(`STREAM.CREATE.${config.name}`))
        .map((subject) => ({ subject, reason: APPLY_REASON })),
      ...others
        .flatMap(({ name }) => [
          // A route that reads it needs the first one anyway.
          ...(sources.includes(name) ? [] : api(`STREAM.INFO.${name}`)),
          ...api(`STREAM.CREATE.${name}`),
        ])
        .map((subject) => ({ subject, reason: `${APPLY_REASON} --create-stream` })),
      ...consumers
        .flatMap(({ stream, name, config }) =>
          api(
            `CONSUMER.CREATE.${stream}.${name}${config.filter_subject === undefined ? '' : `.${config.filter_subject}`}`,
          ),
        )
        .map((subject) => ({ subject, reason: APPLY_REASON })),
      ...sources
        .flatMap((name) => api(`STREAM.MSG.GET.${name}`))
        .map((subject) => ({
          subject,
          reason: 'the age of the oldest pending event, as in nats_bridge_route_oldest_pending_seconds',
        })),
      ...[...explained, deadLetters]
        .flatMap((name) => [
          ...api(`CONSUMER.CREATE.${name}.>`),
          ...api(`CONSUMER.MSG.NEXT.${name}.*`),
          ...api(`CONSUMER.DELETE.${name}.*`),
        ])
        .map((subject) => ({ subject, reason: 'the commands why, routes and deadLetters, and the status page' })),
      ...explained
        .filter((name) => !sources.includes(name))
        .flatMap((name) => api(`STREAM.MSG.GET.${name}`))
        .map((subject) => ({ subject, reason: 'the command why' })),
      ...(sources.length === 0 || settings.waits !== undefined ? [] : api('STREAM.NAMES')).map((subject) => ({
        subject,
        reason: "check names the stream that has a route's subject",
      })),
      { subject: '$SYS.REQ.USER.INFO', reason: 'check finds unneeded permissions' },
    ],
  };
}

/** {@link grantNeeds} in the syntax of nats-server's configuration. */
export function permissionLines(grants: Grants): string[] {
  return permissionsBlock(grants);
}
