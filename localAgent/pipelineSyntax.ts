import { quoted, safeText } from '../shared/text/safeText.ts';
import { didYouMean } from './misspelt.ts';
import { inOtherStage, type JobsOfStages, type OwnStage } from './otherStage.ts';
import { withParameters } from './pipelineParameters.ts';
import { checkoutOf, correctedExpression, readCondition, readStep } from './pipelineSteps.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import {
  asList,
  asMap,
  asText,
  asTexts,
  checkKeys,
  parseYaml,
  problemAt,
  readAt,
  readEach,
  readNames,
  readNumber,
  unsupported,
} from './pipelineYaml.ts';
import type { Yaml, YamlMap } from './pipelineYaml.ts';

/** An output variable of a job that ran before, `variable` being `step.name`. */
export interface OutputReference {
  /** Undefined: the job is in the same stage. */
  readonly stage: string | undefined;
  readonly job: string;
  readonly variable: string;
}

/** The jobs or stages, whichever the reference names, whose outputs can be read; undefined: none ever can. */
type Visible = (reference: OutputReference) => readonly string[] | undefined;

/** Says where the outputs of what isn't a job of the same stage are, and how to write the reference; undefined: nowhere. */
type Elsewhere = (reference: OutputReference) => string | undefined;

export type VariableValues = Readonly<Record<string, string | OutputReference>>;

interface Node {
  readonly name: string;
  readonly displayName: string;
  readonly dependsOn: readonly string[];
  readonly condition: string;
}

export interface Stage extends Node {
  /** Those of the file and the stage. */
  readonly variables: VariableValues;
  readonly jobs: readonly Job[];
}

export interface Job extends Node {
  /** What other jobs refer to this one by; the jobs of a matrix share it. */
  readonly phase: string;
  /** What other jobs put before `step.variable` to refer to an output: of a deployment its name, of a matrix the job's key. */
  readonly outputPrefix: string;
  /** Those of the file, the stage and the job. */
  readonly variables: VariableValues;
  /** `pool: server`: Azure DevOps itself does its tasks, without an agent. */
  readonly isAgentless: boolean;
  /** After this the job is cancelled; 0 = never. */
  readonly timeoutInMinutes: number;
  /** The repositories it checks out: `self`, or as the file declares them. */
  readonly checkouts: readonly string[];
  readonly steps: readonly PipelineStep[];
}

export interface Pipeline {
  readonly stages: readonly Stage[];
  /** The names of the repositories the file declares, such as `platform/contracts`, by their names in checkout steps. */
  readonly repositories: ReadonlyMap<string, string>;
}

/** Of an agentless job that says nothing else, or 0. */
const AGENTLESS_MINUTES = 60;
/** Keys that name a run, or say when and where it runs, which has no meaning on this machine. */
const WITHOUT_EFFECT = ['name', 'trigger', 'pr', 'schedules', 'pool', 'lockBehavior', 'appendCommitMessageToRunName'];
const SHAPES = ['stages', 'jobs', 'steps'];
const NODE_KEYS = ['displayName', 'dependsOn', 'condition', 'variables', 'pool'];

/** What parts of a file inherit from their parents. */
interface Inherited {
  readonly variables: VariableValues;
  /** Whether the pool is `server`. */
  readonly isAgentless: boolean;
  readonly jobsOf: JobsOfStages;
}

/**
 * Reads the text of a pipeline file. A file with only jobs has the one stage `__default`, one with only steps also the one job `Job`.
 * @param file what messages call the file
 * @throws Error that names what is wrong or not supported, and where
 */
export function readPipeline(
  text: string,
  parameters: Readonly<Record<string, string>> = {},
  file = 'the file',
): Pipeline {
  const root = withParameters(parseYaml(text, file), parameters);
  const shape = SHAPES.filter((key) => key in root);
  if (shape.length > 1) throw new Error('The file must have only one of stages, jobs, steps.');
  checkKeys(root, ['variables', 'resources', ...WITHOUT_EFFECT, ...(shape.length > 0 ? shape : SHAPES)], 'the file');
  if (shape.length === 0) throw new Error('The file must have one of stages, jobs, steps.');
  const variables = readVariables(root.variables, 'the file', () => undefined);
  const repositories = readRepositories(root.resources ?? {});
  const stages = readStages(root, { variables, isAgentless: isServerPool(root.pool), jobsOf: jobsOfStages(root) });
  for (const repository of stages.flatMap(({ jobs }) => jobs.flatMap(({ checkouts }) => checkouts))) {
    if (repository !== 'self' && !repositories.has(repository))
      throw new Error(`checkout: ${repository}, but the file declares no such repository in its resources.`);
  }
  return { stages, repositories };
}

function isServerPool(pool: Yaml | undefined): boolean {
  return pool === 'server';
}

