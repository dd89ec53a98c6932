import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Condition, parseCondition } from './conditions.ts';
import { type End, LostSenders } from './lostSenders.ts';
import { LocalAgent } from './localAgent.ts';
import type { LocalAgentOptions, StepRun } from './localAgent.ts';
import { THIS_MACHINE } from './machine.ts';
import { unsetInCondition } from './misspeltOutputs.ts';
import { inOtherStage } from './otherStage.ts';
import { checkPipeline, OtherTasksError, sourcesOf } from './pipelineChecks.ts';
import type { OtherTask, Sources } from './pipelineChecks.ts';
import { lookUp, overall, resultOfPhase, resultsOf, worst } from './pipelineResults.ts';
import type { FinishedJob, FinishedStage, JobRun, Output } from './pipelineResults.ts';
import { readPipeline } from './pipelineSyntax.ts';
import type { Job, OutputReference, Stage, VariableValues } from './pipelineSyntax.ts';
import { usesOf } from './pipelineUses.ts';
import { pipelineWarnings } from './pipelineWarnings.ts';
import { startPlanServices } from './planService.ts';
import type { LocalPlan, PlanService } from './planService.ts';
import { pipelineTime, predefinedVariables } from './predefinedVariables.ts';
import { isGood, type LogLine, type Result } from './step.ts';
import { hasTask } from './taskDefinition.ts';
import { scriptMaySet, whyNoStepSetsIt } from './unsetOutputs.ts';
import { extensionFolder } from './vsix.ts';

export interface PipelineFileOptions extends Omit<LocalAgentOptions, 'sources'>, Sources {
  /** What messages call the file; its name when absent. */
  readonly shownFile?: string;
  /** Values of the file's parameters. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Leaves out the steps that only Azure Pipelines itself can run; without it they are an error. */
  readonly skipOtherTasks?: boolean;
  /** Called for each step that is left out, before any other begins. */
  readonly onSkip?: (step: OtherTask) => void;
  /** Called for each line the moment a step logs it, with the job's sources folder. */
  readonly onLine?: (line: LogLine, job: string, sources: string) => void;
}

export interface PipelineRun {
  readonly result: Result;
  /** In the order of the file. */
  readonly jobs: readonly JobRun[];
}

/**
 * Runs the jobs of an Azure Pipelines file, each on an agent of its own, or on none where its pool is `server`; jobs that do not
 * depend on each other run at the same time. It reads what pipelines around the tasks of this project use: stages, jobs, `strategy.matrix`, deployment jobs that run
 * once, `dependsOn`, `condition`, parameters, variables, `task`, `script`, `bash` and `checkout` steps, and outputs of earlier
 * jobs and stages as variables.
 * @param file path of the YAML file
 * @throws Error that names anything in the file that is not supported or that the service would refuse, before any step runs
 */
