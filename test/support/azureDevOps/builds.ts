import { randomBytes } from 'node:crypto';
import type { Pipeline } from './pipelines.ts';
import type { Project } from './projects.ts';
import type { Identity } from './signIn.ts';

export type RunState = 'inProgress' | 'canceling' | 'completed';
export type RunResult = 'succeeded' | 'failed' | 'canceled';

/** A run that someone started; in the Build area it's a build. Times are milliseconds since 1970. */
export interface StartedRun {
  /** Unique in the organization, and greater than that of every older run. */
  readonly id: number;
  readonly name: string;
  readonly project: Project;
  readonly pipeline: Pipeline;
  /** As given, without defaults. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The full ref it builds. */
  readonly ref: string;
  /** The hash of the commit it builds. */
  readonly commit: string;
  /** Whose token started it. */
  readonly identity: Identity;
  /** When the whole request had arrived. */
  readonly receivedAt: number;
  /** When the run was stored. */
  readonly queuedAt: number;
  readonly tags: string[];
  state: RunState;
  /** Once it's completed. */
  result: RunResult | undefined;
  finishedAt: number | undefined;
}

/** The runs of an organization. */
export class Builds {
  /** The oldest first. */
  readonly runs: StartedRun[] = [];
  /**
   * How long it takes from a run's start until lists have it, in milliseconds. Single builds are there at once. It
   * isn't documented that lists are up to date, so callers can't rely on it.
   */
  listingLagMs = 0;
  /** The maximum number of builds on a page. */
  pageSize = 1_000;
  #nextId = 20_163;

  start(values: Pick<StartedRun, 'pipeline' | 'parameters' | 'ref' | 'identity' | 'receivedAt'>): StartedRun {
    const [id, queuedAt] = [this.#nextId++, Date.now()];
    const day = new Date(queuedAt).toISOString().slice(0, 10).replaceAll('-', '');
    const run: StartedRun = {
      ...{ ...values, id, name: `${day}.${id % 100}`, project: values.pipeline.project, queuedAt },
      ...{ commit: randomBytes(20).toString('hex'), tags: [] },
      ...{ state: 'inProgress', result: undefined, finishedAt: undefined },
    };
    this.runs.push(run);
    return run;
  }

  /** Brings a run into a state; the result counts when it's `completed`. */
  move(run: StartedRun, state: RunState, result: RunResult = 'succeeded'): void {
    run.state = state;
    run.result = state === 'completed' ? result : undefined;
    run.finishedAt = state === 'completed' ? Date.now() : undefined;
  }

  /** Those that lists already have. */
  listed(): StartedRun[] {
    return this.runs.filter(({ queuedAt }) => queuedAt + this.listingLagMs <= Date.now());
  }
}
