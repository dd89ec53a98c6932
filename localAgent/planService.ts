import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { closeServer } from './closeServer.ts';

/** The run that a service keeps. */
export interface LocalPlan {
  readonly id: string;
  readonly project: { readonly id: string; readonly name: string };
  readonly pipeline: { readonly id: number; readonly name: string };
}

export type TaskCompletion = 'succeeded' | 'failed';

/** A task of an agentless job, as the timeline knows it. */
export interface PlanTask {
  /** The id of its record. */
  readonly instance: string;
  readonly job: string;
  /** Resolves once the task has been completed. */
  readonly completed: Promise<TaskCompletion>;
  /** Undefined until then. */
  readonly result: TaskCompletion | undefined;
  readonly variables: Readonly<Record<string, { readonly value: string; readonly secret: boolean }>>;
  /** The text of its log; empty where nobody has written one. */
  readonly log: string;
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

interface Call {
  readonly method: string;
  /** Behind the organization's URL, without the query. */
  readonly path: string;
  readonly body: Buffer;
}

/** The state of a task while it changes. */
interface Task {
  readonly instance: string;
  readonly job: string;
  readonly token: string;
  readonly variables: Record<string, { value: string; secret: boolean }>;
  readonly complete: (result: TaskCompletion) => void;
  log: number | undefined;
  result: TaskCompletion | undefined;
}

const MOST_BODY = 1024 * 1024;
/** From this version on, gates use the same task ids as everything else. */
const PLAN_VERSION = 13;

/** Plays the part of Azure DevOps that server tasks call back: one plan with its timeline, logs and events. */
export class PlanService implements AsyncDisposable {
  readonly timeline = randomUUID();
  readonly #server = http.createServer((request, response) => void this.#handle(request, response));
  readonly #tasks: Task[] = [];
  readonly #logs: string[] = [];
  readonly #root: string;
  readonly #place: string;

  private constructor(
    readonly organization: string,
    private readonly plan: LocalPlan,
  ) {
    this.#root = new URL(organization).pathname;
    this.#place = `${plan.project.id}/_apis/distributedtask/hubs/build/plans/${plan.id}`.toLowerCase();
  }

