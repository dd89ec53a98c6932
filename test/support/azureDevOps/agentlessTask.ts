import { INPUT_NAMES } from '../../../bridge/waits/criteria.ts';
import type { AzureDevOps } from './azureDevOps.ts';
import type { Plan, PlanOptions, PlanTask, TaskResult } from './plans.ts';

/** Checks have to be answered within this, by documentation; tasks have a little longer. */
const ANSWER_MS = 3_000;

export interface AgentlessTaskOptions extends PlanOptions {
  /** Where the bridge's public port is: `http://127.0.0.1:8080`. */
  readonly bridge: string;
  /** The token of the service connection. */
  readonly bearer: string;
  /** Another task of this plan; default: the first of a new one. */
  readonly plan?: Plan;
  /** Of the job's token; default 48 h. */
  readonly tokenLifetimeMs?: number;
  /** When the run started, as `X-Run-Start` has it; default: now. */
  readonly runStart?: string;
}

export interface BridgeAnswer {
  readonly status: number;
  readonly text: string;
  /** Undefined where it's no JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a test looks into whatever came
  readonly json: any;
}

/** A task of an agentless job, as Azure DevOps runs it: calls the bridge, and waits to be told by TaskCompleted. */
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

  /** What the task's page shows as its log; empty where there is none. */
  get logText(): string {
    return this.task.log === null ? '' : this.plan.logs.get(this.task.log.id)!.text;
  }

  /** The headers of every call, with others in the place of some; undefined: without it. */
  headers(others: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
    const { plan, task } = this;
    const all: Readonly<Record<string, string | undefined>> = {
      ...{ Authorization: `Bearer ${this.#options.bearer}`, 'X-Plan-Url': this.#azure.url },
      ...{ 'X-Project-Id': plan.project.id, 'X-Hub-Name': plan.hub, 'X-Plan-Id': plan.id, 'X-Job-Id': task.job },
      ...{ 'X-Timeline-Id': plan.timeline, 'X-Task-Instance-Id': task.instance, 'X-Run-Start': this.#runStart },
      'X-Job-Token': this.token,
      ...others,
    };
    return Object.fromEntries(
      Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    );
  }

  /** The body as the task's template renders it: every input's block, those that aren't given empty. */
  body(inputs: Readonly<Record<string, string>>): string {
    const blocks = INPUT_NAMES.map((name) => `--${this.plan.id} ${name}\n${inputs[name] ?? ''}\n`);
    return `${blocks.join('')}--${this.plan.id} end\n`;
  }

  /** Sends Execute. Rejects where the bridge hasn't answered within 3 s. */
  execute(inputs: Readonly<Record<string, string>>, headers = this.headers()): Promise<BridgeAnswer> {
    this.plan.logRequest(this.task, `POST ${this.bridge}/v1/waits`);
    return this.#post('/v1/waits', headers, this.body(inputs));
  }

  /** Sends Cancel. Rejects where the bridge hasn't answered within 3 s. */
  cancel(headers = this.headers()): Promise<BridgeAnswer> {
    return this.#post('/v1/waits/cancel', headers);
  }

  async #post(path: string, headers: Record<string, string>, body?: string): Promise<BridgeAnswer> {
    const response = await fetch(`${this.bridge}${path}`, {
      ...{ method: 'POST', redirect: 'manual', signal: AbortSignal.timeout(ANSWER_MS) },
      headers: body === undefined ? headers : { ...headers, 'Content-Type': 'text/plain' },
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
