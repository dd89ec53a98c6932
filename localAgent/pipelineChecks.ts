import { cpSync } from 'node:fs';
import path from 'node:path';
import { reasonOf } from '../shared/errors.ts';
import type { Connection } from './connections.ts';
import type { TaskRequest } from './localAgent.ts';
import type { Job, Pipeline } from './pipelineSyntax.ts';
import { findTask, hasTask, inputsOf } from './taskDefinition.ts';
import { temporaryFolder } from './vsix.ts';

/** A step that only an agent of Azure Pipelines can run. */
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
    super(`Only an agent of Azure Pipelines can run these steps:\n${list.join('\n')}`);
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
 * Checks what the service checks before it lets a run begin: the inputs of the extension's tasks and their service connections.
 * @returns the steps that only an agent of Azure Pipelines can run
 * @throws Error that lists all that is wrong
 */
export function checkPipeline(
  { stages }: Pipeline,
  extension: string,
  connections: Readonly<Record<string, Connection>>,
): OtherTask[] {
  const known = Object.entries(connections).flatMap(([name, { id }]) => [name, id ?? name]);
  const others: OtherTask[] = [];
  const problems = new Set<string>();
  for (const { name: job, steps } of stages.flatMap(({ jobs }) => jobs)) {
    for (const step of steps) {
      if ('other' in step) {
        others.push({ job, task: step.other, title: step.displayName });
      } else if (!('task' in step)) {
        continue;
      } else if (!hasTask(extension, step.task)) {
        others.push({ job, task: step.task, title: step.displayName });
      } else {
        for (const problem of problemsOf(step, extension, known)) problems.add(`job ${job}: ${problem}`);
      }
    }
  }
  if (problems.size > 0) throw new Error([...problems].join('\n'));
  return others;
}

function problemsOf(step: TaskRequest, extension: string, known: readonly string[]): string[] {
  const { definition } = findTask(extension, step.task);
  try {
    const values = inputsOf(definition, step.inputs ?? {});
    return (definition.inputs ?? [])
      .filter(({ type }) => type.startsWith('connectedService:'))
      .flatMap(({ name }) => values.get(name)?.split(',') ?? [])
      .map((name) => name.trim())
      .filter((name) => name && !name.includes('$(') && !known.some((one) => one.toLowerCase() === name.toLowerCase()))
      .map((name) => `The step references service connection ${name} which could not be found.`);
  } catch (error) {
    return [reasonOf(error)];
  }
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