  /**
   * Listens at the organization's address.
   * @param organization such as `http://127.0.0.1:8085/local/`
   * @throws Error when the address isn't available, as while another run is under way
   */
  static async start(organization: string, plan: LocalPlan): Promise<PlanService> {
    const service = new PlanService(organization, plan);
    const { hostname, port } = new URL(organization);
    try {
      await once(service.#server.listen(Number(port), hostname.replace(/^\[|\]$/g, '')), 'listening');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const reason = code === 'EADDRINUSE' ? 'is taken, perhaps by another run' : `can't be had (${code ?? 'unknown'})`;
      throw new Error(`organization: the address ${hostname}:${port} ${reason}.`, { cause: error });
    }
    return service;
  }

  /** Adds a record for a task whose job has this token. */
  addTask({ job, instance, token }: { job: string; instance: string; token: string }): PlanTask {
    let complete: Task['complete'] = () => {};
    const completed = new Promise<TaskCompletion>((resolve) => (complete = resolve));
    const task: Task = { instance, job, token, variables: {}, complete, log: undefined, result: undefined };
    this.#tasks.push(task);
    const logs = this.#logs;
    return {
      ...{ instance, job, completed, variables: task.variables },
      get result() {
        return task.result;
      },
      get log() {
        return task.log === undefined ? '' : (logs[task.log - 1] ?? '');
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeServer(this.#server);
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    let answer: Answer;
    try {
      const body = await bodyOf(request);
      const { pathname } = new URL(url, this.organization);
      const isInside = pathname.toLowerCase().startsWith(this.#root.toLowerCase());
      const call = { method, path: pathname.slice(this.#root.length).toLowerCase(), body };
      answer = isInside ? this.#answer(call, headers.authorization) : refusal(404, 'there is no such organization');
    } catch (error) {
      answer = refusal(400, error instanceof SyntaxError ? "the body isn't JSON" : 'the request is unusable');
    }
    const text = answer.body === undefined ? '' : JSON.stringify(answer.body);
    response.writeHead(answer.status, { 'Content-Type': 'application/json; charset=utf-8' }).end(text);
  }

  #answer(call: Call, authorization: string | undefined): Answer {
    if (authorization === undefined) return refusal(401, 'nobody has signed in');
    const { id, project } = this.plan;
    // With the bridge's own identity, which has no meaning here.
    if (call.path === `_apis/projects/${project.id}`.toLowerCase())
      return { status: 200, body: { ...project, state: 'wellFormed' } };
    if (!call.path.startsWith(this.#place)) return refusal(404, `only the plan ${id} is here`);
    const token = tokenIn(authorization);
    if (!this.#tasks.some((task) => task.token === token))
      return refusal(401, "the token doesn't belong to a job of this plan");
    const place = call.path.slice(this.#place.length);
    const records = `/timelines/${this.timeline}/records`;
    const log = /^\/logs\/(?<number>\d+)$/.exec(place)?.groups?.['number'];
    switch (`${call.method} ${log === undefined ? place : '/logs/'}`) {
      case 'GET ':
        return { status: 200, body: this.#planBody() };
      case `GET ${records}`:
        return { status: 200, body: this.#recordsBody() };
      case `PATCH ${records}`:
        for (const record of recordsIn(call.body)) this.#change(record);
        return { status: 200, body: this.#recordsBody() };
      case 'POST /logs':
        return { status: 200, body: { id: this.#logs.push('') } };
      case 'POST /logs/':
        return this.#append(Number(log), call.body.toString());
      case 'POST /events':
        return this.#onEvent(JSON.parse(call.body.toString()) as Readonly<Record<string, unknown>>);
      default:
        return refusal(404, `there is no ${call.method} ${place} here`);
    }
  }

  #append(number: number, text: string): Answer {
    const log = this.#logs[number - 1];
    if (log === undefined) return refusal(404, `there is no log ${number}`);
    this.#logs[number - 1] = log + text;
    return { status: 200, body: { id: number } };
  }

  #change({ id, log, variables = {} }: RecordChange): void {
    const task = this.#tasks.find(({ instance }) => instance === id?.toLowerCase());
    if (task === undefined) return;
    if (log !== undefined) task.log = log.id;
    for (const [name, { value, isSecret = false }] of Object.entries(variables))
      task.variables[name] = { value, secret: isSecret };
  }

  /** Like Azure DevOps, accepts and ignores an event for no task, and rejects one for a task that is over. */
  #onEvent({ name, jobId, taskId, result }: Readonly<Record<string, unknown>>): Answer {
    const task = this.#tasks.find(({ job, instance }) => job === jobId && instance === taskId);
    if (task?.result !== undefined)
      return refusal(500, 'no orchestration session found for this task', 'OrchestrationSessionNotFoundException');
    if (name !== 'TaskCompleted' || task === undefined) return { status: 204 };
    if (result !== 'succeeded' && result !== 'failed') return refusal(400, 'result is neither succeeded nor failed');
    task.result = result;
    task.complete(result);
    return { status: 204 };
  }

  #planBody(): unknown {
    const { id, project, pipeline } = this.plan;
    return {
      ...{ scopeIdentifier: project.id, planId: id, planType: 'Build', version: PLAN_VERSION, definition: pipeline },
      timeline: { id: this.timeline },
    };
  }

  #recordsBody(): unknown {
    const value = this.#tasks.map(({ instance, job, result, log }) => ({
      ...{
        id: instance,
        parentId: job,
        type: 'Task',
        state: result === undefined ? 'inProgress' : 'completed',
        result,
      },
      ...(log !== undefined && { log: { id: log } }),
    }));
    return { count: value.length, value };
  }
}

/**
 * Starts a service for each of these organizations, by its URL; none when one of them can't be.
 * @throws Error as {@link PlanService.start} does
 */
export async function startPlanServices(
  organizations: readonly string[],
  plan: LocalPlan,
): Promise<{ readonly services: ReadonlyMap<string, PlanService> } & AsyncDisposable> {
  const services = new Map<string, PlanService>();
  const stop = async () => {
    await Promise.all([...services.values()].map((service) => service[Symbol.asyncDispose]()));
  };
  try {
    for (const organization of new Set(organizations))
      services.set(organization, await PlanService.start(organization, plan));
  } catch (error) {
    await stop();
    throw error;
  }
  return { services, [Symbol.asyncDispose]: stop };
}

interface RecordChange {
  readonly id?: string;
  readonly log?: { readonly id: number };
  readonly variables?: Readonly<Record<string, { readonly value: string; readonly isSecret?: boolean }>>;
}

function recordsIn(body: Buffer): readonly RecordChange[] {
  const { value } = JSON.parse(body.toString()) as { readonly value?: unknown };
  return Array.isArray(value) ? (value as readonly RecordChange[]) : [];
}

function refusal(status: number, problem: string, typeKey = 'LocalRunException'): Answer {
  return { status, body: { typeKey, message: `The local run has refused the call: ${problem}.` } };
}

/** The token of `Bearer TOKEN`, or of `Basic` without a user. */
function tokenIn(authorization: string): string | undefined {
  const [, scheme = '', given = ''] = /^(Basic|Bearer) (\S+)$/i.exec(authorization) ?? [];
  return scheme.toLowerCase() === 'basic' ? Buffer.from(given, 'base64').toString().replace(/^:/, '') : given;
}

async function bodyOf(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MOST_BODY) throw new RangeError('The body is too long.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
