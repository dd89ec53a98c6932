import { cpSync } from 'node:fs';
import path from 'node:path';
import type { Connection } from './connections.ts';
import { knownVariables } from './knownVariables.ts';
import { otherTaskOf, problemsOf } from './pipelineStepChecks.ts';
import type { Job, Pipeline } from './pipelineSyntax.ts';
import { PipelineFileError, problemAt } from './pipelineYaml.ts';
import { temporaryFolder } from './vsix.ts';

/** A step that only Azure Pipelines itself can run. */
export interface OtherTask {
  readonly job: string;
  /** Such as `AzureKeyVault@2`. */
  readonly task: string;
  /** The step's display name. */
  readonly title: string | undefined;
}

/** There are steps that can't run here, and they weren't to be skipped. */
export class OtherTasksError extends Error {
  constructor(steps: readonly OtherTask[]) {
    const list = steps.map(
      ({ job, task, title }) => `  job ${job}: ${task}${title === undefined ? '' : ` "${title}"`}`,
    );
    super(`Only Azure Pipelines itself can run these steps:\n${list.join('\n')}`);
  }
}

/** What a run comes with. */
export interface Given {
  readonly connections?: Readonly<Record<string, Connection>>;
  readonly variables?: Readonly<Record<string, string | undefined>>;
}

/** Where checkout steps take their files from. */
export interface Sources {
  /** The folder of `self`. It is the `System.DefaultWorkingDirectory` of a job that checks out nothing else. */
  readonly sources: string;
  /** The folders of the other repositories the file declares, by their names in checkout steps. */
  readonly repositories?: Readonly<Record<string, string>>;
}

/**
 * Checks what the service checks before it lets a run begin: tasks, their service connections, and whether they need the agent
 * that their job has or hasn't. Unlike the service, it also refuses inputs that a task doesn't have, and
 * steps without those that it requires.
 * @returns the steps that only Azure Pipelines itself can run
 * @throws PipelineFileError that lists all that is wrong
 */
export function checkPipeline(
  { stages }: Pipeline,
  extension: string,
  { connections = {}, variables }: Given,
): OtherTask[] {
  const others: OtherTask[] = [];
  const problems = new Map<string, string>();
  // The jobs of a matrix share their steps: report each problem once.
  for (const one of stages.flatMap(({ jobs }) => jobs)) {
    const { phase: job, isAgentless } = one;
    const known = knownVariables(one, variables);
    for (const step of one.steps) {
      const other = otherTaskOf(step, extension);
      if (other !== undefined) others.push({ job, task: other, title: step.displayName });
      for (const { entry, key, problem, isOfRun } of problemsOf(step, { isAgentless, extension, connections, known })) {
        const text = problemAt(entry, `job ${job}: ${problem}`, key).message;
        if (isOfRun !== true) problems.set(text, text);
        else if (!problems.has(problem)) problems.set(problem, text);
      }
    }
  }
  if (problems.size > 0) throw new PipelineFileError([...problems.values()].join('\n'));
  return others;
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