/** Read before the stages are: what is wrong in them is reported then. */
function jobsOfStages({ stages }: YamlMap): Map<string, readonly string[]> {
  return new Map(
    mappingsIn(stages).flatMap((stage) => {
      const jobs = namesIn(stage.jobs, 'job', 'deployment');
      return typeof stage.stage === 'string' ? [[stage.stage, jobs] as const] : [];
    }),
  );
}

/** What a list's entries have for one of the keys: their names. */
function namesIn(list: Yaml | undefined, ...keys: string[]): string[] {
  return mappingsIn(list).flatMap((entry) => keys.map((key) => entry[key]).filter((name) => typeof name === 'string'));
}

function mappingsIn(list: Yaml | undefined): YamlMap[] {
  return Array.isArray(list) ? (list as readonly Yaml[]).filter(isMapping) : [];
}

function isMapping(value: Yaml): value is YamlMap {
  return typeof value === 'object' && !Array.isArray(value);
}

function readStages(root: YamlMap, inherited: Inherited): Stage[] {
  if (root.stages) {
    const names = readEach(root.stages, 'stages', (entry) => nameOf(entry, 'stage'));
    let index = 0;
    const stages = readEach(root.stages, 'stages', (entry) => {
      const previous = names.slice(0, index++).slice(-1);
      return readStage(entry, previous, names, inherited);
    });
    checkOrder('stage', stages, mappingsIn(root.stages));
    return stages;
  }
  const jobs = root.jobs ?? [{ job: 'Job', steps: root.steps ?? [] }];
  const only = { name: '__default', displayName: '__default', dependsOn: [], condition: 'succeeded()' };
  return [{ ...only, variables: inherited.variables, jobs: readJobs(jobs, only, inherited) }];
}

function readRepositories(resources: Yaml): Map<string, string> {
  const where = 'the resources of the file';
  const { repositories = [], ...others } = asMap(resources, where);
  checkKeys(others, ['pipelines', 'webhooks'], where);
  return new Map(
    asList(repositories, where).map((entry) => {
      const { repository, name } = asMap(entry, where);
      return [asText(repository, where), asText(name ?? repository, where)];
    }),
  );
}

/** @param names of all stages */
function readStage(entry: YamlMap, previous: readonly string[], names: readonly string[], inherited: Inherited): Stage {
  const name = nameOf(entry, 'stage');
  const where = `stage ${name}`;
  checkKeys(entry, ['stage', 'jobs', ...NODE_KEYS], where);
  const dependsOn = 'dependsOn' in entry ? readDependsOn(entry, where, names) : previous;
  const visible: Visible = ({ stage }) => (stage === undefined ? undefined : dependsOn);
  const variables = { ...inherited.variables, ...readVariables(entry.variables, where, visible) };
  const isAgentless = 'pool' in entry ? isServerPool(entry.pool) : inherited.isAgentless;
  return {
    ...readNode(entry, name, where, ['variables', 'dependencies']),
    dependsOn,
    variables,
    jobs: readJobs(entry.jobs ?? [], { name, dependsOn }, { ...inherited, variables, isAgentless }),
  };
}

function readJobs(list: Yaml, stage: OwnStage, inherited: Inherited): Job[] {
  const names = namesIn(list, 'job', 'deployment');
  const phases = readEach(list, 'jobs', (entry) => readJob(entry, stage, names, inherited));
  checkOrder(
    'job',
    phases.flatMap(([job]) => (job ? { ...job, name: job.phase } : [])),
    mappingsIn(list),
  );
  const jobs = phases.flat();
  return jobs.map((job) => ({
    ...job,
    dependsOn: jobs.filter(({ phase }) => job.dependsOn.includes(phase)).map(({ name }) => name),
  }));
}

/**
 * @param names of all jobs of the stage
 * @returns the job, or those of its matrix; they depend on phases
 */
