import { isObject } from '../../shared/text/json.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { AzureDevOps, Call, Outcome } from '../azureDevOps/client.ts';
import type { AllowPlanUrl, Asked, PlanCall, ProvenPlan, ProvesCaller } from './caller.ts';
import { HUBS } from './record.ts';

const API_VERSION = '7.1';
/** The one that Azure DevOps documents for tasks that call back. */
const EVENTS_API_VERSION = '2.0-preview.1';
const NOT_FOUND = 'OrchestrationSessionNotFoundException';
/** Azure DevOps cuts lines there. */
const MOST_LINE = 1_024;
const GUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
const NO_TASK = '00000000-0000-0000-0000-000000000000';
/** From this version of the plan on, gates use different IDs for tasks. */
const FIRST_NEW_GATES = 13;

/** The outcome of a call. Reasons are clauses without the last full stop, made safe. */
export type PlanAnswer<Value = undefined> =
  | { readonly kind: 'done'; readonly value: Value }
  /** There is nobody left to notify, or the token doesn't allow it: retrying is no use. */
  | { readonly kind: 'gone'; readonly reason: string }
  /** The plan exists, but Azure DevOps rejects the request. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Try again, after any pause that Azure DevOps asked for. */
  | Later;

export interface Later {
  readonly kind: 'later';
  readonly retryAfterMs: number | undefined;
  readonly reason: string;
}

/** What the timeline says about a task. */
export interface TaskRecord {
  readonly isCompleted: boolean;
}

/** Where in its plan a task is. IDs are GUIDs. */
export interface TaskPlace {
  readonly timeline: string;
  readonly instance: string;
  readonly planVersion: number;
}

/** What a client of plans works with. */
export interface PlanAccess {
  readonly azureDevOps: Pick<AzureDevOps, 'callAs'>;
  readonly allowPlanUrl: AllowPlanUrl;
}

/**
 * Azure DevOps' API of one plan, in the name of one of its jobs. Each method makes its calls once; it rejects with a
 * RangeError only, when an ID isn't a GUID.
 */
export class PlanClient {
  private constructor(
    private readonly azureDevOps: PlanAccess['azureDevOps'],
    private readonly organization: string,
    private readonly call: PlanCall,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /**
   * The client of a job's plan; or a clause that says why its token is sent nowhere, as one that continues "the plan URL".
   *
   * @throws RangeError when an ID isn't a GUID or the hub isn't one of Azure DevOps': it would become part of a path
   */
  static open(
    { azureDevOps, allowPlanUrl }: PlanAccess,
    call: PlanCall,
    signal?: AbortSignal,
  ): PlanClient | { readonly problem: string } {
    guid(call.project, call.plan, call.job);
    if (!HUBS.includes(call.hub)) throw new RangeError('the hub of a plan is not one of Azure DevOps');
    const allowed = allowPlanUrl(call.planUrl);
    return 'problem' in allowed ? allowed : new PlanClient(azureDevOps, allowed.url, call, signal);
  }

  /** The plan, which proves that the job's token belongs to it. */
  async plan(): Promise<PlanAnswer<ProvenPlan>> {
    return readValue(await this.#send('GET', ''), 'plan', (body) => {
      const { scopeIdentifier: project, definition, version, owner } = body;
      if (typeof project !== 'string' || !GUID.test(project) || !isObject(definition)) return undefined;
      const { id, name } = definition;
      if (typeof id !== 'number' || typeof name !== 'string' || typeof version !== 'number') return undefined;
      const run = isObject(owner) && Number.isSafeInteger(owner['id']) ? { run: Number(owner['id']) } : {};
      return { project: project.toLowerCase(), pipeline: { id, name }, version, ...run };
    });
  }

  /** A new ID token of the job. */
  async oidcToken(): Promise<PlanAnswer<string>> {
    const answer = await this.#send('POST', `/jobs/${this.call.job}/oidctoken`, {});
    return readValue(answer, 'ID token', ({ oidcToken: token }) =>
      typeof token === 'string' && token !== '' ? token : undefined,
    );
  }

  /** The record of a task; undefined when the timeline has none. */
  async record({ timeline, instance }: TaskPlace): Promise<PlanAnswer<TaskRecord | undefined>> {
    guid(timeline, instance);
    const answer = readValue(await this.#send('GET', `/timelines/${timeline}/records`), 'timeline', ({ value }) =>
      Array.isArray(value) ? value.filter(isObject) : undefined,
    );
    if (answer.kind !== 'done') return answer;
    const found = answer.value.find(({ id }) => typeof id === 'string' && id.toLowerCase() === instance.toLowerCase());
    return { kind: 'done', value: found && { isCompleted: found['state'] === 'completed' } };
  }

  /** Sets outputs of the task by name. They count when they are set before the task is completed. */
  setOutputs(task: TaskPlace, outputs: Readonly<Record<string, string>>): Promise<PlanAnswer> {
    const variables = Object.entries(outputs).map(([name, value]) => [name, { value, isSecret: false }]);
    return this.#change(task, { variables: Object.fromEntries(variables) });
  }

  /** Shows what the task is at. */
  progress(task: TaskPlace, operation: string, percent: number): Promise<PlanAnswer> {
    const currentOperation = line(operation);
    return this.#change(task, { state: 'inProgress', percentComplete: Math.round(percent), currentOperation });
  }

