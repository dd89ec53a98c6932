import { createHash } from 'node:crypto';
import { Problems } from '../../shared/inputs/problems.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { HttpRequest, Route } from '../http/route.ts';
import type { JetStream } from '../jetStream/api.ts';
import type { Done } from './answering.ts';
import { readBody, type Inputs } from './body.ts';
import type { ProvesCaller, WaitsFor } from './caller.ts';
import { INPUT_NAMES, readWaitRequest, type WaitRequest } from './criteria.ts';
import { BUCKET, prove, type ProvenCall } from './entry.ts';
import type { VerifiesIdToken } from './idToken.ts';
import { bucketKey, cancelled, type WaitCall, type WaitState } from './record.ts';
import { Refusal, Unavailable, orBadRequest } from './refusal.ts';
import { readRunStart, runStartText } from './request.ts';
import { needsProjectName, ruleOver, rulesFor, type PlacedRule } from './rules.ts';
import { findStart } from './streams.ts';
import { taskRoute, type TaskRouteOptions } from './taskRoute.ts';
import type { StoredWait, WaitStore } from './waitStore.ts';

/** The number of waits known to this replica. */
export interface WaitCounts {
  /** Open waits of a rule, by its place in the configuration. */
  openOf(rule: number): number;
  /** Open waits on a subject or pattern of a stream, without a correlation id. */
  uncorrelated(stream: string, subject: string): number;
  /** Whether nothing is stored in this place of the bucket; another replica may just be about to change that. */
  isFree(place: string): boolean;
}

export interface AcceptOptions extends TaskRouteOptions {
  /** Names of `contracts`. */
  readonly contracts: readonly string[];
  /** Streams that the bridge itself writes. */
  readonly ownStreams: readonly string[];
  readonly store: WaitStore;
  readonly jetStream: Pick<JetStream, 'stream' | 'streamNames'>;
  readonly caller: ProvesCaller;
  readonly verifyIdToken: VerifiesIdToken;
  /** A project's name; undefined when the bridge can't know it. */
  readonly projectName: (organization: string, project: string, signal: AbortSignal) => Promise<string | undefined>;
  readonly counts: WaitCounts;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Each event on the subject is judged for each of them. */
const MOST_UNCORRELATED = 1_000;
/** Retries when others write to the same record. */
const MOST_TRIES = 5;
/** How long a cancellation waits for the wait it cancels. */
export const TOMBSTONE_MS = 3_600_000;

/** `POST /v1/waits`: answers 200 once the wait is stored. */
export function acceptRoute(options: AcceptOptions): Route {
  return taskRoute('/v1/waits', options, async ({ claim, bearer, waitsFor, isProven, headers, body }, signal) => {
    const given = readGiven(headers, body, claim.key.plan, claim.call.token);
    const proven = await prove(claim, options.caller, signal, waitsFor);
    isProven(proven);
    return new Acceptance(options, proven, given, bearer, signal, waitsFor).done();
  });
}

/** What a call sends besides the headers of every call. */
interface Given {
  readonly inputs: Inputs;
  readonly runStart: number | undefined;
  readonly digest: string;
}

function readGiven(headers: HttpRequest['headers'], body: Uint8Array, plan: string, token: string): Given {
  return orBadRequest(() => {
    const problems = new Problems('this call');
    const runStart = readRunStart(headers, problems);
    const read = readBody(body, plan, INPUT_NAMES);
    if ('problem' in read) problems.note(read.problem, read.remedy);
    const inputs = 'problem' in read ? {} : read.inputs;
    for (const [name, value] of Object.entries(inputs))
      if (value.includes(token)) problems.note(`${name}: holds the job's token`, 'No input needs it.');
    problems.done();
    const digest = createHash('sha256')
      .update(JSON.stringify(runStartText(headers)))
      .update(body)
      .digest('hex');
    return { inputs, runStart, digest };
  });
}

/** One call of Execute, by which Azure DevOps begins the task's wait. Its plan is proven. */
class Acceptance {
  constructor(
    private readonly options: AcceptOptions,
    private readonly proven: ProvenCall,
    private readonly given: Given,
    private readonly bearer: string,
    private readonly signal: AbortSignal,
    private readonly waitsFor: WaitsFor,
  ) {}

