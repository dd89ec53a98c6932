import { subjectProblem } from '../shared/subject.ts';
import { knownVariables } from './knownVariables.ts';
import type { Job, Stage } from './pipelineSyntax.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import { findTask, hasTask, inputNamed, inputsOf } from './taskDefinition.ts';

/** A step of a job, as far as it publishes or waits. */
export interface Use {
  readonly stage: Stage;
  readonly job: Job;
  readonly index: number;
  readonly step: PipelineStep;
  readonly kind: 'publish' | 'wait' | 'script';
  /** By the inputs' names, with the defaults; as the file has them. */
  readonly inputs: ReadonlyMap<string, string>;
  /** With the variables that are known before the run. */
  readonly subjects: readonly string[];
}

type GivenVariables = Readonly<Record<string, string | undefined>>;

/**
 * The steps that publish or wait, and those that might: scripts.
 * @param given the variables that come with the run
 */
export function usesOf(stages: readonly Stage[], extension: string, given?: GivenVariables): Use[] {
  return stages.flatMap((stage) => stage.jobs.flatMap((job) => usesOfJob(stage, job, extension, given)));
}

function usesOfJob(stage: Stage, job: Job, extension: string, given?: GivenVariables): Use[] {
  const known = knownVariables(job, given);
  return job.steps.flatMap((step, index): Use[] => {
    const common = { stage, job, index, step };
    if ('script' in step) return [{ ...common, kind: 'script', inputs: new Map(), subjects: [] }];
    if (!('task' in step) || !hasTask(extension, step.task)) return [];
    const { definition } = findTask(extension, step.task);
    const given = Object.entries(step.inputs ?? {}).filter(([key]) => inputNamed(definition, key));
    const inputs = inputsOf(definition, Object.fromEntries(given));
    const lines = known
      .expand(inputs.get('subject') ?? '')
      .split('\n')
      .map((line) => line.trim());
    const subjects = lines.filter(Boolean);
    if (subjects.length === 0) return [];
    return [{ ...common, kind: definition.name.startsWith('Publish') ? 'publish' : 'wait', inputs, subjects }];
  });
}

/** Whether it waits until its timeout, and fails then, for events of its own run that the file names. */
export function isPatient({ kind, step, job, inputs, subjects }: Use): boolean {
  if (kind !== 'wait' || !subjects.every((subject) => subjectProblem(subject, 'subject') === undefined)) return false;
  const reads = inputs.get('startFrom') ?? 'runStart';
  if (!['runStart', 'now'].includes(reads) || (inputs.get('onTimeout') ?? 'fail') !== 'fail') return false;
  // One job of a matrix may wait while another publishes.
  const isOneOfMany = job.name !== job.phase;
  return !(isOneOfMany && 'condition' in step && step.condition !== 'succeeded()');
}

/** Whether a step may send what a wait for these subjects is for. */
export function maySend({ kind, step, subjects }: Use, waited: readonly string[]): boolean {
  if (kind === 'wait') return false;
  if (kind === 'script') return 'script' in step && waited.some((subject) => step.script.includes(subject));
  return subjects.some((subject) => subject.includes('$(') || waited.includes(subject));
}

/** Whether a step can't begin before a wait has ended. */
export function runsAfter(later: Use, wait: Use, stages: readonly Stage[]): boolean {
  if (later.stage !== wait.stage) return dependsOn(stages, later.stage.name, wait.stage.name);
  if (later.job.phase === wait.job.phase) return later.index > wait.index;
  return dependsOn(wait.stage.jobs, later.job.name, wait.job.name);
}

/** Whether one node depends on another, maybe through others. */
function dependsOn(
  nodes: readonly { readonly name: string; readonly dependsOn: readonly string[] }[],
  name: string,
  wanted: string,
): boolean {
  const needed = new Set([name]);
  // A set also visits what is added meanwhile.
  for (const one of needed) nodes.find((node) => node.name === one)?.dependsOn.forEach((other) => needed.add(other));
  return name !== wanted && needed.has(wanted);
}

/** How long a wait may take, in words. */
export function wholeTimeout({ inputs }: Use): string {
  const timeout = inputs.get('timeout');
  return timeout === undefined ? 'its whole timeout' : `its whole timeout of ${timeout}`;
}