  /**
   * Gives the task its log: all lines at once, as it takes the place of the one before. Writing the same again changes
   * nothing that anybody sees.
   */
  async writeLog(task: TaskPlace, lines: readonly string[]): Promise<PlanAnswer> {
    guid(task.instance);
    const created = readValue(await this.#send('POST', '/logs', { path: `logs\\${task.instance}` }), 'log', ({ id }) =>
      Number.isSafeInteger(id) ? Number(id) : undefined,
    );
    if (created.kind !== 'done') return created;
    const text = Buffer.from(lines.map((one) => `${line(one)}\n`).join(''));
    const written = told(await this.#send('POST', `/logs/${created.value}`, text));
    return written.kind === 'done' ? this.#change(task, { log: { id: created.value } }) : written;
  }

  /** Ends the task. Azure DevOps ignores it if the task has already ended. */
  async complete({ instance, planVersion }: TaskPlace, result: 'succeeded' | 'failed'): Promise<PlanAnswer> {
    guid(instance);
    const isOldGate = this.call.hub === 'gates' && planVersion < FIRST_NEW_GATES;
    const ids = isOldGate ? { jobId: instance, taskId: NO_TASK } : { jobId: this.call.job, taskId: instance };
    return told(await this.#send('POST', '/events', { name: 'TaskCompleted', ...ids, result }, EVENTS_API_VERSION));
  }

  async #change({ timeline, instance }: TaskPlace, change: Readonly<Record<string, unknown>>): Promise<PlanAnswer> {
    guid(timeline, instance);
    const body = { value: [{ id: instance, ...change }], count: 1 };
    return told(await this.#send('PATCH', `/timelines/${timeline}/records`, body));
  }

  async #send(method: Call['method'], place: string, body?: unknown, version = API_VERSION) {
    const { project, hub, plan, token } = this.call;
    const path = `${project}/_apis/distributedtask/hubs/${hub}/plans/${plan}${place}?api-version=${version}`;
    const caller = { organization: this.organization, token };
    return answerOf(await this.azureDevOps.callAs(caller, { method, path, body }, this.signal));
  }
}

/** Proves callers by their plans. */
export function planCaller(access: PlanAccess): ProvesCaller {
  const ask = async <Value>(
    call: PlanCall,
    signal: AbortSignal,
    what: (client: PlanClient) => Promise<PlanAnswer<Value>>,
  ): Promise<Asked<Value>> => {
    const client = PlanClient.open(access, call, signal);
    if (!(client instanceof PlanClient)) return { kind: 'refused', reason: `the plan URL ${client.problem}` };
    const answer = await what(client);
    if (answer.kind === 'done') return { kind: 'ok', value: answer.value };
    return { kind: answer.kind === 'later' ? 'unavailable' : 'refused', reason: answer.reason };
  };
  return {
    plan: (call, signal) => ask(call, signal, (client) => client.plan()),
    idToken: (call, signal) => ask(call, signal, (client) => client.oidcToken()),
  };
}

/** Whether Azure DevOps will ever accept this call of a job. */
function answerOf(outcome: Outcome): PlanAnswer<unknown> {
  if (outcome.kind === 'ok') return { kind: 'done', value: outcome.body };
  const { message: reason } = outcome;
  switch (outcome.kind) {
    case 'signIn':
      // How Azure DevOps answers an expired token. A page with 200 and other redirects come from something else.
      return [401, 203, 302].includes(outcome.status ?? 0)
        ? { kind: 'gone', reason }
        : { kind: 'later', retryAfterMs: undefined, reason };
    case 'refused':
      if (outcome.status === 408) return { kind: 'later', retryAfterMs: undefined, reason };
      return { kind: outcome.status === 404 ? 'gone' : 'refused', reason };
    case 'open':
      if (outcome.typeKey === NOT_FOUND) return { kind: 'gone', reason };
      return { kind: 'later', retryAfterMs: outcome.retryAfterMs, reason };
    case 'throttled':
      return { kind: 'later', retryAfterMs: outcome.retryAfterMs, reason };
    case 'unreachable':
      return { kind: 'later', retryAfterMs: undefined, reason };
  }
}

/** Reads an answer; anything else in its place isn't from Azure DevOps. */
function readValue<Value>(
  answer: PlanAnswer<unknown>,
  what: string,
  read: (body: Readonly<Record<string, unknown>>) => Value | undefined,
): PlanAnswer<Value> {
  if (answer.kind !== 'done') return answer;
  const value = isObject(answer.value) ? read(answer.value) : undefined;
  if (value !== undefined) return { kind: 'done', value };
  return { kind: 'later', retryAfterMs: undefined, reason: `Azure DevOps' answer is not a valid ${what}` };
}

function told(answer: PlanAnswer<unknown>): PlanAnswer {
  return answer.kind === 'done' ? { kind: 'done', value: undefined } : answer;
}

/** A text as one line of a log, never longer than Azure DevOps shows. */
function line(text: string): string {
  const safe = safeText(text);
  return safe.length > MOST_LINE ? `${safe.slice(0, MOST_LINE - 1).replace(/[\uD800-\uDBFF]$/, '')}…` : safe;
}

function guid(...ids: readonly string[]): void {
  for (const id of ids) if (!GUID.test(id)) throw new RangeError('an ID of a plan is not a GUID');
}
