import { TaskError } from '../../shared/errors.ts';
import { covers, overlap } from '../../shared/subject.ts';
import { describeMs } from '../../shared/text/duration.ts';
import { error, warning, type Finding } from '../finding.ts';
import type { Nats } from '../nats.ts';
import { BRIDGE_DEAD, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import {
  CONSUMER_NOT_FOUND,
  STREAM_NOT_FOUND,
  type ConsumerInfo,
  type Answer,
  type JetStream,
  type Refusal,
  type StreamConfig,
  type StreamInfo,
} from './api.ts';
import {
  consumerNeeds,
  createStreamOption,
  grantNeeds,
  streamNeeds,
  subjectMistake,
  subjectsOf,
  type ConsumerNeed,
  type StreamNeed,
} from './needs.ts';
import { checkHasCallout, checkServerVersion, checkTellsPermissions } from './serverVersion.ts';

/** A hook of 2 MiB plus its headers and those of a dead letter. */
const LARGEST_MESSAGE = 2.5 * 1_024 * 1_024;
const MEBIBYTE = 1_024 * 1_024;
const NS_PER_MS = 1_000_000;
const APPLY = 'Create it: nats-event-bridge setup --apply.';
const GRANT = 'Grant it to the user of the bridge; nats-event-bridge setup prints all that it needs.';

/** Whether NATS has what a configuration needs and lets the bridge use it. Stores and changes nothing. */
export class NatsCheck {
  readonly #findings: Finding[] = [];
  readonly #missing = new Set<string>();
  #isUnanswered = false;

  constructor(
    private readonly settings: BridgeSettings,
    private readonly nats: Nats,
    private readonly jetStream: JetStream,
  ) {}

  /** Whether JetStream left every question unanswered, so that there was nothing to look at. */
  get isUnanswered(): boolean {
    return this.#isUnanswered;
  }

  /** @param withUnneeded also looks for permissions that aren't needed; where that isn't allowed, the server logs it */
  async findings(withUnneeded: boolean): Promise<Finding[]> {
    this.#checkSize();
    const needs = streamNeeds(this.settings);
    const answers = await Promise.all(
      needs.map(async (need) => [need, await this.jetStream.stream(need.config.name)] as const),
    );
    const existing: StreamNeed[] = [];
    for (const [need, answer] of answers) {
      // One that may not be looked at may be there, and lack other permissions as well.
      if (answer.kind === 'ok' || answer.kind === 'denied') existing.push(need);
      if (answer.kind === 'ok') this.#compare(need, answer.value.config);
      else this.#noteRefusal(aboutOf(need), answer, STREAM_NOT_FOUND);
    }
    this.#isUnanswered = answers.every(([, { kind }]) => kind === 'silent');
    if (this.#isUnanswered) return this.#findings;
    this.#findings.push(...(await this.#checkServerVersion(answers)));
    await this.#checkConsumers();
    await this.#checkPermissions(existing);
    const withoutCallout = this.settings.callout && (await checkHasCallout(this.nats));
    if (withoutCallout !== undefined) this.#note(withoutCallout);
    const untold = await checkTellsPermissions(this.nats);
    if (untold !== undefined) this.#note(untold);
    else if (withUnneeded) await this.#checkUnneeded();
    return this.#findings;
  }

  /** By the actual state of the buckets, and by the wanted one. */
  #checkServerVersion(answers: readonly (readonly [StreamNeed, Answer<StreamInfo>])[]): Promise<Finding[]> {
    const needs = answers.map(([need, answer]) => {
      const is = answer.kind === 'ok' ? (answer.value.config.num_replicas ?? 1) : 1;
      return { ...need, config: { ...need.config, num_replicas: Math.max(is, need.config.num_replicas ?? 1) } };
    });
    return checkServerVersion(this.settings, this.nats, needs);
  }

  #note(finding: Finding): void {
    this.#findings.push(finding);
  }

  #checkSize(): void {
    if (this.settings.hooks === undefined) return;
    try {
      this.nats.checkSize({ subject: '', headers: [], payload: new Uint8Array(LARGEST_MESSAGE) });
    } catch (thrown) {
      if (!(thrown instanceof TaskError)) throw thrown;
      const remedy = 'Set max_payload: 3MB in the configuration of the server.';
      this.#note(
        error(
          'max_payload',
          'the server takes no messages of 2.5 MiB, so large hooks become dead letters without their body',
          remedy,
        ),
      );
    }
  }

  /** @param missing the error where it isn't there */
  #noteRefusal(about: string, refusal: Refusal, missing: number): void {
    switch (refusal.kind) {
      case 'error':
        if (refusal.errorCode === missing) this.#note(error(about, "it doesn't exist", APPLY));
        else this.#note(error(about, `JetStream answers "${refusal.description}" (error ${refusal.errorCode})`));
        return;
      case 'denied':
        this.#noteDenied(refusal.subject);
        return;
      case 'off':
        this.#noteOnce(error('JetStream', "it isn't there", 'Enable it for the server and the account of this user.'));
        return;
      case 'silent':
        this.#noteOnce(error('JetStream', refusal.reason, 'See whether the servers are well.'));
    }
  }

  #noteDenied(subject: string, remedy = GRANT): void {
    this.#noteOnce(error(`permission to publish to ${subject}`, 'it is missing', remedy));
  }

  #noteOnce(finding: Finding): void {
    const key = `${finding.about} ${finding.problem}`;
    if (!this.#missing.has(key)) this.#note(finding);
    this.#missing.add(key);
  }

  #compare(need: StreamNeed, is: StreamConfig): void {
    const { config } = need;
    const about = aboutOf(need);
    if (is.sealed === true) {
      this.#note(error(about, 'it is sealed: nothing can be stored', 'Give the bridge another one.'));
      return;
    }
    const edit = (options: string) => `Change it: nats stream edit ${config.name} ${options}.`;
    for (const subject of config.subjects) {
      if (is.subjects?.some((taken) => covers(taken, subject)) === true) continue;
      const takes = is.subjects?.map((taken) => `"${taken}"`).join(', ') ?? 'no subject';
      this.#note(error(about, `it takes ${takes}, not "${subject}"`, edit(`--subjects '${subject}'`)));
    }
    const window = config.duplicate_window ?? 0;
    if ((is.duplicate_window ?? 0) < window) {
      const problem = `its duplicate window is ${timeOf(is.duplicate_window)}, so an event that comes again after it is stored twice`;
      this.#note(error(about, problem, edit(`--dupe-window ${timeOf(window)}`)));
    }
    if (is.retention !== 'limits') {
      const problem = `its retention is ${is.retention ?? 'unknown'}, so messages go once they are read`;
      this.#note(error(about, problem, 'Create it anew with retention limits.'));
    }
    if (is.storage === 'memory') {
      const problem = 'it keeps its messages in memory: a restart of the server loses them';
      this.#note(error(about, problem, 'Create it anew with file storage.'));
    }
    if ((is.num_replicas ?? 1) < (config.num_replicas ?? 1)) {
      const problem = `it has ${is.num_replicas ?? 1} replicas, not ${config.num_replicas ?? 1}`;
      this.#note(warning(about, problem, edit(`--replicas ${config.num_replicas ?? 1}`)));
    }
    const largest = is.max_msg_size ?? -1;
    if (need.kind === 'stream' && this.settings.hooks !== undefined && largest > 0 && largest < LARGEST_MESSAGE)
      this.#note(error(about, 'it takes no messages of 2.5 MiB', edit('--max-msg-size -1')));
    if (need.kind === 'stream') this.#compareLimits(need, is, edit);
    else this.#compareBucket(need, is, edit);
  }

  /** A bucket holds what the bridge relies on until it is too old: it must neither lose it before nor fill up with it. */
  #compareBucket(need: StreamNeed, is: StreamConfig, edit: (options: string) => string): void {
    const about = aboutOf(need);
    const [wanted, age] = [need.config.max_age ?? 0, is.max_age ?? 0];
    const untilAge = edit(`--max-age ${wanted === 0 ? '0s' : timeOf(wanted)}`);
    if (age > 0 && (wanted === 0 || age < wanted)) {
      const needed = wanted === 0 ? 'for good' : `for ${timeOf(wanted)}`;
      this.#note(
        error(about, `it forgets what is older than ${timeOf(age)}, which the bridge needs ${needed}`, untilAge),
      );
    }
    if (age === 0 && wanted > 0)
      this.#note(warning(about, 'it never forgets, so it fills up and then takes nothing more', untilAge));
    const [bytes, size] = [need.config.max_bytes ?? -1, is.max_bytes ?? -1];
    if (size > 0 && size < bytes) {
      const problem = `it is full at ${mebibytes(size)}, not at ${mebibytes(bytes)}, and then takes nothing more`;
      this.#note(warning(about, problem, edit(`--max-bytes ${bytes}`)));
    }
    const most = is.max_msgs ?? -1;
    if (most > 0)
      this.#note(warning(about, `it is full with ${most} keys, and then takes nothing more`, edit('--max-msgs -1')));
    if (is.discard === 'old')
      this.#note(
        error(about, 'it drops the oldest once it is full, which the bridge still needs', edit('--discard new')),
      );
  }

  #compareLimits(need: StreamNeed, is: StreamConfig, edit: (options: string) => string): void {
    const wanted = need.config.max_age ?? 0;
    const about = aboutOf(need);
    const hasLimit = [is.max_age, is.max_bytes, is.max_msgs].some((limit) => (limit ?? 0) > 0);
    if (!hasLimit) {
      this.#note(
        warning(about, 'it has no limit, so it grows until the disk is full', edit(`--max-age ${timeOf(wanted)}`)),
      );
    } else if ((is.max_age ?? 0) > 0 && is.max_age !== wanted) {
      const problem = `it keeps messages for ${timeOf(is.max_age)}, not ${timeOf(wanted)} as the configuration says`;
      this.#note(warning(about, problem, edit(`--max-age ${timeOf(wanted)}`)));
    }
    if (is.discard === 'new')
      this.#note(
        warning(about, 'it takes nothing more once it is full, instead of dropping the oldest', edit('--discard old')),
      );
  }

  async #checkConsumers(): Promise<void> {
    const needs = consumerNeeds(this.settings);
    const own = new Set(streamNeeds(this.settings).map(({ config }) => config.name));
    const sources = new Map(
      [...new Set(needs.map(({ stream }) => stream))].map((name) => [name, this.jetStream.stream(name)]),
    );
    for (const need of needs) {
      const { stream, config } = need;
      const source = await sources.get(stream);
      if (source !== undefined && source.kind !== 'ok') {
        // The bridge's own has been reported.
        if (!own.has(stream)) await this.#noteSource(need, source);
        if (source.kind !== 'denied') continue;
      }
      const about = `consumer ${config.durable_name} of ${stream}`;
      const answer = await this.jetStream.consumer(stream, config.durable_name);
      // With none of its permissions, the stream itself may be the mistake.
      const remedy = source?.kind === 'denied' && !own.has(stream) ? grantOrCorrect(need) : GRANT;
      const taken = source?.kind === 'ok' ? source.value.config : undefined;
      const mistake = taken && subjectMistake(need, taken, overlap);
      if (answer.kind === 'ok') this.#compareConsumer(about, need, answer.value, taken);
      else if (answer.kind === 'error' && answer.errorCode === CONSUMER_NOT_FOUND && mistake !== undefined)
        this.#note(error(about, mistake.problem, mistake.remedy));
      else if (answer.kind === 'denied') this.#noteDenied(answer.subject, remedy);
      else this.#noteRefusal(about, answer, CONSUMER_NOT_FOUND);
      if (answer.kind !== 'ok' && answer.kind !== 'denied') continue;
      const fetching = `${await this.jetStream.apiPrefix()}.CONSUMER.MSG.NEXT.${stream}.${config.durable_name}`;
      if (!(await this.jetStream.mayAcknowledge(stream, config.durable_name)))
        this.#noteDenied(`$JS.ACK.${stream}.${config.durable_name}.>`, remedy);
      if (!(await this.jetStream.mayFetch(stream, config.durable_name))) this.#noteDenied(fetching, remedy);
    }
  }

  /** @param refusal when the stream that a route reads was looked at */
  async #noteSource(need: ConsumerNeed, refusal: Refusal): Promise<void> {
    const { stream, route } = need;
    if (refusal.kind === 'error' && refusal.errorCode === STREAM_NOT_FOUND)
      this.#noteOnce(
        error(`stream ${stream}`, "it doesn't exist", await this.#missingStreamRemedy(stream, route.name)),
      );
    else if (refusal.kind === 'denied') this.#noteDenied(refusal.subject, grantOrCorrect(need));
    else this.#noteRefusal(`stream ${stream}`, refusal, STREAM_NOT_FOUND);
  }

  /** @param taken the configuration of its stream; undefined when it can't be read */
  #compareConsumer(about: string, need: ConsumerNeed, { config: is }: ConsumerInfo, taken?: StreamConfig): void {
    const { config, route, stream } = need;
    const anew = `Remove it (nats consumer rm ${stream} ${config.durable_name}) and create it anew: nats-event-bridge setup --apply.`;
    if (is.deliver_subject !== undefined) this.#note(error(about, 'it is a push consumer', anew));
    if (is.ack_policy !== 'explicit')
      this.#note(error(about, `its ack policy is ${is.ack_policy ?? 'unknown'}, so events get lost`, anew));
    const filters = [is.filter_subjects ?? is.filter_subject ?? []].flat();
    // None at all delivers every subject; the bridge leaves out what isn't the route's.
    const uncovered =
      filters.length === 0 ? [] : route.subjects.filter((one) => !filters.some((own) => covers(own, one)));
    const mistake = taken && subjectMistake(need, taken, overlap);
    if (mistake !== undefined) this.#note(error(about, mistake.problem, mistake.remedy));
    else if (uncovered.length > 0)
      this.#note(error(about, `it delivers ${filters.join(', ')}, not ${uncovered.join(', ')}`, anew));
    if ((is.max_deliver ?? -1) > 0)
      this.#note(error(about, `it drops an event after ${is.max_deliver ?? 0} deliveries without a word`, anew));
    if (is.ack_wait !== undefined && is.ack_wait < config.ack_wait)
      this.#note(warning(about, `its ack wait is ${timeOf(is.ack_wait)}, not ${timeOf(config.ack_wait)}`, anew));
  }

  /** A stream that has the subjects already is the one that was meant; another one couldn't take them. */
  async #missingStreamRemedy(name: string, route: string): Promise<string> {
    const taken = new Map<string, string[]>();
    for (const subject of subjectsOf(this.settings, name)) {
      const answer = await this.jetStream.streamNames(subject);
      for (const stream of answer.kind === 'ok' ? answer.value : [])
        taken.set(stream, [...(taken.get(stream) ?? []), `"${subject}"`]);
    }
    const [[stream, subjects = []] = [], ...others] = taken;
    if (stream !== undefined && others.length === 0)
      return `The stream ${stream} captures ${subjects.join(', ')}. Did you mean it? Correct the stream of route ${route}.`;
    if (stream !== undefined)
      return `The streams ${[...taken.keys()].join(', ')} capture its subjects. Correct the stream of route ${route}.`;
    const create = `nats-event-bridge setup --apply ${createStreamOption(this.settings, name)}`;
    return `Correct the stream of route ${route}, or create it: ${create}.`;
  }

  /** Checks each permission that nothing else has tested. */
  async #checkPermissions(existing: readonly StreamNeed[]): Promise<void> {
    for (const { config } of existing)
      for (const subject of config.subjects) {
        const refusal = await this.jetStream.mayPublish(subject.replace(/>$/, this.#probeToken()));
        if (refusal?.kind === 'denied') this.#noteDenied(subject);
      }
    const deadLetters = namesOf(this.settings.instance).of(BRIDGE_DEAD);
    for (const { kind, config } of existing) {
      if (kind === 'stream' && config.name !== deadLetters) continue;
      const subject = `${await this.jetStream.apiPrefix()}.STREAM.MSG.GET.${config.name}`;
      if (await this.#mayLookUp(config.name)) continue;
      if (kind === 'bucket') this.#noteDenied(subject);
      else
        this.#note(
          warning(`permission to publish to ${subject}`, 'it is missing; the command deadLetters needs it', GRANT),
        );
    }
  }

  /** A subject below a pattern: permissions may be limited to this organization. */
  #probeToken(): string {
    const organization = this.settings.azureDevOps.organizationName.replace(/[^A-Za-z0-9_-]/g, '-');
    return `${organization || 'none'}.check`;
  }

  async #mayLookUp(stream: string): Promise<boolean> {
    try {
      await this.nats.lookup.message(stream, 1);
      return true;
    } catch (thrown) {
      if (!(thrown instanceof TaskError)) throw thrown;
      return thrown.code !== 'Denied';
    }
  }

  async #checkUnneeded(): Promise<void> {
    const user = await this.jetStream.userInfo();
    if (user === undefined) return;
    const { publish, subscribe, optional = [] } = grantNeeds(this.settings);
    const lists = [
      ['publish', user.permissions?.publish?.allow, [...publish, ...optional.map(({ subject }) => subject)]],
      ['subscribe', user.permissions?.subscribe?.allow, subscribe],
    ] as const;
    for (const [verb, allowed, needed] of lists) {
      const about = `permission to ${verb}`;
      if (allowed === undefined || allowed.some((pattern) => pattern === '>')) {
        const remedy = 'Limit it to what nats-event-bridge setup prints.';
        this.#note(warning(about, `the user may ${verb} to every subject of its account`, remedy));
        continue;
      }
      for (const pattern of allowed)
        if (!needed.some((need) => overlap(need, pattern)))
          this.#note(warning(`${about} to ${pattern}`, 'the bridge does not need it', 'Take it away from the user.'));
    }
  }
}

function grantOrCorrect({ route }: ConsumerNeed): string {
  return `${GRANT} Or correct the stream of route ${route.name}.`;
}

function aboutOf({ kind, name }: StreamNeed): string {
  return `${kind} ${name}`;
}

function mebibytes(bytes: number): string {
  return `${Math.round((bytes / MEBIBYTE) * 10) / 10} MiB`;
}

function timeOf(ns: number | undefined): string {
  return describeMs((ns ?? 0) / NS_PER_MS);
}
