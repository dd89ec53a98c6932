import type { StepRun } from './localAgent.ts';
import { didYouMean } from './misspelt.ts';
import { misspeltJobOutput } from './misspeltOutputs.ts';
import type { JobReference } from './otherStage.ts';
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
  /** Those of the file, and those that steps got in the run. */
  readonly stepNames: readonly string[];
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
function outputOf(jobs: FinishedStage['jobs'] | undefined, phase: string, variable: string): Output | undefined {
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

/**
 * What `dependencies` or `stageDependencies` lead to, and a warning where a name is probably misspelt.
 * @param path such as `dependencies`, `A`, `outputs`, `step.variable`, or `dependencies`, `A`, `result`
 * @param stages that came before
 * @param jobs that came before in the same stage; undefined: a stage asks, whose dependencies are stages
 * @param elsewhere says in sentences where the job of a reference is that begins with `dependencies` and didn't come before
 */
export function lookUp(
  path: readonly string[],
  stages: ReadonlyMap<string, FinishedStage>,
  jobs: FinishedStage['jobs'] | undefined,
  elsewhere: (reference: JobReference) => string | undefined = () => undefined,
): { readonly output: Output | undefined; readonly warning?: string | undefined } {
  const [root, first = '', second = ''] = path;
  const name = path.at(-1) ?? '';
  const isOfStage = root === 'dependencies' && jobs === undefined;
  const [job = ''] = isOfStage ? name.split('.') : [root === 'stageDependencies' ? second : first];
  const among = root === 'dependencies' && jobs !== undefined ? jobs : stages.get(first)?.jobs;
  const placeOf = (variable: string | undefined): string | undefined =>
    root === 'dependencies' && jobs !== undefined && resultOfPhase(jobs, job) === undefined
      ? elsewhere({ job, variable })
      : undefined;
  if (name === 'result' && path.at(-2) !== 'outputs') {
    const result = isOfStage ? stages.get(first)?.result : resultOfPhase(among, job);
    const isMissing = result === undefined && !isOfStage;
    const warning = isMissing ? noSuchJob(path.join('.'), job, among, placeOf(undefined)) : undefined;
    return { output: result && { value: result, secret: false }, warning };
  }
  const before = isOfStage ? `${job}.` : '';
  const variable = name.slice(before.length);
  const output = outputOf(among, job, variable);
  if (output) return { output };
  const written = (other: string): string => `${path.slice(0, -1).join('.')}['${before}${other}']`;
  const outputs = [...(among?.values() ?? [])].filter(({ phase }) => phase === job);
  if (outputs.length === 0) return { output, warning: noSuchJob(written(variable), job, among, placeOf(variable)) };
  return { output, warning: misspeltJobOutput({ job, variable, written, outputs }) };
}

/**
 * Undefined where no job ran: the stage was skipped, or there's nothing to depend on.
 * @param place where the job is
 */
function noSuchJob(
  written: string,
  job: string,
  among: FinishedStage['jobs'] | undefined,
  place: string | undefined,
): string | undefined {
  if (place !== undefined) return `${written} is empty: ${place}`;
  const phases = [...(among?.values() ?? [])].map(({ phase }) => phase);
  if (phases.length === 0 || phases.includes(job)) return undefined;
  return `${written} is empty: no job ${job} came before.${didYouMean(job, phases)}`;
}
