import { covers, overlap } from '../../shared/subject.ts';
import { describeMs } from '../../shared/text/duration.ts';
import { error, warning, type Finding } from '../finding.ts';
import { BRIDGE_AUDIT, BRIDGE_DEAD, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import type { ConsumerInfo, StreamConfig } from './api.ts';
import { subjectMistake, type ConsumerNeed, type StreamNeed } from './needs.ts';

/** A hook of 2 MiB plus its headers and those of a dead letter. */
export const LARGEST_MESSAGE = 2.5 * 1_024 * 1_024;
const MEBIBYTE = 1_024 * 1_024;
const NS_PER_MS = 1_000_000;

/** How a stream or bucket that is there differs from what a configuration needs. */
export function streamDifferences(need: StreamNeed, is: StreamConfig, settings: BridgeSettings): Finding[] {
  const { config } = need;
  const about = aboutOf(need);
  if (is.sealed === true) return [error(about, 'it is sealed: nothing can be stored', 'Give the bridge another one.')];
  const found: Finding[] = [];
  for (const subject of config.subjects) {
    if (is.subjects?.some((taken) => covers(taken, subject)) === true) continue;
    const takes = is.subjects?.map((taken) => `"${taken}"`).join(', ') ?? 'no subject';
    found.push(error(about, `it takes ${takes}, not "${subject}"`, edit(need, subjectOptions(subject, is))));
  }
  const window = config.duplicate_window ?? 0;
  if ((is.duplicate_window ?? 0) < window) {
    const problem = `its duplicate window is ${timeOf(is.duplicate_window)}, so an event that comes again after it is stored twice`;
    found.push(error(about, problem, edit(need, `--dupe-window ${timeOf(window)}`)));
  }
  if (is.retention !== 'limits') {
    const problem = `its retention is ${is.retention ?? 'unknown'}, so messages go once they are read`;
    found.push(error(about, problem, 'Create it anew with retention limits.'));
  }
  if (is.storage === 'memory') {
    const problem = 'it keeps its messages in memory: a restart of the server loses them';
    found.push(error(about, problem, 'Create it anew with file storage.'));
  }
  const replicas = is.num_replicas ?? 1;
  if (replicas < (config.num_replicas ?? 1)) {
    const remedy = `${edit(need, `--replicas ${config.num_replicas ?? 1}`)} Or set streams.replicas: ${replicas}.`;
    found.push(warning(about, `it has ${replicas} replicas, not ${config.num_replicas ?? 1}`, remedy));
  }
  const largest = is.max_msg_size ?? -1;
  if (need.kind === 'stream' && settings.hooks !== undefined && largest > 0 && largest < LARGEST_MESSAGE)
    found.push(error(about, 'it takes no messages of 2.5 MiB', edit(need, '--max-msg-size=-1')));
  return [...found, ...(need.kind === 'stream' ? limitDifferences(need, is, settings) : bucketDifferences(need, is))];
}

/** A bucket holds what the bridge relies on until it is too old: it must neither lose it before nor fill up with it. */
function bucketDifferences(need: StreamNeed, is: StreamConfig): Finding[] {
  const about = aboutOf(need);
  const found: Finding[] = [];
  const [wanted, age] = [need.config.max_age ?? 0, is.max_age ?? 0];
  const untilAge = edit(need, `--max-age ${wanted === 0 ? '0s' : timeOf(wanted)}`);
  if (age > 0 && (wanted === 0 || age < wanted)) {
    const needed = wanted === 0 ? 'for good' : `for ${timeOf(wanted)}`;
    found.push(
      error(about, `it forgets what is older than ${timeOf(age)}, which the bridge needs ${needed}`, untilAge),
    );
  }
  if (age === 0 && wanted > 0)
    found.push(warning(about, 'it never forgets, so it fills up and then takes nothing more', untilAge));
  const [bytes, size] = [need.config.max_bytes ?? -1, is.max_bytes ?? -1];
  if (size > 0 && size < bytes) {
    const problem = `it is full at ${mebibytes(size)}, not at ${mebibytes(bytes)}, and then takes nothing more`;
    found.push(warning(about, problem, edit(need, `--max-bytes ${bytes}`)));
  }
  const most = is.max_msgs ?? -1;
  if (most > 0)
    found.push(
      warning(about, `it is full with ${most} keys, and then takes nothing more`, edit(need, '--max-msgs=-1')),
    );
  if (is.discard === 'old')
    found.push(
      error(about, 'it drops the oldest once it is full, which the bridge still needs', edit(need, '--discard new')),
    );
  return found;
}

function limitDifferences(need: StreamNeed, is: StreamConfig, settings: BridgeSettings): Finding[] {
  const about = aboutOf(need);
  const found: Finding[] = [];
  const [wanted, age] = [need.config.max_age ?? 0, is.max_age ?? 0];
  const untilAge = edit(need, `--max-age ${timeOf(wanted)}`);
  const hasLimit = [age, is.max_bytes, is.max_msgs].some((limit) => (limit ?? 0) > 0);
  if (!hasLimit) {
    found.push(warning(about, 'it has no limit, so it grows until the disk is full', untilAge));
  } else if (age > 0 && age !== wanted) {
    const problem = `it keeps messages for ${timeOf(age)}, not ${timeOf(wanted)} as the configuration says`;
    found.push(warning(about, problem, `${untilAge} Or set ${ageKeyOf(need, settings)}: ${timeOf(age)}.`));
  }
  if (is.discard === 'new') {
    const problem = 'it takes nothing more once it is full, instead of dropping the oldest';
    found.push(warning(about, problem, edit(need, '--discard old')));
  }
  return found;
}

/** For one more subject: these options replace all that the stream takes, of which none may be within another. */
function subjectOptions(subject: string, { subjects = [] }: StreamConfig): string {
  const all = [...subjects.filter((taken) => !covers(subject, taken)), subject];
  return all.map((one) => `--subjects '${one}'`).join(' ');
}

/** The key of the configuration that says how long one of the bridge's own streams keeps messages. */
function ageKeyOf({ name }: StreamNeed, { instance }: BridgeSettings): string {
  const own = [BRIDGE_AUDIT, BRIDGE_DEAD].find((stream) => namesOf(instance).of(stream) === name);
  return `streams.${own ?? 'AZDO'}.maxAge`;
}

/**
 * How a durable consumer that is there differs from what a route needs.
 *
 * @param taken the configuration of its stream; undefined when it can't be read
 */
export function consumerDifferences(need: ConsumerNeed, { config: is }: ConsumerInfo, taken?: StreamConfig): Finding[] {
  const { config, route, stream } = need;
  const about = aboutConsumer(need);
  const anew = `Remove it with the NATS CLI (nats consumer rm ${stream} ${config.durable_name}), or rename the route, which then starts a second run for an event that it reads again; then run nats-event-bridge setup --apply. The new one begins at the route's startFrom.`;
  const found: Finding[] = [];
  if (is.deliver_subject !== undefined) found.push(error(about, 'it is a push consumer', anew));
  if (is.ack_policy !== 'explicit')
    found.push(error(about, `its ack policy is ${is.ack_policy ?? 'unknown'}, so events get lost`, anew));
  const filters = [is.filter_subjects ?? is.filter_subject ?? []].flat();
  // None at all delivers every subject; the bridge leaves out what isn't the route's.
  const uncovered =
    filters.length === 0 ? [] : route.subjects.filter((one) => !filters.some((own) => covers(own, one)));
  const mistake = taken && subjectMistake(need, taken, overlap);
  if (mistake !== undefined) found.push(error(about, mistake.problem, mistake.remedy));
  else if (uncovered.length > 0)
    found.push(error(about, `it delivers ${filters.join(', ')}, not ${uncovered.join(', ')}`, anew));
  if ((is.max_deliver ?? -1) > 0)
    found.push(error(about, `it drops an event after ${is.max_deliver ?? 0} deliveries without a word`, anew));
  if (is.ack_wait !== undefined && is.ack_wait < config.ack_wait)
    found.push(warning(about, `its ack wait is ${timeOf(is.ack_wait)}, not ${timeOf(config.ack_wait)}`, anew));
  return found;
}

/** The name of a stream or bucket, as findings have it. */
export function aboutOf({ kind, name }: StreamNeed): string {
  return `${kind} ${name}`;
}

/** The name of a consumer, as findings have it. */
export function aboutConsumer({ stream, config }: ConsumerNeed): string {
  return `consumer ${config.durable_name} of ${stream}`;
}

/** @param options with `=` before a negative number, which the CLI takes for an option otherwise */
function edit({ config }: StreamNeed, options: string): string {
  return `Change it with the NATS CLI: nats stream edit ${config.name} ${options}.`;
}

function mebibytes(bytes: number): string {
  return `${Math.round((bytes / MEBIBYTE) * 10) / 10} MiB`;
}

function timeOf(ns: number | undefined): string {
  return describeMs((ns ?? 0) / NS_PER_MS);
}
