import { probablyMeant } from '../shared/text/nearest.ts';
import { noStepNamed } from './misspelt.ts';
import type { Job, Stage } from './pipelineSyntax.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import { findTask, hasTask, inputNamed } from './taskDefinition.ts';

/** Where a `$(step.output)` stands. */
export interface ReadingJob {
  readonly stages: readonly Stage[];
  readonly stage: Stage;
  readonly job: Job;
  /** Folder of the unpacked extension. */
  readonly extension: string;
}

/**
 * Says why a `step.output` that isn't set has no value, as far as the file tells: it's an output of another job, or no step of
 * the job has this name. Undefined: the file doesn't tell.
 * @param variable as `step.output`
 * @param written how a reference to a variable is written
 */
export function whyNoStepSetsIt(
  variable: string,
  reading: ReadingJob,
  written: (name: string) => string,
): string | undefined {
  const { stages, job, extension } = reading;
  const [step = ''] = variable.split('.');
  const output = variable.slice(step.length + 1);
  const named = job.steps.find((own) => isNamed(own, step));
  if (named !== undefined) return undeclared(named, step, output, extension);
  for (const stage of stages)
    for (const other of stage.jobs)
      if (other.steps.some((one) => isNamed(one, step) && maySet(one, output, extension)))
        return ofOtherJob(variable, output, stage, other, reading, written);
  if (step === 'event' && output !== '') return withoutStep(variable, job, extension, written);
  const names = job.steps.flatMap((own) => ('name' in own ? (own.name ?? []) : []));
  const meant = probablyMeant(step, names);
  if (meant !== undefined) return `no step is named ${step}. Did you mean ${written(`${meant}.${output}`)}?`;
  const isUnnamed = (own: PipelineStep): boolean => !('name' in own) && declares(own, output, extension);
  if (!output.startsWith('event.') && !job.steps.some(isUnnamed)) return undefined;
  return noStepNamed(step);
}

/** What is wrong with an output such as `event.by` that the step's input `outputs` has nothing about, not even misspelt. */
function undeclared(step: PipelineStep, name: string, output: string, extension: string): string | undefined {
  const [, field] = /^event\.([A-Za-z_]\w*)$/.exec(output) ?? [];
  if (field === undefined || !('task' in step) || !declares(step, output, extension)) return undefined;
  const { definition } = findTask(extension, step.task);
  const given = Object.entries(step.inputs ?? {}).find(([key]) => inputNamed(definition, key)?.name === 'outputs');
  const declared = (given?.[1] ?? '').split('\n').map((line) => line.split('=')[0]?.trim() ?? '');
  // A variable may hold any line.
  const isKnown = declared.some((other) => other.includes('$(') || other.toLowerCase() === field.toLowerCase());
  if (isKnown || probablyMeant(field, declared) !== undefined) return undefined;
  return `the step ${name} has no line for it in its outputs. Add one, such as ${field}=data.${field}.`;
}

/** The remedy for an output such as `event.by`, whose step is missing. */
function withoutStep(variable: string, { steps }: Job, extension: string, written: (name: string) => string): string {
  const [only, ...others] = steps.filter((own) => declares(own, variable, extension));
  const name = only && others.length === 0 && 'name' in only ? only.name : undefined;
  const remedy =
    name === undefined
      ? `Give the step that sets it a name, and write ${written(`NAME.${variable}`)}.`
      : `Did you mean ${written(`${name}.${variable}`)}?`;
  return `it lacks the name of the step. ${remedy}`;
}

function ofOtherJob(
  variable: string,
  output: string,
  stage: Stage,
  other: Job,
  reading: ReadingJob,
  written: (name: string) => string,
): string {
  const isSameStage = stage.name === reading.stage.name;
  const root = isSameStage ? 'dependencies' : `stageDependencies.${stage.name}`;
  const reference = `$[ ${root}.${other.phase}.outputs['${other.outputPrefix}${variable}'] ]`;
  const name = output.split('.').at(-1) ?? '';
  const [needed, isNeeded] = isSameStage
    ? [other.phase, reading.job.dependsOn.includes(other.name)]
    : [stage.name, reading.stage.dependsOn.includes(stage.name)];
  const addition = isNeeded ? '' : ` Add ${needed} to the ${isSameStage ? "job's" : "stage's"} dependsOn.`;
  return `it's an output of a step of job ${other.phase}. Add ${name}: ${reference} to the variables of job ${reading.job.phase}, and write ${written(name)}.${addition}`;
}

/** Whether references name this step so. One without a name has that of its task, and maybe a number. */
function isNamed(step: PipelineStep, name: string): boolean {
  const own = 'name' in step ? step.name : 'task' in step ? step.task.split('@')[0] : undefined;
  const asked = 'name' in step ? name : name.replace(/\d+$/, '');
  return own?.toLowerCase() === asked.toLowerCase();
}

/** Whether the step may set this output: what a script or another extension's task sets isn't known. */
function maySet(step: PipelineStep, output: string, extension: string): boolean {
  const isKnown = 'task' in step && hasTask(extension, step.task);
  return !isKnown || declares(step, output, extension);
}

function declares(step: PipelineStep, output: string, extension: string): boolean {
  if (!('task' in step) || !hasTask(extension, step.task)) return false;
  const { outputVariables = [], inputs = [] } = findTask(extension, step.task).definition;
  if (outputVariables.some(({ name }) => name.toLowerCase() === output.toLowerCase())) return true;
  return output.startsWith('event.') && inputs.some(({ name }) => name === 'outputs');
}

/** Whether a step other than an extension's task, such as a script that names it, may set a variable of the job. */
export function scriptMaySet(variable: string, { job, extension }: ReadingJob): boolean {
  const name = variable.slice(variable.lastIndexOf('.') + 1);
  return job.steps.some((step) => {
    if ('script' in step) return step.script.includes(name);
    return !('task' in step && hasTask(extension, step.task));
  });
}