export async function runPipelineFile(file: string, options: PipelineFileOptions): Promise<PipelineRun> {
  const { pipeline, extension, others } = checkPipelineFile(file, options);
  const { stages, repositories } = pipeline;
  const folders = new Map(
    stages.flatMap(({ jobs }) => jobs.map((job) => [job, sourcesOf(job, repositories, options)] as const)),
  );
  others.forEach((step) => options.onSkip?.(step));
  const warn = (job: string, text: string): void =>
    options.onLine?.({ at: Date.now(), text: `##[warning]${text}` }, job, options.sources);
  const uses = usesOf(stages, extension, options.variables);
  for (const { job, text } of pipelineWarnings(pipeline, uses)) warn(job, text);
  const senders = new LostSenders(stages, uses, warn);

  const run = { 'System.PlanId': randomUUID(), 'System.PipelineStartTime': pipelineTime(new Date()) };
  const ofService = predefinedVariables({ work: '', sources: '', temp: '', tools: '' }, '', THIS_MACHINE);
  await using started = await startPlanServices(organizationsOf(stages, options.connections), {
    id: run['System.PlanId'],
    ...ownerOf({ ...ofService, ...options.variables }),
  });
  const statusAfter = (before: ReadonlyMap<string, { readonly result: Result }>): Result =>
    options.signal?.aborted ? 'Canceled' : worst(resultsOf(before));

  const jobsOf = new Map(stages.map(({ name, jobs }) => [name, jobs.map(({ phase }) => phase)]));
  const warned = new Set<string>();
  /** Looks up what a job or stage reads of those before it. Warns once of each name that is probably misspelt. */
  const outputsFor =
    (
      reader: string,
      stage: Stage,
      stagesBefore: ReadonlyMap<string, FinishedStage>,
      jobsBefore?: FinishedStage['jobs'],
    ) =>
    (path: readonly string[]): Output | undefined => {
      const { output, warning } = lookUp(path, stagesBefore, jobsBefore, (reference) =>
        jobsOf.get(stage.name)?.includes(reference.job)
          ? `the job doesn't depend on ${reference.job}. Add ${reference.job} to its dependsOn.`
          : inOtherStage(reference, stage, jobsOf, (other) => other),
      );
      if (warning !== undefined && !warned.has(warning)) {
        warned.add(warning);
        warn(reader, warning);
      }
      return output;
    };

  /** Whether the condition of a job or stage holds. Warns of variables in it that nothing has set. */
  const holds = (reader: string, condition: Condition, read: Readable): boolean => {
    const unset = new Set<string>();
    const valueAt = ([root = '', ...path]: readonly string[]): string | undefined => {
      if (root !== 'variables') return read.outputAt([root, ...path])?.value;
      const value = variableOf(read.variables, path);
      if (value === undefined) unset.add(path.join('.'));
      return value;
    };
    const result = condition({ status: read.status, resultOf: read.resultOf, valueAt });
    const known = [read.variables, read.secrets, options.secrets].flatMap((values) => Object.keys(values ?? {}));
    const isDecisive = !result && isGood(read.status);
    for (const warning of unsetInCondition({ unset, known, isDecisive })) warn(reader, warning);
    return result;
  };

  const finished = await runGraph(stages, async (stage, stagesBefore): Promise<FinishedStage> => {
    const outputAt = outputsFor(stage.name, stage, stagesBefore);
    const { variables: ofStage } = resolve(stage.variables, outputAt);
    const stageRuns = holds(stage.name, parseCondition(stage.condition, ['variables', 'dependencies']), {
      status: statusAfter(stagesBefore),
      variables: { ...ofService, ...ofStage, ...options.variables },
      resultOf: (name) => stagesBefore.get(name)?.result,
      outputAt,
    });
    if (!stageRuns) {
      stage.jobs.forEach((job) => senders.skip(job));
      return { result: 'Skipped', jobs: new Map() };
    }

    const jobs = await runGraph(stage.jobs, async (job, jobsBefore): Promise<FinishedJob> => {
      const { name, phase, outputPrefix } = job;
      const named = job.steps.flatMap((step) => ('name' in step ? (step.name ?? []) : []));
      const identity = { stage: stage.name, name, phase, outputPrefix, stepNames: named };
      const outputOfJobAt = outputsFor(name, stage, stagesBefore, jobsBefore);
      const values = resolve(job.variables, outputOfJobAt);
      const variables = { ...run, ...jobIdentity(stage, job), ...values.variables, ...options.variables };
      const jobCondition = parseCondition(job.condition, ['variables', 'dependencies', 'stageDependencies']);
      const jobRuns = holds(name, jobCondition, {
        status: statusAfter(jobsBefore),
        variables: { ...ofService, ...variables },
        secrets: values.secrets,
        resultOf: (phaseName) => resultOfPhase(jobsBefore, phaseName),
        outputAt: outputOfJobAt,
      });
      if (!jobRuns) {
        senders.skip(job);
        return { ...identity, result: 'Skipped', steps: [], outputs: new Map() };
      }

      // A job that runs in spite of an earlier cancel isn't cancelled again.
      const signals = options.signal && !options.signal.aborted ? [options.signal] : [];
      if (job.timeoutInMinutes > 0) signals.push(AbortSignal.timeout(job.timeoutInMinutes * 60_000));
      const agent = new LocalAgent({
        ...options,
        sources: folders.get(job),
        extension,
        signal: AbortSignal.any(signals),
        variables,
        secrets: { ...values.secrets, ...options.secrets },
        whyUnset: (variable, written) => whyNoStepSetsIt(variable, { stages, stage, job, extension }, written),
        maySet: (variable) => scriptMaySet(variable, { stages, stage, job, extension }),
      });
      const steps = await runSteps(job, agent, extension, started.services, senders, options.onLine);
      const stepNames = [...named, ...steps.map((step) => step.name)];
      return { ...identity, stepNames, steps, result: agent.jobStatus, outputs: agent.outputs };
    });
    return { result: overall(resultsOf(jobs)), jobs };
  });

  const jobs = [...finished.values()].flatMap((stage) => [...stage.jobs.values()]);
  return {
    result: overall(jobs.map(({ result }) => result)),
    jobs: jobs.map(({ stage, name, result, steps }) => ({ stage, name, result, steps })),
  };
}

/** What the condition of a job or stage can read. */
interface Readable {
  readonly status: Result;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Which a condition can't read. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly resultOf: (name: string) => Result | undefined;
  readonly outputAt: (path: readonly string[]) => Output | undefined;
}

/** Reads a pipeline file, and unpacks the extension that its tasks are from. Throws an Error as {@link readPipeline} does. */
export function readPipelineFile(file: string, { parameters, shownFile, extension }: PipelineFileOptions) {
  const pipeline = readPipeline(readFileSync(file, 'utf8'), parameters, shownFile ?? path.basename(file));
  return { pipeline, extension: extensionFolder(extension) };
}

/**
 * Reads a pipeline file and checks it as far as can be told before a run.
 * @throws Error as {@link runPipelineFile} does
 */
export function checkPipelineFile(file: string, options: PipelineFileOptions) {
  const { pipeline, extension } = readPipelineFile(file, options);
  const others = checkPipeline(pipeline, extension, options);
  if (others.length > 0 && !options.skipOtherTasks) throw new OtherTasksError(others);
  checkInspected(pipeline.stages, options.inspect?.step);
  return { pipeline, extension, others };
}

