import { authenticationHeaders, OWN_MANIFEST } from '../../../localAgent/connectionTypes.ts';
import {
  renderCall,
  type CallTemplate,
  type HttpRequestHandler,
  type RenderedCall,
} from '../../../localAgent/serverTemplate.ts';
import { AGENTLESS_TASK, readTask } from '../../../scripts/build/manifest.ts';
import type { AzureDevOps } from './azureDevOps.ts';
import type { Plan, PlanOptions, PlanTask, TaskResult } from './plans.ts';

/** The documented time to answer a check; tasks have slightly longer. */
const ANSWER_MS = 3_000;

/** The requests of the task, as its task.json has them. */
export const HANDLER = (readTask(AGENTLESS_TASK) as unknown as { execution: { HttpRequest: HttpRequestHandler } })
  .execution.HttpRequest;

/** The values that Azure DevOps fills into a task's requests. */
export interface Filling {
  /** Only those with a value. */
  readonly inputs?: Readonly<Record<string, string>>;
  /** By their names in the templates. */
  readonly variables: Readonly<Record<string, string>>;
  /** The service connection. */
  readonly bridge: string;
  readonly bearer: string;
}

/** A request of the task as Azure DevOps sends it, with its connection's credentials. */
export function rendered(template: CallTemplate, { inputs = {}, variables, bridge, bearer }: Filling): RenderedCall {
  const named = new Map(Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value]));
  const scope = {
    inputs: new Map(Object.entries(inputs)),
    variable: (name: string) => named.get(name.toLowerCase()),
    endpoint: { url: bridge, apitoken: bearer },
  };
  const connection = { type: 'NatsBridge', scheme: 'Token', url: bridge } as const;
  const call = renderCall(template, scope);
  return { ...call, headers: { ...call.headers, ...authenticationHeaders(OWN_MANIFEST, connection, scope) } };
}

export interface AgentlessTaskOptions extends PlanOptions {
  /** Where the bridge's public port is: `http://127.0.0.1:8080`. */
  readonly bridge: string;
  /** The token of the service connection. */
  readonly bearer: string;
  /** Another task of this plan; default: the first of a new one. */
  readonly plan?: Plan;
  /** Of the job's token; default 48 h. */
  readonly tokenLifetimeMs?: number;
  /** When the run started, in the form of `X-Run-Start`; default: now. */
  readonly runStart?: string;
}

export interface BridgeAnswer {
  readonly status: number;
  readonly text: string;
  /** Undefined if it isn't JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a test looks into whatever came
  readonly json: any;
}

/** A task of an agentless job, as Azure DevOps runs it: calls the bridge, and waits for TaskCompleted. */
export class AgentlessTask {
  readonly plan: Plan;
  readonly task: PlanTask;
  /** The job's; a test may take another one for the next call. */
  token: string;
  /** Where the bridge is; a test may take another replica for the next call. */
  bridge: string;
  readonly #azure: AzureDevOps;
  readonly #options: AgentlessTaskOptions;
  readonly #runStart: string;

  constructor(azure: AzureDevOps, options: AgentlessTaskOptions) {
    this.#azure = azure;
    this.#options = options;
    this.bridge = options.bridge;
    this.plan = options.plan ?? azure.plans.create(options);
    this.task = this.plan.addTask();
    this.token = azure.plans.token(this.plan, this.task, options.tokenLifetimeMs);
    this.#runStart = options.runStart ?? new Date().toISOString();
  }

  /** Resolves with the result of TaskCompleted. */
  get completed(): Promise<TaskResult> {
    return this.task.completed;
  }

  /** The task's outputs by name. */
  get outputs(): Readonly<Record<string, string>> {
    return Object.fromEntries(Object.entries(this.task.variables).map(([name, { value }]) => [name, value]));
  }

  /** The log on the task's page; empty if there is none. */
  get logText(): string {
    return this.task.log === null ? '' : this.plan.logs.get(this.task.log.id)!.text;
  }

  /** The headers of every call, with some replaced; undefined leaves one out. */
  headers(others: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
    const all: Readonly<Record<string, string | undefined>> = { ...this.#rendered({}).headers, ...others };
    return Object.fromEntries(
      Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    );
  }

  /** The body as the task's template renders it; the placeholder of a missing input stays. */
  body(inputs: Readonly<Record<string, string>>): string {
    return this.#rendered(inputs).body;
  }

  /** Sends Execute. Rejects if the bridge doesn't answer within 3 s. */
  execute(inputs: Readonly<Record<string, string>>, headers = this.headers()): Promise<BridgeAnswer> {
    this.plan.logRequest(this.task, `POST ${this.bridge}/v1/waits`);
    return this.#post('/v1/waits', headers, this.body(inputs));
  }

  /** Sends Cancel. Rejects if the bridge doesn't answer within 3 s. */
  cancel(headers = this.headers()): Promise<BridgeAnswer> {
    return this.#post('/v1/waits/cancel', headers);
  }

  #rendered(inputs: Readonly<Record<string, string>>): RenderedCall {
    const { plan, task } = this;
    const variables = {
      ...{ 'system.CollectionUri': this.#azure.url, 'system.TeamProjectId': plan.project.id },
      ...{ 'system.HostType': plan.hub, 'system.PlanId': plan.id, 'system.JobId': task.job },
      ...{ 'system.TimelineId': plan.timeline, 'system.TaskInstanceId': task.instance },
      ...{ 'system.PipelineStartTime': this.#runStart, 'system.AccessToken': this.token },
    };
    const { bridge, bearer } = this.#options;
    return rendered(HANDLER.Execute, { inputs, variables, bridge, bearer });
  }

  async #post(path: string, headers: Record<string, string>, body?: string): Promise<BridgeAnswer> {
    const response = await fetch(`${this.bridge}${path}`, {
      ...{ method: 'POST', redirect: 'manual', signal: AbortSignal.timeout(ANSWER_MS) },
      headers,
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    return { status: response.status, text, json: parsed(text) };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
