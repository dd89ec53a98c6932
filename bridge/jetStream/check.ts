import { TaskError } from '../../shared/errors.ts';
import { overlap } from '../../shared/subject.ts';
import { error, listed, warning, type Finding } from '../finding.ts';
import type { Nats } from '../nats.ts';
import type { BridgeSettings } from '../settings.ts';
import {
  CONSUMER_NOT_FOUND,
  STREAM_NOT_FOUND,
  type Answer,
  type Denied,
  type JetStream,
  type Refusal,
  type StreamInfo,
} from './api.ts';
import { aboutConsumer, aboutOf, consumerDifferences, LARGEST_MESSAGE, streamDifferences } from './differences.ts';
import {
  APPLY_REASON,
  consumerNeeds,
  createStreamOption,
  grantNeeds,
  streamNeeds,
  subjectMistake,
  waitProbes,
  type ConsumerNeed,
  type StreamNeed,
} from './needs.ts';
import { meantStream, streamOfRoutes } from './meantStream.ts';
import { checkHasCallout, checkServerVersion, checkTellsPermissions } from './serverVersion.ts';

const APPLY = 'Create it: nats-event-bridge setup --apply.';

/** Whether NATS has what a configuration needs and lets the bridge use it. Stores and changes nothing. */
export class NatsCheck {
  readonly #findings: Finding[] = [];
  readonly #noted = new Set<string>();
  /** Subjects that the user may not publish to, although the bridge needs them. */
  readonly #denied = new Set<string>();
  /** The same of streams that routes read, where the stream itself may be the mistake. */
  readonly #deniedSources = new Map<string, Set<string>>();
  /** Streams of routes that may be mistakes: which permissions they take doesn't matter yet. */
  readonly #doubted = new Set<string>();
  #isUnanswered = false;
  /** Servers before 2.10 leave a request unanswered if it's for messages of a consumer that isn't there. */
  #answersAll = true;

  constructor(
    private readonly settings: BridgeSettings,
    private readonly nats: Nats,
    private readonly jetStream: JetStream,
  ) {}

  /** Whether JetStream left every question unanswered, so that there was nothing to look at. */
  get isUnanswered(): boolean {
    return this.#isUnanswered;
  }

  /** @param isThorough also looks for optional and unneeded permissions: where one is missing, the server logs it */
  async findings(isThorough: boolean): Promise<Finding[]> {
    this.#checkSize();
    const needs = streamNeeds(this.settings);
    const answers = await Promise.all(
      needs.map(async (need) => [need, await this.jetStream.stream(need.config.name)] as const),
    );
    const deaf = answers.map(([, answer]) => answer).find(isDeaf);
    if (deaf !== undefined) {
      // Without answers, everything would seem to be refused.
      const otherwise = 'Or set nats.inboxPrefix to the prefix that it may subscribe to.';
      this.#note(
        error(`permission to subscribe to ${deaf.subject}`, 'it is missing', `${grantRemedy(1)} ${otherwise}`),
      );
      return this.#findings;
    }
    const asked: StreamNeed[] = [];
    for (const [need, answer] of answers) {
      // One that may not be looked at, or isn't there yet, may lack other permissions as well.
      if (answer.kind === 'ok' || answer.kind === 'denied' || answer.kind === 'error') asked.push(need);
      if (answer.kind === 'ok') this.#findings.push(...streamDifferences(need, answer.value.config, this.settings));
      else this.#noteRefusal(aboutOf(need), answer, STREAM_NOT_FOUND);
    }
    this.#isUnanswered = answers.every(([, { kind }]) => kind === 'silent');
    if (this.#isUnanswered) return this.#findings;
    this.#findings.push(...(await this.#checkServerVersion(answers)));
    const untold = await checkTellsPermissions(this.nats);
    this.#answersAll = untold === undefined;
    await this.#checkConsumers();
    await this.#checkPermissions(asked);
    await this.#noteMissing();
    const withoutCallout = this.settings.callout && (await checkHasCallout(this.nats));
    if (withoutCallout !== undefined) this.#note(withoutCallout);
    if (untold !== undefined) this.#note(untold);
    else if (isThorough && this.#doubted.size === 0) await this.#checkUnneeded();
    if (isThorough) await this.#checkOptional();
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
        this.#denied.add(refusal.subject);
        return;
      case 'off':
        this.#noteOnce(error('JetStream', "it isn't there", 'Enable it for the server and the account of this user.'));
        return;
      case 'silent':
        this.#noteOnce(error('JetStream', refusal.reason, 'See whether the servers are well.'));
    }
  }