/** Where bridges look for the plan of a run with agentless jobs. */
function organizationsOf(stages: readonly Stage[], connections: PipelineFileOptions['connections'] = {}): string[] {
  if (!stages.some(({ jobs }) => jobs.some(({ isAgentless }) => isAgentless))) return [];
  return Object.values(connections).flatMap(({ organization }) => organization ?? []);
}

/** What identifies the run, from its variables. */
function ownerOf(variables: Readonly<Record<string, string | undefined>>): Pick<LocalPlan, 'project' | 'pipeline'> {
  const value = (...path: readonly string[]): string => variableOf(variables, path) ?? '';
  return {
    project: { id: value('System', 'TeamProjectId'), name: value('System', 'TeamProject') },
    pipeline: { id: Number(value('System', 'DefinitionId')), name: value('Build', 'DefinitionName') },
  };
}

function checkInspected(stages: readonly Stage[], inspected: string | undefined): void {
  const steps = stages.flatMap(({ jobs }) => jobs.flatMap((job) => job.steps)).filter((step) => 'task' in step);
  if (inspected === undefined || steps.some((step) => [step.name, step.displayName].includes(inspected))) return;
  throw new Error(`No step of a task has the name or display name "${inspected}".`);
}

async function runSteps(
  job: Job,
  agent: LocalAgent,
  extension: string,
  services: ReadonlyMap<string, PlanService>,
  senders: LostSenders,
  onLine: PipelineFileOptions['onLine'],
): Promise<StepRun[]> {
  const runs: StepRun[] = [];
  const watched = onLine ? { onLine: (line: LogLine) => onLine(line, job.name, agent.folders.sources) } : {};
  for (const step of job.steps) {
    if ('other' in step || ('task' in step && !hasTask(extension, step.task))) continue;
    const request = { ...step, ...watched, onStart: () => senders.begin(job, step) };
    const run = !('task' in request)
      ? await agent.runScript(request)
      : await (job.isAgentless ? agent.runServerTask(request, services) : agent.runTask(request));
    senders.end(job, step, endOf(run));
    runs.push(run);
  }
  return runs;
}

/** A step that may fail has issues then. */
function endOf({ result, errors }: StepRun): End {
  if (result === 'Skipped') return 'skipped';
  const hasFailed = ['Failed', 'Canceled'].includes(result) || (result === 'SucceededWithIssues' && errors.length > 0);
  return hasFailed ? 'failed' : 'done';
}

/** Runs each node once those it depends on have ended; it sees all that came before it. The result has the order of the nodes. */
async function runGraph<N extends { readonly name: string; readonly dependsOn: readonly string[] }, R>(
  nodes: readonly N[],
  run: (node: N, before: ReadonlyMap<string, R>) => Promise<R>,
): Promise<Map<string, R>> {
  const started = new Map<string, Promise<ReadonlyMap<string, R>>>();
  /** Resolves with the results of all before the node, and its own at the end. */
  const start = (node: N): Promise<ReadonlyMap<string, R>> => {
    const known = started.get(node.name);
    if (known) return known;
    const dependencies = nodes.filter(({ name }) => node.dependsOn.includes(name));
    const running = Promise.all(dependencies.map(start)).then(async (ended) => {
      const before = new Map(ended.flatMap((results) => [...results]));
      return new Map([...before, [node.name, await run(node, before)]]);
    });
    started.set(node.name, running);
    return running;
  };
  const ended = await Promise.all(nodes.map(start));
  return new Map(ended.flatMap((results) => [...results].slice(-1)));
}

function jobIdentity(stage: Stage, job: Job): Record<string, string> {
  return {
    'Agent.JobName': job.displayName,
    'System.JobDisplayName': job.displayName,
    'System.JobName': job.name.slice(job.name.indexOf(' ') + 1),
    ...(job.timeoutInMinutes > 0 ? { 'System.JobTimeout': String(job.timeoutInMinutes) } : {}),
    'System.PhaseDisplayName': job.displayName,
    'System.PhaseName': job.phase,
    'System.StageDisplayName': stage.displayName,
    'System.StageName': stage.name,
  };
}

function variableOf(
  variables: Readonly<Record<string, string | undefined>>,
  path: readonly string[],
): string | undefined {
  const wanted = path.join('.').toLowerCase();
  return Object.entries(variables).findLast(([name]) => name.toLowerCase() === wanted)?.[1];
}

function pathOf({ stage, job, variable }: OutputReference): string[] {
  return [...(stage === undefined ? ['dependencies'] : ['stageDependencies', stage]), job, 'outputs', variable];
}

/** Puts in the outputs of earlier jobs. One that was not set is empty; a secret one stays secret. */
function resolve(
  values: VariableValues,
  outputAt: (path: readonly string[]) => Output | undefined,
): { readonly variables: Record<string, string>; readonly secrets: Record<string, string> } {
  const variables: Record<string, string> = {};
  const secrets: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    const output = typeof value === 'string' ? { value, secret: false } : outputAt(pathOf(value));
    (output?.secret ? secrets : variables)[name] = output?.value ?? '';
  }
  return { variables, secrets };
}