  async done(): Promise<Done> {
    const rules = await this.#rules();
    return (await this.#acceptAtOnce(rules)) ?? this.#acceptOrRepeat(rules);
  }

  /** A wait rarely comes twice: create first, look it up only if that fails. */
  async #acceptAtOnce(rules: readonly PlacedRule[]): Promise<Done | undefined> {
    if (!this.options.counts.isFree(bucketKey(this.proven.key))) return undefined;
    try {
      return await this.#accept(rules, undefined);
    } catch (error) {
      if (error instanceof Refusal) return undefined;
      throw error;
    }
  }

  async #acceptOrRepeat(rules: readonly PlacedRule[]): Promise<Done> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      this.waitsFor(BUCKET);
      const stored = await this.options.store.get(this.proven.key);
      this.signal.throwIfAborted();
      const done = await (stored === undefined || stored.record.state.state === 'tombstone'
        ? this.#accept(rules, stored)
        : this.#repeat(stored, stored.record.state));
      if (done !== undefined) return done;
    }
    throw new Error('the record of the wait keeps changing');
  }

  async #rules(): Promise<PlacedRule[]> {
    const { settings, projectName } = this.options;
    const { key, plan } = this.proven;
    this.waitsFor('Azure DevOps (the name of the project)');
    const name = needsProjectName(settings.rules)
      ? await projectName(key.organization, key.project, this.signal)
      : undefined;
    const caller = { project: { id: key.project, name }, pipeline: plan.pipeline, token: this.bearer };
    const rules = rulesFor(settings.rules, caller);
    if (rules.length === 0)
      throw new Refusal(
        403,
        `no rule of the bridge lets ${this.#owner(name)} wait with the token of this connection`,
        "Ask for it to be added to the bridge's waits.rules.",
      );
    return rules;
  }

  #owner(projectName: string | undefined): string {
    const { key, plan } = this.proven;
    const project = projectName === undefined ? key.project : `${quoted(projectName)} (${key.project})`;
    return `the pipeline ${quoted(plan.pipeline.name)} (${plan.pipeline.id}) of the project ${project}`;
  }

  /** Undefined when another replica was faster. */
  async #accept(rules: readonly PlacedRule[], tombstone: StoredWait | undefined): Promise<Done | undefined> {
    const { settings, contracts, ownStreams, store, jetStream, now } = this.options;
    const { runStart } = this.given;
    const request = orBadRequest(() =>
      readWaitRequest(this.given.inputs, { contracts, maxWaitMs: settings.maxWaitMs, runStart, ownStreams }),
    );
    const rule = this.#ruleFor(request, rules);
    if (rule.proof === 'job') await this.#proveJob();
    const call = this.#call(rule);
    const acceptedAt = now();
    const buried = tombstone?.record.state;
    if (tombstone !== undefined && buried?.state === 'tombstone' && acceptedAt - buried.at < TOMBSTONE_MS) {
      const isWritten = await this.#write(tombstone, cancelled(call, undefined, acceptedAt));
      return isWritten ? this.#answer('cancelled', rule.index, request, 'It had been cancelled before') : undefined;
    }
    this.#checkOpen(rule);
    this.waitsFor('NATS (the stream)');
    const start = await findStart(request, jetStream, ownStreams);
    this.#checkUncorrelated(request, start.stream);
    const deadline = acceptedAt + request.criteria.timeoutMs;
    const state: WaitState = { state: 'waiting', call, start, acceptedAt, deadline };
    this.signal.throwIfAborted();
    this.waitsFor(BUCKET);
    const isWritten =
      tombstone === undefined
        ? (await store.create({ key: this.proven.key, planUrl: call.planUrl, state })) !== undefined
        : await this.#write(tombstone, state);
    return isWritten ? this.#answer('accepted', rule.index, request) : undefined;
  }

  #ruleFor({ criteria }: WaitRequest, rules: readonly PlacedRule[]): PlacedRule {
    const rule = ruleOver(rules, criteria.subjects);
    if (rule !== undefined) return rule;
    throw new Refusal(
      403,
      `subject: no rule of the bridge lets this pipeline wait on ${criteria.subjects.map(quoted).join(', ')}`,
      `It may wait on ${[...new Set(rules.flatMap(({ subjects }) => subjects))].join(', ')}.`,
    );
  }

  async #proveJob(): Promise<void> {
    const { caller, verifyIdToken } = this.options;
    const { call, plan } = this.proven;
    this.waitsFor("Azure DevOps (the job's ID token)");
    const asked = await caller.idToken(call, this.signal);
    if (asked.kind === 'unavailable')
      throw new Unavailable(`Azure DevOps issues no ID token for the job: ${asked.reason}`);
    this.waitsFor('Azure DevOps (the keys of its ID tokens)');
    const problem = asked.kind === 'refused' ? asked.reason : await verifyIdToken(asked.value, plan);
    if (problem !== undefined)
      throw new Refusal(
        403,
        `the bridge's rule requires an ID token that proves which job this is: ${problem}`,
        'Show this to whoever runs the bridge.',
      );
  }

  #call(rule: PlacedRule): WaitCall {
    const { call, timeline, plan } = this.proven;
    const { inputs, digest } = this.given;
    const owner = { project: plan.project, pipeline: plan.pipeline.name, rule: rule.index };
    return { planUrl: call.planUrl, timeline, token: call.token, inputs, digest, owner, planVersion: plan.version };
  }

  #checkOpen(rule: PlacedRule): void {
    if (this.options.counts.openOf(rule.index) < rule.maxOpen) return;
    throw new Refusal(
      403,
      `rule ${rule.index} of the bridge allows ${rule.maxOpen} open waits, and that many are open`,
      'Wait until some are over, or ask for a higher maxOpen in that rule.',
    );
  }

  #checkUncorrelated({ criteria }: WaitRequest, stream: string): void {
    if (criteria.correlationId !== undefined) return;
    for (const subject of criteria.subjects)
      if (this.options.counts.uncorrelated(stream, subject) >= MOST_UNCORRELATED)
        throw new Refusal(
          400,
          `subject: ${MOST_UNCORRELATED} waits without a correlationId are already open on ${quoted(subject)}, which is the most`,
          'Set correlationId, which the bridge finds waits by, or wait on a more specific subject.',
        );
  }

  /** The same wait again: keep the newest token, which lives longest. Undefined when another replica was faster. */
  async #repeat(
    stored: StoredWait,
    state: Exclude<WaitState, { readonly state: 'tombstone' }>,
  ): Promise<Done | undefined> {
    if (state.call.digest !== this.given.digest)
      throw new Refusal(
        409,
        'this task of this job is already waiting for something else: its body or X-Run-Start was different',
        'Send one body per task of a job.',
      );
    const call: WaitCall = { ...state.call, token: this.proven.call.token };
    const again: WaitState =
      state.state === 'ended'
        ? { state: 'decided', call, decidedAt: this.options.now(), ending: state.ending }
        : { ...state, call };
    this.signal.throwIfAborted();
    return (await this.#write(stored, again)) ? this.#answer('repeated', state.call.owner.rule) : undefined;
  }

  async #write(stored: StoredWait, state: WaitState): Promise<boolean> {
    return (await this.options.store.update(stored, state)) !== undefined;
  }

  #answer(outcome: string, rule: number, request?: WaitRequest, reason?: string): Done {
    const warnings = request?.warnings ?? [];
    const body = { key: bucketKey(this.proven.key), ...(warnings.length === 0 ? {} : { warnings }) };
    return {
      answer: { status: 200, body },
      outcome,
      name: `rule-${rule}`,
      ...(reason === undefined ? {} : { reason }),
    };
  }
}