  #noteOnce(finding: Finding): void {
    const key = `${finding.about} ${finding.problem}`;
    if (!this.#noted.has(key)) this.#note(finding);
    this.#noted.add(key);
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
      const about = aboutConsumer(need);
      const answer = await this.jetStream.consumer(stream, config.durable_name);
      const taken = source?.kind === 'ok' ? source.value.config : undefined;
      const mistake = taken && subjectMistake(need, taken, overlap);
      const denied = this.#deniedSources.get(stream) ?? this.#denied;
      if (answer.kind === 'ok') this.#findings.push(...consumerDifferences(need, answer.value, taken));
      else if (answer.kind === 'error' && answer.errorCode === CONSUMER_NOT_FOUND && mistake !== undefined)
        this.#note(error(about, mistake.problem, mistake.remedy));
      else if (answer.kind === 'denied') denied.add(answer.subject);
      else this.#noteRefusal(about, answer, CONSUMER_NOT_FOUND);
      if (answer.kind === 'off' || answer.kind === 'silent') continue;
      const fetching = `${await this.jetStream.apiPrefix()}.CONSUMER.MSG.NEXT.${stream}.${config.durable_name}`;
      if (!(await this.jetStream.mayAcknowledge(stream, config.durable_name)))
        denied.add(`$JS.ACK.${stream}.${config.durable_name}.>`);
      const isThere = answer.kind !== 'error';
      if (!(isThere ? await this.jetStream.mayAsk(fetching) : await this.#mayAsk(fetching))) denied.add(fetching);
    }
  }

  /** @param refusal when the stream that a route reads was looked at */
  async #noteSource(need: ConsumerNeed, refusal: Refusal): Promise<void> {
    const { stream } = need;
    this.#doubted.add(stream);
    if (refusal.kind === 'error' && refusal.errorCode === STREAM_NOT_FOUND)
      this.#noteOnce(error(`stream ${stream}`, "it doesn't exist", await this.#missingStreamRemedy(stream)));
    else if (refusal.kind === 'denied' && !this.#deniedSources.has(stream))
      this.#deniedSources.set(stream, new Set([refusal.subject]));
    else if (refusal.kind !== 'denied') this.#noteRefusal(`stream ${stream}`, refusal, STREAM_NOT_FOUND);
  }

  async #missingStreamRemedy(name: string): Promise<string> {
    const meant = await meantStream(name, this.settings, this.jetStream);
    if (meant !== undefined) return meant;
    const create = `nats-event-bridge setup --apply ${createStreamOption(this.settings, name)}`;
    return `Correct ${streamOfRoutes(this.settings, name)}, or create it: ${create}.`;
  }

