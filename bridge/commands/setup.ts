import type { Problem } from '../../shared/errors.ts';
import { covers, overlap } from '../../shared/subject.ts';
import { describeMs } from '../../shared/text/duration.ts';
import { quoted, safeText } from '../../shared/text/safeText.ts';
import { serverLines } from '../callout/serverLines.ts';
import { auditOf } from '../audit/audit.ts';
import { describeFinding, listed, type Finding } from '../finding.ts';
import type { Parts } from '../functions.ts';
import type { JetStream, Refusal, StreamInfo } from '../jetStream/api.ts';
import {
  CONSUMER_NOT_FOUND,
  deniedError,
  FILTER_NOT_SUBSET,
  STREAM_NOT_FOUND,
  SUBJECTS_OVERLAP,
} from '../jetStream/api.ts';
import { aboutConsumer, aboutOf, consumerDifferences, streamDifferences } from '../jetStream/differences.ts';
import {
  consumerNeeds,
  correctSubject,
  createStreamOption,
  grantNeeds,
  permissionLines,
  streamNeeds,
  streamToCreate,
  subjectMistake,
  type ConsumerNeed,
  type StreamNeed,
  type StreamOrder,
} from '../jetStream/needs.ts';
import { meantStream } from '../jetStream/meantStream.ts';
import { checkServerVersion } from '../jetStream/serverVersion.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';
import { configurationOf, withSession } from './session.ts';

const NS_PER_MS = 1_000_000;
const MS_PER_S = 1_000;

/** What `setup` is asked for. */
export interface SetupOptions {
  /** Whether to create what is missing. */
  readonly apply: boolean;
  /** Streams to create besides the bridge's own. */
  readonly streams: readonly StreamOrder[];
}

/**
 * Prints the streams, buckets and permissions that a configuration needs. Asked to apply them, it creates what is missing,
 * prints only that, and names what is there already.
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
  const all = { others, streams: needs, consumers: consumerNeeds(settings) };
  if (!options.apply) {
    world.out(describe(settings, all, world.now()));
    return 0;
  }
  return withSession(settings, world, async (session) => {
    const findings = await checkServerVersion(settings, session.nats, needs);
    for (const finding of findings) world.err(`error: ${describeFinding(finding)}\n`);
    if (findings.length > 0) return 1;
    const { created, missing, areThere } = await applyAll(all, settings, session.jetStream, world);
    const { others: orders, streams, consumers } = missing;
    if (orders.length + streams.length + consumers.length > 0) world.out(describe(settings, missing, world.now()));
    if (created.length > 0) await note(created, { ...session, settings, now: () => world.now() }, world);
    return areThere ? 0 : 1;
  });
}

/** What `setup` may create. */
interface Needs {
  /** Streams besides the bridge's own. */
  readonly others: readonly StreamNeed[];
  readonly streams: readonly StreamNeed[];
  readonly consumers: readonly ConsumerNeed[];
}

