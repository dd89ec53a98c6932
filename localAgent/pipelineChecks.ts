import { cpSync } from 'node:fs';
import path from 'node:path';
import { reasonOf } from '../shared/errors.ts';
import type { Connection } from './connections.ts';
import type { TaskRequest } from './localAgent.ts';
import type { Job, Pipeline } from './pipelineSyntax.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import { findTask, hasTask, inputsOf, isServerTask } from './taskDefinition.ts';
import { temporaryFolder } from './vsix.ts';

/** A step that only Azure Pipelines itself can run. */
export interface OtherTask {
  readonly job: string;
  /** Such as `AzureKeyVault@2`. */
  readonly task: string;
  /** The step's display name. */
  readonly title: string | undefined;
}

/** Steps that cannot be run were not to be left out. */
export class OtherTasksError extends Error {
  constructor(steps: readonly OtherTask[]) {
    const list = steps.map(
      ({ job, task, title }) => `  job ${job}: ${task}${title === undefined ? '' : ` "${title}"`}`,
    );
    super(`Only Azure Pipelines itself can run these steps:\n${list.join('\n')}`);
  }
}

/** Where checkout steps take their files from. */
export interface Sources {
  /** The folder of `self`. It is the `System.DefaultWorkingDirectory` of a job that checks out nothing else. */
  readonly sources: string;
  /** The folders of the other repositories the file declares, by what its checkout steps call them. */
  readonly repositories?: Readonly<Record<string, string>>;
}

/**
 * Checks what the service checks before it lets a run begin: the inputs of the extension's tasks, their service connections, and
 * whether they need the agent that their job has or hasn't.
 * @returns the steps that only Azure Pipelines itself can run
 * @throws Error that lists all that is wrong
 */
export function checkPipeline(
  { stages }: Pipeline,
  extension: string,
  connections: Readonly<Record<string, Connection>>,
): OtherTask[] {
  const others: OtherTask[] = [];
  const problems = new Set<string>();
  for (const { name: job, isAgentless, steps } of stages.flatMap(({ jobs }) => jobs)) {
    for (const step of steps) {
      const found = problemsOf(step, isAgentless, extension, connections);
      if (found === 'other')
        others.push({ job, task: 'other' in step ? step.other : (step as TaskRequest).task, title: step.displayName });
      else for (const problem of found) problems.add(`job ${job}: ${problem}`);
    }
  }
  if (problems.size > 0) throw new Error([...problems].join('\n'));
  return others;
}

function problemsOf(
  step: PipelineStep,
  isAgentless: boolean,
  extension: string,
  connections: Readonly<Record<string, Connection>>,
): string[] | 'other' {
  if ('other' in step) return 'other';
  if (!('task' in step)) return isAgentless ? ['Scripts need an agent, and a job with pool: server has none.'] : [];
  if (!hasTask(extension, step.task)) return 'other';
  const { definition } = findTask(extension, step.task);
  if (isServerTask(definition) !== isAgentless)
    return [
      isAgentless
        ? `${step.task} needs an agent, and a job with pool: server has none.`
        : `${step.task} runs without an agent: give it a job of its own with pool: server.`,
    ];
  if (isAgentless && step.retryCountOnTaskFailure)
    return [`${step.task}: retryCountOnTaskFailure has no effect in a job with pool: server.`];
  try {
    const values = inputsOf(definition, step.inputs ?? {});
    return (definition.inputs ?? [])
      .filter(({ type }) => type.startsWith('connectedService:'))
      .flatMap(({ name, type }) =>
        (values.get(name)?.split(',') ?? []).flatMap((one) => connectionProblem(one.trim(), type, connections) ?? []),
      );
  } catch (error) {
    return [reasonOf(error)];
  }
}

/** @param type of the input, such as `connectedService:NatsBridge` */
function connectionProblem(
  name: string,
  type: string,
  connections: Readonly<Record<string, Connection>>,
): string | undefined {
  if (!name || name.includes('$(')) return undefined;
  const key = name.toLowerCase();
  const found = Object.entries(connections).find(([known, { id }]) =>
    [known, id].some((one) => one?.toLowerCase() === key),
  );
  if (!found) return `The step references service connection ${name} which could not be found.`;
  const isBridge = found[1].type === 'NatsBridge';
  if (isBridge === type.endsWith(':NatsBridge')) return undefined;
  return isBridge
    ? `The service connection ${name} leads to a bridge, and the step needs one that leads to NATS.`
    : `The service connection ${name} leads to NATS, and the step needs one of "type": "NatsBridge" in a --connection-file.`;
}

/**
 * The folder a job's checkout steps fill: that of the one repository, or for several a new one with a copy of each, under the
 * name of its repository. Undefined: the job checks out nothing.
 */
export function sourcesOf(
  { checkouts }: Job,
  names: Pipeline['repositories'],
  { sources, repositories = {} }: Sources,
): string | undefined {
  const folderOf = (repository: string): string => {
    const folder = repository === 'self' ? sources : repositories[repository];
    if (folder === undefined) throw new Error(`checkout: ${repository}, but no folder is given for this repository.`);
    return folder;
  };
  if (checkouts.length < 2) return checkouts.map(folderOf)[0];
  const together = temporaryFolder('sources-');
  for (const repository of checkouts) {
    const folder = folderOf(repository);
    cpSync(folder, path.join(together, path.basename(names.get(repository) ?? folder)), { recursive: true });
  }
  return together;
}
