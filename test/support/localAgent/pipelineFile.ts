import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { conditionHolds } from './conditions.ts';
import { LocalAgent } from './localAgent.ts';
import type { LocalAgentOptions, StepRun } from './localAgent.ts';
import { readStages } from './pipelineSyntax.ts';
import type { Job, OutputReference, Stage, VariableValues } from './pipelineSyntax.ts';
import { pipelineTime } from './predefinedVariables.ts';
import type { LogLine, Result } from './step.ts';

export interface PipelineFileOptions extends Omit<LocalAgentOptions, 'sources'> {
  /** The folder the file paths of the pipeline start at: `System.DefaultWorkingDirectory` of every job. */
  readonly sources: string;
  /** Called for each line the moment a step logs it. */
  readonly onLine?: (line: LogLine, job: string) => void;
}

export interface JobRun {
  /** `__default` where the file has no stages. */
  readonly stage: string;
  readonly name: string;
  readonly result: Result;
  readonly steps: readonly StepRun[];
}

export interface PipelineRun {
  readonly result: Result;
  /** In the order of the file. */
  readonly jobs: readonly JobRun[];
}

interface FinishedJob extends JobRun {
  readonly outputs: LocalAgent['outputs'];
}

interface FinishedStage {
  readonly result: Result;
  readonly jobs: ReadonlyMap<string, FinishedJob>;
}

/**
 * Runs the jobs of an Azure Pipelines file, each on an agent of its own; jobs that do not depend on each other run at the same
 * time. It reads what the examples of this project use: stages, jobs, steps, `dependsOn`, `condition` with one status function,
 * variables, `task`, `script`, `bash` and `checkout` steps, and outputs of earlier jobs and stages as variables.
 * @param file path of the YAML file
 * @throws Error that names anything in the file that is not supported, before any step runs; and whatever `runTask` throws
 */
export async function runPipelineFile(file: string, options: PipelineFileOptions): Promise<PipelineRun> {
  const stages = readStages(readFileSync(file, 'utf8'));
  const run = {
    'System.PlanId': randomUUID(),
    'System.PipelineStartTime': pipelineTime(new Date()),
  };
  const holds = ({ condition }: Stage | Job, before: ReadonlyMap<string, { readonly result: Result }>): boolean =>
    conditionHolds(condition, options.signal?.aborted ? 'Canceled' : worst(resultsOf(before)));

  const finished = await runGraph(stages, async (stage, stagesBefore): Promise<FinishedStage> => {
    if (!holds(stage, stagesBefore)) return { result: 'Skipped', jobs: new Map() };
    const jobs = await runGraph(stage.jobs, async (job, jobsBefore): Promise<FinishedJob> => {
      const identity = { stage: stage.name, name: job.name };
      if (!holds(job, jobsBefore)) return { ...identity, result: 'Skipped', steps: [], outputs: new Map() };

      const values = resolve(job.variables, (reference) => {
        const from = reference.stage === undefined ? jobsBefore : stagesBefore.get(reference.stage)?.jobs;
        return from?.get(reference.job)?.outputs.get(reference.variable);
      });
      const signals = options.signal ? [options.signal] : [];
      if (job.timeoutInMinutes > 0) signals.push(AbortSignal.timeout(job.timeoutInMinutes * 60_000));
      const agent = new LocalAgent({
        ...options,
        signal: AbortSignal.any(signals),
        variables: { ...run, ...jobIdentity(stage, job), ...values.variables, ...options.variables },
        secrets: { ...values.secrets, ...options.secrets },
      });
      return {
        ...identity,
        steps: await runSteps(job, agent, options.onLine),
        result: agent.jobStatus,
        outputs: agent.outputs,
      };
    });
    return { result: overall(resultsOf(jobs)), jobs };
  });

  const jobs = [...finished.values()].flatMap((stage) => [...stage.jobs.values()]);
  return {
    result: overall(jobs.map(({ result }) => result)),
    jobs: jobs.map(({ stage, name, result, steps }) => ({ stage, name, result, steps })),
  };
}

async function runSteps(job: Job, agent: LocalAgent, onLine: PipelineFileOptions['onLine']): Promise<StepRun[]> {
  const runs: StepRun[] = [];
  const watched = onLine ? { onLine: (line: LogLine) => onLine(line, job.name) } : {};
  for (const step of job.steps) {
    runs.push(
      'task' in step ? await agent.runTask({ ...step, ...watched }) : await agent.runScript({ ...step, ...watched }),
    );
  }
  return runs;
}

/** Runs each node once those it depends on have ended. The result has the order of the nodes. */
async function runGraph<N extends { readonly name: string; readonly dependsOn: readonly string[] }, R>(
  nodes: readonly N[],
  run: (node: N, before: ReadonlyMap<string, R>) => Promise<R>,
): Promise<Map<string, R>> {
  const started = new Map<string, Promise<R>>();
  const start = (node: N): Promise<R> => {
    const known = started.get(node.name);
    if (known) return known;
    const dependencies = nodes.filter(({ name }) => node.dependsOn.includes(name));
    const ended = Promise.all(
      dependencies.map(async (dependency) => [dependency.name, await start(dependency)] as const),
    );
    const running = ended.then((before) => run(node, new Map(before)));
    started.set(node.name, running);
    return running;
  };
  return new Map(await Promise.all(nodes.map(async (node) => [node.name, await start(node)] as const)));
}

function resultsOf(finished: ReadonlyMap<string, { readonly result: Result }>): Result[] {
  return [...finished.values()].map(({ result }) => result);
}

/** What a condition sees of the results it depends on. */
function worst(results: readonly Result[]): Result {
  const badness: readonly Result[] = ['Canceled', 'Failed', 'Skipped', 'SucceededWithIssues'];
  return badness.find((result) => results.includes(result)) ?? 'Succeeded';
}

/** The result of a stage or run: what was skipped does not count, unless all was. */
function overall(results: readonly Result[]): Result {
  const ran = results.filter((result) => result !== 'Skipped');
  return ran.length > 0 ? worst(ran) : worst(results);
}

function jobIdentity(stage: Stage, job: Job): Record<string, string> {
  return {
    'Agent.JobName': job.displayName,
    'System.JobDisplayName': job.displayName,
    'System.JobName': job.name,
    'System.PhaseDisplayName': job.displayName,
    'System.PhaseName': job.name,
    'System.StageDisplayName': stage.displayName,
    'System.StageName': stage.name,
  };
}

/** Puts in the outputs of earlier jobs. One that was not set is empty; a secret one stays secret. */
function resolve(
  values: VariableValues,
  outputOf: (reference: OutputReference) => { readonly value: string; readonly secret: boolean } | undefined,
): { readonly variables: Record<string, string>; readonly secrets: Record<string, string> } {
  const variables: Record<string, string> = {};
  const secrets: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    const output = typeof value === 'string' ? { value, secret: false } : outputOf(value);
    (output?.secret ? secrets : variables)[name] = output?.value ?? '';
  }
  return { variables, secrets };
}