  /** Checks each needed permission that nothing else has tested. */
  async #checkPermissions(needs: readonly StreamNeed[]): Promise<void> {
    const refusals = await Promise.all(
      needs
        .flatMap(({ config }) => config.subjects)
        .map(
          async (subject) =>
            [subject, await this.jetStream.mayPublish(subject.replace(/>$/, this.#probeToken()))] as const,
        ),
    );
    for (const [subject, refusal] of refusals) if (refusal?.kind === 'denied') this.#denied.add(subject);
    const api = await this.jetStream.apiPrefix();
    const buckets = needs.filter(({ kind }) => kind === 'bucket');
    const lookUps = buckets.map(({ config }) => `${api}.STREAM.MSG.GET.${config.name}`);
    const ofWaits = waitProbes(this.settings).map(
      ({ grant, probe }) => [`${api}.${grant}`, `${api}.${probe}`] as const,
    );
    for (const subject of await this.#deniedOf([...lookUps.map((one) => [one, one] as const), ...ofWaits]))
      this.#denied.add(subject);
  }

  /** @returns the grants that the user doesn't have, going by a subject that each one covers */
  async #deniedOf(grants: readonly (readonly [grant: string, probe: string])[]): Promise<string[]> {
    const may = await Promise.all(grants.map(([, probe]) => this.#mayAsk(probe)));
    return grants.filter((_, index) => may[index] === false).map(([grant]) => grant);
  }

  /** Whether the user may ask JetStream for something of a stream or consumer that needn't be there. */
  async #mayAsk(subject: string): Promise<boolean> {
    if (this.#answersAll || !subject.includes('.CONSUMER.MSG.NEXT.')) return this.jetStream.mayAsk(subject);
    return (await this.nats.refused([subject])).length === 0;
  }

  /** One finding for all, so that one edit of the server's configuration is enough; and one for each stream that may be a mistake. */
  async #noteMissing(): Promise<void> {
    for (const [stream, denied] of this.#deniedSources) {
      const meant = await meantStream(stream, this.settings, this.jetStream);
      const remedy =
        meant === undefined
          ? `${grantRemedy(denied.size)} Or correct ${streamOfRoutes(this.settings, stream)}.`
          : `${meant} Otherwise, ${grantRemedy(denied.size, 'grant')}`;
      this.#note(error(`stream ${stream}`, `the user may not publish to ${listed([...denied])}`, remedy));
    }
    const [first, ...others] = this.#denied;
    if (first === undefined) return;
    const all = listed([...this.#denied]);
    this.#note(
      others.length === 0
        ? error(`permission to publish to ${first}`, 'it is missing', grantRemedy(1))
        : error('permissions to publish', `${this.#denied.size} missing: ${all}`, grantRemedy(this.#denied.size)),
    );
  }

  /** Permissions that only some commands and the status page use; those of `setup --apply` are better taken away. */
  async #checkOptional(): Promise<void> {
    const api = await this.jetStream.apiPrefix();
    const reasons = new Map(
      (grantNeeds(this.settings).optional ?? [])
        .filter(({ subject }) => subject.startsWith(`${api}.`) || subject.startsWith('$SYS.'))
        .map(({ subject, reason }) => [subject, reason]),
    );
    const grants = [...reasons]
      .filter(([, reason]) => !reason.startsWith(APPLY_REASON))
      .filter(([subject]) => !subject.split('.').some((token) => this.#doubted.has(token)))
      .map(([subject]) => [subject, subject.replace(/[*>]/g, 'none')] as const);
    const denied = await this.#deniedOf(grants);
    if (denied.length === 0) return;
    const all = [...new Set(denied.map((subject) => reasons.get(subject) ?? ''))]
      .map((reason) => `${listed(denied.filter((subject) => reasons.get(subject) === reason))} (${reason})`)
      .join('; ');
    const remedy = `${grantRemedy(denied.length)} Or do without.`;
    this.#note(warning('optional permissions to publish', `${denied.length} missing: ${all}`, remedy));
  }

  /** A subject below a pattern: permissions may be limited to this organization. */
  #probeToken(): string {
    const organization = this.settings.azureDevOps.organizationName.replace(/[^A-Za-z0-9_-]/g, '-');
    return `${organization || 'none'}.check`;
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

/** Whether the user may not subscribe where answers arrive. */
function isDeaf(answer: Answer<unknown>): answer is Denied {
  return answer.kind === 'denied' && answer.verb === 'subscribe';
}

function grantRemedy(count: number, verb = 'Grant'): string {
  return `${verb} ${count === 1 ? 'it' : 'them'} to the user of the bridge; nats-event-bridge setup prints all that it needs.`;
}
