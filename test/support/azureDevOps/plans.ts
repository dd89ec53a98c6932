import { randomInt, randomUUID } from 'node:crypto';
import type { Project } from './projects.ts';
import type { SignIn } from './signIn.ts';

export type PlanHub = 'Build' | 'Release' | 'Gates' | 'Checks';
export type TaskResult = 'succeeded' | 'failed';

export interface PlanOptions {
  /** A project's name; default: the first one. */
  readonly project?: string;
  readonly pipeline?: { readonly id: number; readonly name: string };
  /** Default `Build`. */
  readonly hub?: PlanHub;
  /** Default 13; before that, gates identify tasks by other ids. */
  readonly version?: number;
}

/** What a task's record may hold besides its name and position. */
export interface TaskState {
  state: 'pending' | 'inProgress' | 'completed';
  result: string | null;
  variables: Record<string, { value: string; isSecret: boolean }>;
  log: { id: number } | null;
  percentComplete: number | null;
  currentOperation: string | null;
}

/** A task of a job: one record of the plan's timeline. */
export interface PlanTask extends TaskState {
  readonly instance: string;
  readonly job: string;
  /** Resolves with the first TaskCompleted. */
  readonly completed: Promise<TaskResult>;
  readonly complete: (result: TaskResult) => void;
}

/** An event as posted, and its result. */
export interface PlanEvent {
  readonly name: string;
  readonly jobId: string;
  readonly taskId: string;
  readonly result: string | undefined;
  readonly isIgnored: boolean;
}

/** A distributed task plan: one run of a pipeline, of a gate or of a check. */
export class Plan {
  readonly id = randomUUID();
  readonly timeline = randomUUID();
  readonly owner: { readonly id: number; readonly name: string };
  readonly tasks = new Map<string, PlanTask>();
  readonly jobs = new Set<string>();
  /** Logs by id, each with the path it was created for; `isOwn`: Azure DevOps itself wrote it. */
  readonly logs = new Map<number, { readonly path: string; text: string; readonly isOwn?: true }>();
  readonly events: PlanEvent[] = [];
  /** `ended`: the orchestration has ended, and events get 500; `deleted`: the plan no longer exists. */
  fate: 'running' | 'ended' | 'deleted' = 'running';

  constructor(
    readonly project: Project,
    readonly definition: { readonly id: number; readonly name: string },
    readonly hub: PlanHub,
    readonly version: number,
  ) {
    const id = randomInt(1, 1_000_000);
    this.owner = { id, name: `20261129.${id}` };
  }

  /** Whether its gates identify tasks by other ids. */
  get isOldGate(): boolean {
    return this.hub === 'Gates' && this.version <= 12;
  }

  /** @param job the job it's in; default: a new one */
  addTask(job: string = randomUUID()): PlanTask {
    let complete: (result: TaskResult) => void = () => {};
    const completed = new Promise<TaskResult>((resolve) => (complete = resolve));
    const task: PlanTask = {
      ...{ instance: randomUUID(), job, completed, complete, state: 'inProgress', result: null },
      ...{ variables: {}, log: null, percentComplete: null, currentOperation: null },
    };
    this.jobs.add(job);
    this.tasks.set(task.instance, task);
    return task;
  }

  /** From a comment in Microsoft's sample task: the log begins with what Azure DevOps writes about its request. */
  logRequest({ instance }: PlanTask, line: string): void {
    const task = this.tasks.get(instance)!;
    if (task.log !== null) return;
    const id = this.logs.size + 1;
    this.logs.set(id, { path: `logs\\${instance}`, text: `${line}\n`, isOwn: true });
    task.log = { id };
  }
}

/** Every plan of the organization. */
export class Plans {
  /** Calls that the real service refuses, or accepts and ignores. */
  readonly brokenRules: string[] = [];
  readonly #plans = new Map<string, Plan>();

  constructor(
    private readonly signIn: SignIn,
    private readonly projects: readonly Project[],
  ) {}

  create({ project, pipeline = { id: 42, name: 'web' }, hub = 'Build', version = 13 }: PlanOptions = {}): Plan {
    const found = project === undefined ? this.projects[0]! : this.projects.find(({ name }) => name === project)!;
    const plan = new Plan(found, pipeline, hub, version);
    this.#plans.set(plan.id, plan);
    return plan;
  }

  find(id: string): Plan | undefined {
    return this.#plans.get(id.toLowerCase());
  }

  /** A token of one of the plan's jobs; the real ones of agentless jobs and checks live for a day or two. */
  token(plan: Plan, { job }: Pick<PlanTask, 'job'>, lifetimeMs = 48 * 3_600_000): string {
    return this.signIn.addJobToken({ plan: plan.id, id: job }, plan.project.name, lifetimeMs);
  }
}
