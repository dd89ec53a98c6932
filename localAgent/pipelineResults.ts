import type { StepRun } from './localAgent.ts';
import type { Result } from './step.ts';

export interface JobRun {
  /** `__default` where the file has no stages. */
  readonly stage: string;
  readonly name: string;
  readonly result: Result;
  readonly steps: readonly StepRun[];
}

export interface Output {
  readonly value: string;
  readonly secret: boolean;
}

/** A job that has ended, or was skipped. */
export interface FinishedJob extends JobRun {
  /** See `Job` in pipelineSyntax.ts. */
  readonly phase: string;
  readonly outputPrefix: string;
  /** By `step.variable`. */
  readonly outputs: ReadonlyMap<string, Output>;
}

export interface FinishedStage {
  readonly result: Result;
  readonly jobs: ReadonlyMap<string, FinishedJob>;
}

export function resultsOf(finished: ReadonlyMap<string, { readonly result: Result }>): Result[] {
  return [...finished.values()].map(({ result }) => result);
}

/** The results visible to a condition. */
export function worst(results: readonly Result[]): Result {
  const badness: readonly Result[] = ['Canceled', 'Failed', 'Skipped', 'SucceededWithIssues'];
  return badness.find((result) => results.includes(result)) ?? 'Succeeded';
}

/** The result of a stage or run: skipped parts don't count, unless everything was skipped. */
export function overall(results: readonly Result[]): Result {
  const ran = results.filter((result) => result !== 'Skipped');
  return ran.length > 0 ? worst(ran) : worst(results);
}

/** An output as other jobs name it: of a deployment its name comes first, of a job of a matrix the job's key. */
export function outputOf(jobs: FinishedStage['jobs'] | undefined, phase: string, variable: string): Output | undefined {
  for (const job of jobs?.values() ?? []) {
    if (job.phase !== phase || !variable.startsWith(job.outputPrefix)) continue;
    const output = job.outputs.get(variable.slice(job.outputPrefix.length));
    if (output) return output;
  }
  return undefined;
}

/** How the job, or the jobs of a matrix, have ended. */
export function resultOfPhase(jobs: FinishedStage['jobs'] | undefined, phase: string): Result | undefined {
  const results = [...(jobs?.values() ?? [])].filter((job) => job.phase === phase).map(({ result }) => result);
  return results.length > 0 ? worst(results) : undefined;
}

/** What stands behind `dependencies` in the condition of a job: `A.result` or `A.outputs['step.variable']`. */
export function valueOfJob(
  jobs: FinishedStage['jobs'] | undefined,
  [phase = '', what, variable = '']: readonly string[],
): string | undefined {
  return what === 'result' ? resultOfPhase(jobs, phase) : outputOf(jobs, phase, variable)?.value;
}

/** What stands behind `dependencies` in the condition of a stage: `S.result` or `S.outputs['Job.step.variable']`. */
export function valueOfStage(
  stages: ReadonlyMap<string, FinishedStage>,
  [name = '', what, variable = '']: readonly string[],
): string | undefined {
  const stage = stages.get(name);
  if (what === 'result') return stage?.result;
  const dot = variable.indexOf('.');
  return outputOf(stage?.jobs, variable.slice(0, dot), variable.slice(dot + 1))?.value;
}