function readJob(entry: YamlMap, own: OwnStage, names: readonly string[], inherited: Inherited): Job[] {
  const isDeployment = 'deployment' in entry;
  const kind = isDeployment ? 'deployment' : 'job';
  const phase = nameOf(entry, kind);
  const where = `job ${phase}`;
  checkKeys(entry, [kind, 'timeoutInMinutes', 'strategy', isDeployment ? 'environment' : 'steps', ...NODE_KEYS], where);
  const dependsOn = readDependsOn(entry, where, names, own.name);
  const visible: Visible = ({ stage }) => (stage === undefined ? dependsOn : own.dependsOn);
  const elsewhere: Elsewhere = (reference) =>
    reference.stage === undefined
      ? inOtherStage(reference, own, inherited.jobsOf, (other) => `$[ ${other} ]`)
      : undefined;

  const strategy = asMap(entry.strategy ?? {}, where);
  const steps = readEach(
    isDeployment ? stepsOfDeployment(strategy, where) : (entry.steps ?? []),
    `the steps of ${where}`,
    (step) => checkoutOf(step, where) ?? readStep(step, where),
  );
  const named = steps.filter((step) => typeof step === 'string');
  const isAgentless = 'pool' in entry ? isServerPool(entry.pool) : inherited.isAgentless;
  const folders = named.filter((repository) => repository !== 'none');
  if (isAgentless && folders.length > 0)
    throw new Error(`In ${where}, nothing can be checked out: with pool: server it has no agent.`);
  const minutes = readNumber(entry, 'timeoutInMinutes', where);
  const read = steps.filter((step) => typeof step === 'object');
  const stepNames = read.map((step) => ('name' in step ? step.name : undefined));
  for (const [index, { source }] of read.entries()) {
    const name = stepNames[index];
    if (name !== undefined && stepNames.indexOf(name) < index)
      throw problemAt(source, `In ${where} two steps are named ${name}. Give this one another name.`, 'name');
  }
  const job: Job = {
    ...readNode(entry, phase, where, ['variables', 'dependencies', 'stageDependencies']),
    phase,
    outputPrefix: isDeployment ? `${phase}.` : '',
    dependsOn,
    variables: { ...inherited.variables, ...readVariables(entry.variables, where, visible, elsewhere) },
    isAgentless,
    timeoutInMinutes: minutes === 0 && isAgentless ? AGENTLESS_MINUTES : minutes,
    // A deployment checks out nothing on its own.
    checkouts: named.length === 0 && !isDeployment && !isAgentless ? ['self'] : folders,
    steps: read,
  };
  return isDeployment || !entry.strategy ? [job] : matrixOf(job, strategy, where);
}

function stepsOfDeployment(strategy: YamlMap, where: string): Yaml {
  checkKeys(strategy, ['runOnce'], where);
  const runOnce = asMap(strategy.runOnce ?? {}, where);
  checkKeys(runOnce, ['deploy'], where);
  const deploy = asMap(runOnce.deploy ?? {}, where);
  checkKeys(deploy, ['steps'], where);
  return deploy.steps ?? [];
}

function matrixOf(job: Job, strategy: YamlMap, where: string): Job[] {
  checkKeys(strategy, ['matrix'], where);
  const matrix = Object.entries(asMap(strategy.matrix ?? {}, where));
  if (matrix.length === 0) throw unsupported('a matrix of nothing', where);
  return matrix.map(([key, variables]) => ({
    ...job,
    name: `${job.name} ${key}`,
    displayName: `${job.displayName} ${key}`,
    outputPrefix: `${key}.`,
    variables: { ...job.variables, ...asTexts(variables ?? '', where) },
  }));
}

function readNode(
  entry: YamlMap,
  name: string,
  where: string,
  roots: readonly string[],
): Pick<Node, 'name' | 'displayName' | 'condition'> {
  return {
    name,
    displayName: asText(entry.displayName ?? name, where),
    condition: readCondition(entry, where, roots),
  };
}

/** The variables of a group come with the run: what it holds is not part of the file. */
function readVariables(
  entry: Yaml | undefined,
  where: string,
  visible: Visible,
  elsewhere: Elsewhere = () => undefined,
): VariableValues {
  const read = (map: object, value: string, key: string): string | OutputReference =>
    readAt(map, () => readValue(value, where, visible, elsewhere), key);
  if (!Array.isArray(entry)) {
    const pairs = Object.entries(asTexts(entry ?? {}, where));
    return Object.fromEntries(pairs.map(([name, value]) => [name, read(Object(entry) as object, value, name)]));
  }
  const items = (entry as readonly Yaml[]).flatMap((item) => {
    const variable = asTexts(item, where);
    checkKeys(variable, 'group' in variable ? ['group'] : ['name', 'value', 'readonly'], `the variables of ${where}`);
    const { name = '', value = '' } = variable;
    return 'group' in variable ? [] : [[name, read(Object(item) as object, value, 'value')] as const];
  });
  return Object.fromEntries(items);
}

function referenceIn(value: string): Readonly<Partial<Record<string, string>>> | undefined {
  const sameStage = /^\$\[\s*dependencies\.(?<job>\w+)\.outputs\['(?<variable>[^']+)'\]\s*\]$/;
  const otherStage = /^\$\[\s*stageDependencies\.(?<stage>\w+)\.(?<job>\w+)\.outputs\['(?<variable>[^']+)'\]\s*\]$/;
  return (sameStage.exec(value) ?? otherStage.exec(value))?.groups;
}