function describe(settings: BridgeSettings, { others, streams, consumers }: Needs, now: number): string {
  return [
    '# Streams, buckets and consumers, as commands of the NATS CLI:',
    ...[...others, ...streams].map(commandFor),
    ...consumers.map((need) => consumerCommand(need, now)),
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
  if (kind === 'bucket') {
    const ttl = !config.max_age ? '' : ` --ttl ${timeOf(config.max_age)}`;
    return `nats kv add ${name} --history 1${ttl} --storage file ${replicas} --max-bucket-size ${config.max_bytes ?? -1}`;
  }
  const subjects = config.subjects.map((subject) => `--subjects '${subject}'`).join(' ');
  const window = config.duplicate_window === undefined ? '' : ` --dupe-window ${timeOf(config.duplicate_window)}`;
  const age = !config.max_age ? '' : ` --max-age ${timeOf(config.max_age)}`;
  return `nats stream add ${name} ${subjects} --storage file ${replicas} --retention limits --discard old${age}${window} --allow-direct --defaults`;
}

function consumerCommand({ stream, config }: ConsumerNeed, now: number): string {
  const subjects = [config.filter_subjects ?? config.filter_subject ?? []].flat();
  const filters = subjects.map((subject) => ` --filter '${subject}'`).join('');
  const { opt_start_time: time } = config;
  // The NATS CLI takes no time, only how long ago it was.
  const start =
    time === undefined ? config.deliver_policy : `${Math.max(0, Math.ceil((now - Date.parse(time)) / MS_PER_S))}s`;
  const limits = `--wait ${timeOf(config.ack_wait)} --max-pending ${config.max_ack_pending} --max-deliver ${config.max_deliver}`;
  return `nats consumer add ${stream} ${config.durable_name} --pull${filters} --deliver ${start} --ack explicit ${limits} --defaults`;
}

function timeOf(ns: number): string {
  return describeMs(ns / NS_PER_MS);
}

interface Applied {
  /** Names of what was created. */
  readonly created: readonly string[];
  /** What wasn't there. */
  readonly missing: Needs;
  /** Whether all of it is there now. */
  readonly areThere: boolean;
}

async function applyAll(
  { others, streams, consumers }: Needs,
  settings: BridgeSettings,
  jetStream: JetStream,
  world: World,
): Promise<Applied> {
  const created: string[] = [];
  const there: string[] = [];
  let areThere = true;
  /** @returns the needs that weren't met */
  const applyEach = async <Need>(
    needs: readonly Need[],
    about: (need: Need) => string,
    apply: (need: Need) => Promise<Outcome>,
  ): Promise<Need[]> => {
    const missing: Need[] = [];
    for (const need of needs) {
      const { outcome, problems } = await apply(need);
      if (outcome !== 'there') missing.push(need);
      if (outcome === 'created') created.push(about(need).replace(/^\w+ /, ''));
      areThere &&= outcome !== 'failed';
      for (const { problem, remedy = '' } of problems)
        world.err(`${about(need)}: ${safeText([`${problem}.`, remedy].filter(Boolean).join(' '))}\n`);
      if (problems.length === 0) there.push(about(need));
    }
    return missing;
  };
  const missing = {
    others: await applyEach(others, aboutOf, (need) => applyStream(need, true, settings, jetStream)),
    streams: await applyEach(streams, aboutOf, (need) => applyStream(need, false, settings, jetStream)),
    consumers: await applyEach(consumers, aboutConsumer, (need) => applyConsumer(need, settings, jetStream)),
  };
  if (there.length > 0) world.err(`There already, and left as they are: ${safeText(listed(there))}.\n`);
  return { created, missing, areThere };
}

/** What is different about a stream that `--create-stream` names, and is there. The option may be a mistake. */
function otherSubjects(
  { name, config }: StreamNeed,
  { config: { subjects: has = [] } }: StreamInfo,
): Problem | undefined {
  const asked = config.subjects;
  if (has.length === asked.length && asked.every((subject) => has.includes(subject))) return undefined;
  const list = (subjects: readonly string[]) => subjects.map((subject) => `"${subject}"`).join(', ') || 'no subject';
  const options = asked.map((subject) => `--subjects '${subject}'`).join(' ');
  return {
    problem: `it is there, and left as it is, but takes ${list(has)}, not ${list(asked)}`,
    remedy: `Leave out its --create-stream, or change the stream with the NATS CLI: nats stream edit ${name} ${options}.`,
  };
}

/** What has become of something needed, and what to say about it. */
interface Outcome {
  readonly outcome: 'there' | 'created' | 'failed';
  readonly problems: readonly Problem[];
}

const CREATED: Outcome = { outcome: 'created', problems: [{ problem: 'created' }] };

function failed(problem: string, remedy = ''): Outcome {
  return { outcome: 'failed', problems: [{ problem, remedy }] };
}

/** What is there isn't changed, however it differs. */
function there(differences: readonly Finding[]): Outcome {
  const problems = differences.map(({ problem, remedy }) => ({
    problem: `it is there, and left as it is, but ${problem}`,
    remedy,
  }));
  return { outcome: 'there', problems };
}

/** @param isOrdered whether an option asks for it, which may be a mistake */
async function applyStream(
  need: StreamNeed,
  isOrdered: boolean,
  settings: BridgeSettings,
  jetStream: JetStream,
): Promise<Outcome> {
  const { config } = need;
  const found = await jetStream.stream(config.name);
  // Without answers, the same would be said of everything.
  if (found.kind === 'denied' && found.verb === 'subscribe') throw deniedError(found);
  if (found.kind === 'ok') {
    if (!isOrdered) return there(streamDifferences(need, found.value.config, settings));
    const problem = otherSubjects(need, found.value);
    return problem === undefined ? there([]) : failed(problem.problem, problem.remedy);
  }
  const grant = (refusal: Refusal) =>
    refusal.kind === 'denied' && isOrdered ? grantRemedy(config.name, jetStream) : Promise.resolve('');
  if (!isError(found, STREAM_NOT_FOUND)) return failed(`it can't be looked at: ${reasonOf(found)}`, await grant(found));
  const made = await jetStream.createStream(config);
  if (made.kind === 'ok') return CREATED;
  const remedy = isError(made, SUBJECTS_OVERLAP)
    ? await overlapRemedy(need, isOrdered, settings, jetStream)
    : await grant(made);
  return failed(`it can't be created: ${reasonOf(made)}`, remedy);
}

async function applyConsumer(need: ConsumerNeed, settings: BridgeSettings, jetStream: JetStream): Promise<Outcome> {
  const { stream, config, route } = need;
  const found = await jetStream.consumer(stream, config.durable_name);
  if (found.kind === 'ok') {
    const source = await jetStream.stream(stream);
    const taken = source.kind === 'ok' ? source.value.config : undefined;
    return there(consumerDifferences(need, found.value, taken));
  }
  if (isError(found, STREAM_NOT_FOUND))
    return failed(
      "its stream doesn't exist",
      (await meantStream(stream, settings, jetStream)) ??
        `Create both: repeat this with ${createStreamOption(settings, stream)}.`,
    );
  if (!isError(found, CONSUMER_NOT_FOUND)) return failed(`it can't be looked at: ${reasonOf(found)}`);
  const source = await jetStream.stream(stream);
  const mistakeBy = (fits: typeof covers) =>
    source.kind === 'ok' ? subjectMistake(need, source.value.config, fits) : undefined;
  const mistaken = ({ problem, remedy }: Problem) => failed(`it can't be created: ${problem}`, remedy);
  // Some servers create a consumer that never delivers anything.
  const mistake = mistakeBy(overlap);
  if (mistake !== undefined) return mistaken(mistake);
  const made = await jetStream.createConsumer(stream, config);
  if (made.kind === 'ok') return CREATED;
  if (!isError(made, FILTER_NOT_SUBSET)) return failed(`it can't be created: ${reasonOf(made)}`);
  return mistaken(mistakeBy(covers) ?? { problem: reasonOf(made), remedy: correctSubject(route) });
}

function isError(refusal: Refusal, code: number): boolean {
  return refusal.kind === 'error' && refusal.errorCode === code;
}

/** What `--create-stream` needs beyond the permissions that `setup` prints without it. */
async function grantRemedy(stream: string, jetStream: JetStream): Promise<string> {
  const api = `${await jetStream.apiPrefix()}.STREAM`;
  return `Creating it takes permission to publish to "${api}.INFO.${stream}" and "${api}.CREATE.${stream}": setup prints both when it is given this --create-stream.`;
}

/** Which stream has the subjects of one that can't be created, as far as the user may ask, and what to do about it. */
async function overlapRemedy(
  { name, config: { subjects } }: StreamNeed,
  isOrdered: boolean,
  { hooks }: BridgeSettings,
  jetStream: JetStream,
): Promise<string> {
  const answers = await Promise.all(subjects.map((subject) => jetStream.streamNames(subject)));
  const streams = [...new Set(answers.flatMap((answer) => (answer.kind === 'ok' ? answer.value : [])))];
  const taken =
    streams.length === 0
      ? 'Another stream of this account captures some of them'
      : `${streams.join(', ')} ${streams.length === 1 ? 'captures' : 'capture'} some of them`;
  const other = "if that is another bridge's, give this one another instance";
  const fix = isOrdered
    ? 'leave them out of --create-stream, or use that stream'
    : name === hooks?.stream
      ? `name that stream in hooks.stream or, ${other} or hooks.subjectPrefix`
      : `take them from that stream or, ${other}`;
  return `${taken}: ${fix}.`;
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
      return `the user may not ${refusal.verb} to ${refusal.subject}`;
    case 'off':
      return 'JetStream is not there: enable it for the server and the account';
    case 'silent':
      return refusal.reason;
  }
}
