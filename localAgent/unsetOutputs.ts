import { probablyMeant } from '../shared/text/nearest.ts';
import { noStepNamed } from './misspelt.ts';
import type { Job, Stage } from './pipelineSyntax.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import { findTask, hasTask } from './taskDefinition.ts';

/** Where a `$(step.output)` stands. */
export interface ReadingJob {
  readonly stages: readonly Stage[];
  readonly stage: Stage;
  readonly job: Job;
  /** Folder of the unpacked extension. */
  readonly extension: string;
}

/**
 * Says why a `$(step.output)` that isn't set has no value, as far as the file tells: it's an output of another job, or no step of
 * the job has this name. Undefined: the file doesn't tell.
 * @param variable as `step.output`
 */
export function whyNoStepSetsIt(variable: string, reading: ReadingJob): string | undefined {
  const { stages, job, extension } = reading;
  const [step = ''] = variable.split('.');
  const output = variable.slice(step.length + 1);
  if (job.steps.some((own) => isNamed(own, step))) return undefined;
  for (const stage of stages)
    for (const other of stage.jobs)
      if (other.steps.some((one) => isNamed(one, step) && maySet(one, output, extension)))
        return ofOtherJob(variable, output, stage, other, reading);
  if (step === 'event' && output !== '') return withoutStep(variable, job, extension);
  const names = job.steps.flatMap((own) => ('name' in own ? (own.name ?? []) : []));
  const meant = probablyMeant(step, names);
  if (meant !== undefined) return `no step is named ${step}. Did you mean $(${meant}.${output})?`;
  const isUnnamed = (own: PipelineStep): boolean => !('name' in own) && declares(own, output, extension);
  if (!output.startsWith('event.') && !job.steps.some(isUnnamed)) return undefined;
  return noStepNamed(step);
}

/** The remedy for an output such as `event.by`, whose step is missing. */
function withoutStep(variable: string, { steps }: Job, extension: string): string {
  const [only, ...others] = steps.filter((own) => declares(own, variable, extension));
  const name = only && others.length === 0 && 'name' in only ? only.name : undefined;
  return `it lacks the name of the step. ${name === undefined ? `Give the step that sets it a name, and write $(NAME.${variable}).` : `Did you mean $(${name}.${variable})?`}`;
}

function ofOtherJob(variable: string, output: string, stage: Stage, other: Job, reading: ReadingJob): string {
  const isSameStage = stage.name === reading.stage.name;
  const root = isSameStage ? 'dependencies' : `stageDependencies.${stage.name}`;
  const reference = `$[ ${root}.${other.phase}.outputs['${other.outputPrefix}${variable}'] ]`;
  const name = output.split('.').at(-1);
  const [needed, isNeeded] = isSameStage
    ? [other.phase, reading.job.dependsOn.includes(other.name)]
    : [stage.name, reading.stage.dependsOn.includes(stage.name)];
  const addition = isNeeded ? '' : ` Add ${needed} to the ${isSameStage ? "job's" : "stage's"} dependsOn.`;
  return `it's an output of a step of job ${other.phase}. Add ${name}: ${reference} to the variables of job ${reading.job.phase}, and write $(${name}).${addition}`;
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