/** Says how to write a reference that has a mistake, if that can be told. */
function wrongReference(value: string, where: string, visible: Visible, elsewhere: Elsewhere): Error {
  const wrong = (remedy: string): Error =>
    new Error(safeText(`The variables of ${where} have a mistake: ${value}. ${remedy}`));
  const meant = correctedExpression(value);
  if (referenceIn(meant)) return wrong(`Write ${meant}`);
  const withoutStage = /^\$\[\s*stageDependencies\.(\w+)\.(outputs\['([^']+)'\])\s*\]$/.exec(meant);
  if (!withoutStage) return unsupported(value, `the variables of ${where}`);
  const [, job = '', outputs = '', variable = ''] = withoutStage;
  const reference = { stage: undefined, job, variable };
  const root = visible(reference)?.includes(job) ? 'dependencies' : 'stageDependencies.STAGE';
  return wrong(elsewhere(reference) ?? `Write $[ ${root}.${job}.${outputs} ]`);
}

function readValue(value: string, where: string, visible: Visible, elsewhere: Elsewhere): string | OutputReference {
  if (!value.includes('$[')) return value;
  const found = referenceIn(value);
  if (!found) throw wrongReference(value, where, visible, elsewhere);
  const reference = { stage: found.stage, job: found.job ?? '', variable: found.variable ?? '' };
  const names = visible(reference);
  const needed = reference.stage ?? reference.job;
  if (names?.includes(needed)) return reference;
  const kind = reference.stage === undefined ? 'job' : 'stage';
  const problem = `In the variables of ${where}, ${value} has no value: `;
  if (names === undefined) throw new Error(`${problem}put it into the variables of the job that uses it.`);
  const place = elsewhere(reference);
  if (place !== undefined) throw new Error(`${problem}${place}`);
  const remedy = didYouMean(needed, names) || ` Add ${needed} to the ${kind}'s dependsOn.`;
  throw new Error(`${problem}${where} doesn't depend on a ${kind} ${needed}.${remedy}`);
}

/**
 * Reads what a job or stage depends on.
 * @param names of all jobs or stages that it could depend on
 * @param stage of a job; the only one of a file without stages is no name that its author knows
 */
function readDependsOn(entry: YamlMap, where: string, names: readonly string[], stage = '__default'): string[] {
  const dependsOn = readNames(entry.dependsOn ?? [], where);
  const missing = dependsOn.find((name) => !names.includes(name));
  if (missing === undefined) return dependsOn;
  const others = names.filter((name) => !where.endsWith(` ${name}`));
  const place = stage === '__default' ? '' : ` in stage ${stage}`;
  const problem = `${where} depends on ${quoted(missing)}, which doesn't exist${place}.${didYouMean(missing, others)}`;
  throw problemAt(entry, problem, 'dependsOn');
}

/**
 * Checks that the jobs of a stage, or all stages, have different names and can run one after the other.
 * @param entries theirs, in the same order
 */
function checkOrder(
  kind: 'job' | 'stage',
  nodes: readonly Pick<Node, 'name' | 'dependsOn'>[],
  entries: readonly YamlMap[],
): void {
  const names = nodes.map(({ name }) => name);
  const fail = (index: number, problem: string, key?: string): never => {
    throw problemAt(entries[index] ?? {}, problem, key);
  };
  const again = names.findIndex((name, index) => names.indexOf(name) < index);
  if (again >= 0) fail(again, `Two ${kind}s are named ${names[again]}. Give this one another name.`);
  const ready = new Set<string>();
  for (let pending = nodes; pending.length > 0; pending = pending.filter(({ name }) => !ready.has(name))) {
    const next = pending.filter(({ dependsOn }) => dependsOn.every((name) => ready.has(name)));
    next.forEach(({ name }) => ready.add(name));
    if (next.length > 0) continue;
    const [first = '', ...others] = circleIn(pending);
    const problem =
      others.length === 1
        ? `${kind} ${first} depends on itself.`
        : `The ${kind}s ${[first, ...others].join(' → ')} wait for each other.`;
    fail(names.indexOf(first), `${problem} Take one out of a dependsOn.`, 'dependsOn');
  }
}

/** The names along a circle, the first one again at the end; each of the nodes depends on another of them, or on itself. */
function circleIn(nodes: readonly Pick<Node, 'name' | 'dependsOn'>[]): string[] {
  const path: string[] = [];
  for (let node = nodes[0]; node !== undefined;) {
    const { name, dependsOn } = node;
    path.push(name);
    if (path.indexOf(name) < path.length - 1) return path.slice(path.indexOf(name));
    node = nodes.find((other) => dependsOn.includes(other.name));
  }
  return path;
}

function nameOf(entry: YamlMap, kind: 'stage' | 'job' | 'deployment'): string {
  const name = asText(entry[kind] ?? '', `a ${kind}`);
  if (!/^\w+$/.test(name))
    throw new Error(`A ${kind} needs a name of letters, digits and underscores: ${JSON.stringify(entry)}`);
  return name;
}
