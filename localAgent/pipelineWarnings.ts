import { subjectProblem } from '../shared/subject.ts';
import { quoted } from '../shared/text/safeText.ts';
import type { Job, Pipeline, Stage } from './pipelineSyntax.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import { placeOf, problemAt } from './pipelineYaml.ts';
import { findTask, hasTask, inputNamed, inputsOf } from './taskDefinition.ts';

export interface PipelineWarning {
  readonly job: string;
  readonly text: string;
}

/** A step of a job, as far as it publishes or waits. */
interface Use {
  readonly stage: Stage;
  readonly job: Job;
  readonly index: number;
  readonly step: PipelineStep;
  readonly kind: 'publish' | 'wait' | 'script';
  /** By the inputs' names, with the defaults; as the file has them. */
  readonly inputs: ReadonlyMap<string, string>;
  readonly subjects: readonly string[];
}

/**
 * Finds waits for events that only later steps of the same file publish: such a wait takes its whole timeout, unless the event
 * comes from elsewhere. Looks only at subjects that the file spells out, and at waits that read the present and fail in the end.
 */
export function pipelineWarnings({ stages }: Pipeline, extension: string): PipelineWarning[] {
  const uses = stages.flatMap((stage) => stage.jobs.flatMap((job) => usesOf(stage, job, extension)));
  const found = uses.filter(isPatient).flatMap((wait) => {
    const senders = uses.filter((use) => use !== wait && maySend(use, wait.subjects));
    const first = senders.find(({ subjects }) => subjects.some((subject) => wait.subjects.includes(subject)));
    if (first === undefined || !senders.every((sender) => runsAfter(sender, wait, stages))) return [];
    return [{ job: wait.job.phase, text: circular(wait, first) }];
  });
  // The jobs of a matrix share their steps.
  return [...new Map(found.map((warning) => [warning.text, warning])).values()];
}

function usesOf(stage: Stage, job: Job, extension: string): Use[] {
  return job.steps.flatMap((step, index): Use[] => {
    const common = { stage, job, index, step };
    if ('script' in step) return [{ ...common, kind: 'script', inputs: new Map(), subjects: [] }];
    if (!('task' in step) || !hasTask(extension, step.task)) return [];
    const { definition } = findTask(extension, step.task);
    const given = Object.entries(step.inputs ?? {}).filter(([key]) => inputNamed(definition, key));
    const inputs = inputsOf(definition, Object.fromEntries(given));
    const lines = (inputs.get('subject') ?? '').split('\n').map((line) => line.trim());
    const subjects = lines.filter(Boolean);
    if (subjects.length === 0) return [];
    return [{ ...common, kind: definition.name.startsWith('Publish') ? 'publish' : 'wait', inputs, subjects }];
  });
}

/** Whether it waits until its timeout, and fails then, for events of its own run that the file names. */
function isPatient({ kind, step, job, inputs, subjects }: Use): boolean {
  if (kind !== 'wait' || !subjects.every((subject) => subjectProblem(subject, 'subject') === undefined)) return false;
  const reads = inputs.get('startFrom') ?? 'runStart';
  if (!['runStart', 'now'].includes(reads) || (inputs.get('onTimeout') ?? 'fail') !== 'fail') return false;
  // One job of a matrix may wait while another publishes.
  const isOneOfMany = job.name !== job.phase;
  return !(isOneOfMany && 'condition' in step && step.condition !== 'succeeded()');
}

/** Whether a step may send what a wait for these subjects is for. */
function maySend({ kind, step, subjects }: Use, waited: readonly string[]): boolean {
  if (kind === 'wait') return false;
  if (kind === 'script') return 'script' in step && waited.some((subject) => step.script.includes(subject));
  return subjects.some((subject) => subject.includes('$(') || waited.includes(subject));
}

/** Whether a step can't begin before a wait has ended. */
function runsAfter(later: Use, wait: Use, stages: readonly Stage[]): boolean {
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

function circular({ step, subjects, inputs }: Use, { step: sender, job, ...other }: Use): string {
  const subject = subjects.find((one) => other.subjects.includes(one)) ?? subjects[0] ?? '';
  const timeout = inputs.get('timeout');
  const whole = timeout === undefined ? 'its whole timeout' : `its whole timeout of ${timeout}`;
  const problem = `This wait for ${quoted(subject)} takes ${whole} unless the event comes from elsewhere: in this file, only job ${job.phase} publishes it (${placeOf(sender.source, 'task')}), after the wait.`;
  return problemAt(
    step.source,
    `${problem} Let a job that runs beside the wait publish it. If an event from before this run will do, set startFrom.`,
    'task',
  ).message;
}
