import { describeMs } from '../../shared/text/duration.ts';
import { quoted, safeText } from '../../shared/text/safeText.ts';
import { serverLines } from '../callout/serverLines.ts';
import { auditOf } from '../audit/audit.ts';
import { describeFinding } from '../finding.ts';
import type { Parts } from '../functions.ts';
import type { Answer, JetStream, Refusal, StreamInfo } from '../jetStream/api.ts';
import { CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, SUBJECTS_OVERLAP } from '../jetStream/api.ts';
import {
  consumerNeeds,
  createStreamOption,
  grantNeeds,
  permissionLines,
  streamNeeds,
  streamToCreate,
  type ConsumerNeed,
  type StreamNeed,
  type StreamOrder,
} from '../jetStream/needs.ts';
import { checkServerVersion } from '../jetStream/serverVersion.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession } from './session.ts';

const NS_PER_MS = 1_000_000;
const OVERLAP_REMEDY =
  '. Another stream of this account captures some of them: name that stream in the configuration, or change the subjects';

/** What `setup` is asked for. */
export interface SetupOptions {
  /** Whether to create what is missing. */
  readonly apply: boolean;
  /** Streams to create besides the bridge's own. */
  readonly streams: readonly StreamOrder[];
}

/**
 * Prints the streams, buckets and permissions that a configuration needs, and creates what is missing when asked to.
 *
 * @returns the exit code
 */
export async function setup(file: string, options: SetupOptions, world: World): Promise<number> {
  const { settings } = configurationOf(file, world);
  const needs = streamNeeds(settings);
  const own = options.streams.filter(({ name }) => needs.some(({ config }) => config.name === name));
  for (const { name } of own)
    world.err(`--create-stream ${quoted(name)}: setup creates this stream without it. Leave the option out.\n`);
  if (own.length > 0) return 2;
  const others = options.streams.map((order) => streamToCreate(order, settings));
  world.out(describe(settings, needs, others));
  if (!options.apply) return 0;
  return withSession(settings, world, async (session) => {
    const findings = await checkServerVersion(settings, session.nats, needs);
    for (const finding of findings) world.err(`error: ${describeFinding(finding)}\n`);
    if (findings.length > 0) return 1;
    const { created, areThere } = await applyAll(needs, others, settings, session.jetStream, world);
    if (created.length > 0) await note(created, { ...session, settings, now: () => world.now() }, world);
    return areThere ? 0 : 1;
  });
}

function describe(settings: BridgeSettings, needs: readonly StreamNeed[], others: readonly StreamNeed[]): string {
  return [
    '# Streams, buckets and consumers, as commands of the NATS CLI:',
    ...[...others, ...needs].map(commandFor),
    ...consumerNeeds(settings).map(consumerCommand),
    '',
    "# Permissions of the bridge's user, for the configuration of nats-server:",
    ...permissionLines(grantNeeds(settings, others)),
    ...(settings.callout === undefined ? [] : ['', ...serverLines(settings, settings.callout)]),
    '',
  ].join('\n');
}

/** The NATS CLI command that creates it. */
function commandFor({ kind, name, config }: StreamNeed): string {
  const replicas = `--replicas ${config.num_replicas ?? 1}`;
  if (kind === 'bucket')
    return `nats kv add ${name} --history 1 --storage file ${replicas} --max-bucket-size ${config.max_bytes ?? -1}`;
  const subjects = config.subjects.map((subject) => `--subjects '${subject}'`).join(' ');
  const window = config.duplicate_window === undefined ? '' : ` --dupe-window ${timeOf(config.duplicate_window)}`;
  const age = !config.max_age ? '' : ` --max-age ${timeOf(config.max_age)}`;
  return `nats stream add ${name} ${subjects} --storage file ${replicas} --retention limits --discard old${age}${window} --allow-direct --defaults`;
}

function consumerCommand({ stream, config }: ConsumerNeed): string {
  const subjects = [config.filter_subjects ?? config.filter_subject ?? []].flat();
  const filters = subjects.map((subject) => ` --filter '${subject}'`).join('');
  const start = config.opt_start_time ?? config.deliver_policy;
  const limits = `--wait ${timeOf(config.ack_wait)} --max-pending ${config.max_ack_pending} --max-deliver ${config.max_deliver}`;
  return `nats consumer add ${stream} ${config.durable_name} --pull${filters} --deliver ${start} --ack explicit ${limits} --defaults`;
}

function timeOf(ns: number): string {
  return describeMs(ns / NS_PER_MS);
}

interface Applied {
  /** Names of what was created. */
  readonly created: readonly string[];
  /** Whether all of it is there now. */
  readonly areThere: boolean;
}

