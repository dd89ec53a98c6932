import { permissionsBlock, type Grants } from '../../shared/nats/permissions.ts';
import { BRIDGE_AUDIT, BRIDGE_DEAD, BRIDGE_PROJECTS, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import type { StreamConfig } from './api.ts';

const NS_PER_MS = 1_000_000;
const HOUR_MS = 3_600_000;
/** What a project's pinned name and the like take is a fraction of this. */
const BUCKET_BYTES = 64 * 1_024 * 1_024;

/** A stream or bucket that must be there, as `setup` makes it. */
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
          bucket(names.of(BRIDGE_PROJECTS), replicas),
        ]),
    stream(names.of(BRIDGE_AUDIT), names.subject('bridge.decisions.>'), replicas, maxAgeMs.BRIDGE_AUDIT),
    stream(names.of(BRIDGE_DEAD), names.subject('bridge.dead.>'), replicas, maxAgeMs.BRIDGE_DEAD),
  ];
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
function bucket(name: string, replicas: number): StreamNeed {
  return {
    kind: 'bucket',
    name,
    config: {
      name: `KV_${name}`,
      subjects: [`$KV.${name}.>`],
      retention: 'limits',
      storage: 'file',
      discard: 'new',
      max_age: 0,
      max_bytes: BUCKET_BYTES,
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

/** What the bridge's user needs to be allowed, and no more. */
export function grantNeeds(settings: BridgeSettings): Grants {
  const { instance } = settings;
  const { inboxPrefix = '_INBOX', jetStreamDomain } = settings.nats();
  const needs = streamNeeds(settings);
  const deadLetters = namesOf(instance).of(BRIDGE_DEAD);
  // A server of the domain takes away its name before it looks at permissions; one of another domain doesn't.
  const prefixes = ['$JS.API', ...(jetStreamDomain === undefined ? [] : [`$JS.${jetStreamDomain}.API`])];
  const api = (operation: string) => prefixes.map((prefix) => `${prefix}.${operation}`);
  return {
    publish: [
      ...needs.flatMap(({ config }) => config.subjects),
      ...needs.flatMap(({ config }) => api(`STREAM.INFO.${config.name}`)),
      ...needs.filter(({ kind }) => kind === 'bucket').flatMap(({ config }) => api(`STREAM.MSG.GET.${config.name}`)),
      ...(jetStreamDomain === undefined ? [] : ['$JS.API.INFO']),
    ],
    subscribe: [`${inboxPrefix}.*.*`],
    optional: [
      ...api(`STREAM.MSG.GET.${deadLetters}`).map((subject) => ({ subject, reason: 'the command deadLetters' })),
      ...needs
        .flatMap(({ config }) => api(`STREAM.CREATE.${config.name}`))
        .map((subject) => ({ subject, reason: 'setup --apply' })),
      { subject: '$SYS.REQ.USER.INFO', reason: 'check finds needless permissions' },
    ],
  };
}

/** {@link grantNeeds} in the syntax of nats-server's configuration. */
export function permissionLines(grants: Grants): string[] {
  return permissionsBlock(grants);
}