async function applyAll(
  streams: readonly StreamNeed[],
  others: readonly StreamNeed[],
  settings: BridgeSettings,
  jetStream: JetStream,
  world: World,
): Promise<Applied> {
  const stream = ({ kind, name, config }: StreamNeed, difference?: (is: StreamInfo) => string | undefined) => ({
    kind,
    name,
    apply: () =>
      apply({
        missing: STREAM_NOT_FOUND,
        look: () => jetStream.stream(config.name),
        make: () => jetStream.createStream(config),
        difference,
      }),
  });
  const needs = [
    ...others.map((need) => stream(need, (is) => otherSubjects(need, is))),
    ...streams.map((need) => stream(need)),
    ...consumerNeeds(settings).map(({ stream, config }) => ({
      kind: 'consumer',
      name: `${config.durable_name} of ${stream}`,
      apply: () =>
        apply({
          missing: CONSUMER_NOT_FOUND,
          look: () => jetStream.consumer(stream, config.durable_name),
          make: () => jetStream.createConsumer(stream, config),
          orphaned: createStreamOption(settings, stream),
        }),
    })),
  ];
  const created: string[] = [];
  let areThere = true;
  for (const need of needs) {
    const { outcome, text } = await need.apply();
    if (outcome === 'created') created.push(need.name);
    areThere &&= outcome !== 'failed';
    world.err(`${need.kind} ${need.name}: ${safeText(text)}.\n`);
  }
  return { created, areThere };
}

/** What is different about a stream that `--create-stream` names, and is there: a clause. The option may be a mistake. */
function otherSubjects(
  { name, config }: StreamNeed,
  { config: { subjects: has = [] } }: StreamInfo,
): string | undefined {
  const asked = config.subjects;
  if (has.length === asked.length && asked.every((subject) => has.includes(subject))) return undefined;
  const list = (subjects: readonly string[]) => subjects.map((subject) => `"${subject}"`).join(', ') || 'no subject';
  const options = asked.map((subject) => `--subjects '${subject}'`).join(' ');
  return `it is there, and left as it is, but takes ${list(has)}, not ${list(asked)}. Leave out its --create-stream, or change the stream: nats stream edit ${name} ${options}`;
}

interface Makeable<Found> {
  /** The error when it isn't there. */
  readonly missing: number;
  readonly look: () => Promise<Answer<Found>>;
  readonly make: () => Promise<Answer<Found>>;
  /** What makes the one that is there unusable: a clause. */
  readonly difference?: ((found: Found) => string | undefined) | undefined;
  /** The option that creates the stream it belongs to. */
  readonly orphaned?: string;
}

async function apply<Found>({
  missing,
  look,
  make,
  difference,
  orphaned,
}: Makeable<Found>): Promise<{ outcome: 'there' | 'created' | 'failed'; text: string }> {
  const found = await look();
  if (found.kind === 'ok') {
    const problem = difference?.(found.value);
    if (problem !== undefined) return { outcome: 'failed', text: problem };
    return { outcome: 'there', text: 'it is there, and left as it is' };
  }
  if (found.kind === 'error' && found.errorCode === STREAM_NOT_FOUND && orphaned !== undefined)
    return { outcome: 'failed', text: `its stream doesn't exist. Create both: repeat this with ${orphaned}` };
  if (found.kind !== 'error' || found.errorCode !== missing)
    return { outcome: 'failed', text: `it can't be looked at: ${reasonOf(found)}` };
  const made = await make();
  if (made.kind === 'ok') return { outcome: 'created', text: 'created' };
  const remedy = made.kind === 'error' && made.errorCode === SUBJECTS_OVERLAP ? OVERLAP_REMEDY : '';
  return { outcome: 'failed', text: `it can't be created: ${reasonOf(made)}${remedy}` };
}

/** A person's order goes into the audit stream once there is one. */
async function note(created: readonly string[], parts: Omit<Parts, 'contracts'>, world: World): Promise<void> {
  const { decisions, deadLetters } = auditOf(parts, world.version);
  await decisions.note({
    function: 'orders',
    name: 'setup-apply',
    decision: 'created',
    user: world.user,
    followed: { created: created.join(', ') },
  });
  await deadLetters.close();
}

function reasonOf(refusal: Refusal): string {
  switch (refusal.kind) {
    case 'error':
      return `${refusal.description} (JetStream error ${refusal.errorCode})`;
    case 'denied':
      return `the user may not publish to ${refusal.subject}`;
    case 'off':
      return 'JetStream is not there: enable it for the server and the account';
    case 'silent':
      return refusal.reason;
  }
}
