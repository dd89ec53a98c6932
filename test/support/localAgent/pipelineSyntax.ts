import { parse } from 'yaml';
import { CONDITIONS } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { ScriptRequest, TaskRequest } from './localAgent.ts';

/** An output variable of a job that ran before, `variable` being `step.name`. */
export interface OutputReference {
  /** Undefined: the job is in the same stage. */
  readonly stage: string | undefined;
  readonly job: string;
  readonly variable: string;
}

export type VariableValues = Readonly<Record<string, string | OutputReference>>;

interface Node {
  readonly name: string;
  readonly displayName: string;
  readonly dependsOn: readonly string[];
  readonly condition: Condition;
}

export interface Stage extends Node {
  readonly jobs: readonly Job[];
}

export interface Job extends Node {
  /** Those of the file, the stage and the job. */
  readonly variables: VariableValues;
  /** After this the job is cancelled; 0 = never. */
  readonly timeoutInMinutes: number;
  readonly steps: readonly (TaskRequest | ScriptRequest)[];
}

/** Every scalar is text, as the file spells it. */
type Yaml = string | readonly Yaml[] | YamlMap;
type YamlMap = Readonly<Partial<{ [key: string]: Yaml }>>;

/** Keys that name a run, or say when and where it runs, which has no meaning on this machine. */
const WITHOUT_EFFECT = ['name', 'trigger', 'pr', 'schedules', 'pool'];
const NODE_KEYS = ['displayName', 'dependsOn', 'condition', 'variables', 'pool'];
const STEP_KEYS = [
  'displayName',
  'name',
  'env',
  'condition',
  'enabled',
  'continueOnError',
  'timeoutInMinutes',
  'retryCountOnTaskFailure',
];
const SCRIPTS = ['script', 'bash'] as const;

/**
 * Reads the text of a pipeline file. A file with only jobs has the one stage `__default`, one with only steps also the one job `Job`.
 * @throws Error that names what is wrong or not supported, and where
 */
export function readStages(text: string): Stage[] {
  // Azure Pipelines has no anchors and aliases.
  const root = asMap(parse(text, { schema: 'failsafe', maxAliasCount: 0 }), 'the file');
  refuseTemplates(root);
  const shape = ['stages', 'jobs', 'steps'].filter((key) => key in root);
  if (shape.length !== 1) throw new Error('The file must have one of stages, jobs, steps.');
  checkKeys(root, ['variables', ...WITHOUT_EFFECT, ...shape], 'the file');
  const variables = readVariables(root.variables, 'the file', () => false);

  if (root.stages) {
    const entries = asList(root.stages, 'stages').map((entry) => asMap(entry, 'a stage'));
    const names = entries.map((entry) => nameOf(entry, 'stage'));
    const stages = entries.map((entry, i) => readStage(entry, i === 0 ? [] : [names[i - 1]!], variables));
    checkDependencies(stages);
    return stages;
  }
  const only = { name: '__default', displayName: '__default', dependsOn: [], condition: 'succeeded()' } as const;
  const jobs = root.jobs
    ? readJobs(root.jobs, [], variables)
    : [readJob({ job: 'Job', steps: root.steps! }, [], variables)];
  return [{ ...only, jobs }];
}

function readStage(entry: YamlMap, previous: readonly string[], inherited: VariableValues): Stage {
  const name = nameOf(entry, 'stage');
  const where = `stage ${name}`;
  checkKeys(entry, ['stage', 'jobs', ...NODE_KEYS], where);
  const dependsOn = 'dependsOn' in entry ? readNames(entry.dependsOn, where) : previous;
  const isVisible = (reference: OutputReference): boolean =>
    reference.stage !== undefined && dependsOn.includes(reference.stage);
  const variables = { ...inherited, ...readVariables(entry.variables, where, isVisible) };
  return {
    ...readNode(entry, name, where),
    dependsOn,
    jobs: readJobs(entry.jobs ?? [], dependsOn, variables),
  };
}

function readJobs(list: Yaml, stagesBefore: readonly string[], inherited: VariableValues): Job[] {
  const jobs = asList(list, 'jobs').map((entry) => readJob(asMap(entry, 'a job'), stagesBefore, inherited));
  checkDependencies(jobs);
  return jobs;
}

function readJob(entry: YamlMap, stagesBefore: readonly string[], inherited: VariableValues): Job {
  const name = nameOf(entry, 'job');
  const where = `job ${name}`;
  checkKeys(entry, ['job', 'steps', 'timeoutInMinutes', ...NODE_KEYS], where);
  const dependsOn = readNames(entry.dependsOn ?? [], where);
  const isVisible = ({ stage, job }: OutputReference): boolean =>
    stage === undefined ? dependsOn.includes(job) : stagesBefore.includes(stage);
  const variables = { ...inherited, ...readVariables(entry.variables, where, isVisible) };
  const steps = asList(entry.steps ?? [], where).flatMap((step) => readStep(asMap(step, `a step of ${where}`), where));
  const names = steps.flatMap((step) => step.name ?? []);
  for (const step of names) {
    if (names.indexOf(step) !== names.lastIndexOf(step)) throw new Error(`In ${where} two steps are named ${step}.`);
  }
  const timeoutInMinutes = readNumber(entry, 'timeoutInMinutes', where);
  return { ...readNode(entry, name, where), dependsOn, variables, timeoutInMinutes, steps };
}

function readNode(entry: YamlMap, name: string, where: string): Pick<Node, 'name' | 'displayName' | 'condition'> {
  return { name, displayName: asText(entry.displayName ?? name, where), condition: readCondition(entry, where) };
}

/** @returns no step for a checkout, as the sources are there, and for a step that is not enabled */
function readStep(entry: YamlMap, job: string): (TaskRequest | ScriptRequest)[] {
  const where = `a step of ${job}`;
  if ('checkout' in entry) {
    checkKeys(entry, ['checkout'], where);
    const repository = asText(entry.checkout, where);
    if (repository !== 'self' && repository !== 'none') throw unsupported(`checkout: ${repository}`, where);
    return [];
  }
  const scriptKey = SCRIPTS.find((key) => key in entry);
  if (!scriptKey && !('task' in entry)) throw unsupported(`a step with the keys ${Object.keys(entry).join(', ')}`, job);
  checkKeys(entry, [...STEP_KEYS, ...(scriptKey ? [scriptKey, 'workingDirectory'] : ['task', 'inputs'])], where);

  const text = (key: string): string | undefined => (key in entry ? asText(entry[key], where) : undefined);
  const [name, displayName, workingDirectory] = [text('name'), text('displayName'), text('workingDirectory')];
  const common = {
    ...(name !== undefined && { name }),
    ...(displayName !== undefined && { displayName }),
    env: asTexts(entry.env ?? {}, where),
    condition: readCondition(entry, where),
    continueOnError: readFlag(entry, 'continueOnError', false, where),
    timeoutInMinutes: readNumber(entry, 'timeoutInMinutes', where),
    retryCountOnTaskFailure: readNumber(entry, 'retryCountOnTaskFailure', where),
  };
  if (!readFlag(entry, 'enabled', true, where)) return [];
  if (!scriptKey) return [{ ...common, task: text('task')!, inputs: asTexts(entry.inputs ?? {}, where) }];
  return [{ ...common, script: text(scriptKey)!, ...(workingDirectory !== undefined && { workingDirectory }) }];
}

function readCondition(entry: YamlMap, where: string): Condition {
  const text = asText(entry.condition ?? 'succeeded()', where);
  const condition = CONDITIONS.find((known) => known.toLowerCase() === text.replace(/\s/g, '').toLowerCase());
  if (!condition) throw unsupported(`condition: ${text}`, where);
  return condition;
}

function readVariables(
  entry: Yaml | undefined,
  where: string,
  isVisible: (reference: OutputReference) => boolean,
): VariableValues {
  const pairs = Array.isArray(entry)
    ? (entry as readonly Yaml[]).map((item) => {
        const variable = asTexts(item, where);
        checkKeys(variable, ['name', 'value'], `the variables of ${where}`);
        return [variable.name ?? '', variable.value ?? ''] as const;
      })
    : Object.entries(asTexts(entry ?? {}, where));
  return Object.fromEntries(pairs.map(([name, value]) => [name, readValue(value, where, isVisible)]));
}

function readValue(
  value: string,
  where: string,
  isVisible: (reference: OutputReference) => boolean,
): string | OutputReference {
  if (!value.includes('$[')) return value;
  const sameStage = /^\$\[\s*dependencies\.(?<job>\w+)\.outputs\['(?<variable>[^']+)'\]\s*\]$/;
  const otherStage = /^\$\[\s*stageDependencies\.(?<stage>\w+)\.(?<job>\w+)\.outputs\['(?<variable>[^']+)'\]\s*\]$/;
  const found = (sameStage.exec(value) ?? otherStage.exec(value))?.groups;
  if (!found) throw unsupported(value, `the variables of ${where}`);
  const reference = { stage: found.stage, job: found.job!, variable: found.variable! };
  if (!isVisible(reference))
    throw new Error(`In the variables of ${where}, ${value} names what ${where} does not depend on.`);
  return reference;
}

function refuseTemplates(node: Yaml): void {
  if (typeof node === 'string') {
    if (node.includes('${{')) throw unsupported(`a template expression: ${node}`, 'the file');
  } else {
    for (const [key, value] of Object.entries(node)) [key, value!].forEach(refuseTemplates);
  }
}

function checkKeys(entry: YamlMap, allowed: readonly string[], where: string): void {
  const other = Object.keys(entry).find((key) => !allowed.includes(key));
  if (other !== undefined) throw unsupported(`"${other}"`, where);
}

function checkDependencies(nodes: readonly Node[]): void {
  const ready = new Set<string>();
  for (let pending = nodes; pending.length > 0;) {
    const next = pending.filter(({ dependsOn }) => dependsOn.every((name) => ready.has(name)));
    if (next.length === 0) throw new Error(`${pending[0]!.name} depends on what is not there, or on itself.`);
    for (const { name } of next) {
      if (ready.has(name)) throw new Error(`Two of the same kind are named ${name}.`);
      ready.add(name);
    }
    pending = pending.filter(({ name }) => !ready.has(name));
  }
}

function nameOf(entry: YamlMap, kind: 'stage' | 'job'): string {
  const name = asText(entry[kind] ?? '', `a ${kind}`);
  if (!/^\w+$/.test(name))
    throw new Error(`A ${kind} needs a name of letters, digits and underscores: ${JSON.stringify(entry)}`);
  return name;
}

function readNames(value: Yaml, where: string): string[] {
  if (typeof value === 'string') return value ? [value] : [];
  return asList(value, where).map((name) => asText(name, where));
}

function readFlag(entry: YamlMap, key: string, otherwise: boolean, where: string): boolean {
  const text = asText(entry[key] ?? String(otherwise), where).toLowerCase();
  if (text !== 'true' && text !== 'false') throw unsupported(`${key}: ${text}`, where);
  return text === 'true';
}

function readNumber(entry: YamlMap, key: string, where: string): number {
  const text = asText(entry[key] ?? '0', where);
  if (!/^\d+(\.\d+)?$/.test(text)) throw unsupported(`${key}: ${text}`, where);
  return Number(text);
}

function asText(value: Yaml | undefined, where: string): string {
  if (typeof value !== 'string') throw new Error(`In ${where}, text was expected instead of ${JSON.stringify(value)}.`);
  return value;
}

function asList(value: Yaml, where: string): readonly Yaml[] {
  if (!Array.isArray(value)) throw new Error(`In ${where}, a list was expected instead of ${JSON.stringify(value)}.`);
  return value as readonly Yaml[];
}

function asMap(value: unknown, where: string): YamlMap {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new Error(`In ${where}, a mapping was expected instead of ${JSON.stringify(value)}.`);
  }
  return value as YamlMap;
}

function asTexts(value: Yaml, where: string): Record<string, string> {
  return Object.fromEntries(Object.entries(asMap(value, where)).map(([key, text]) => [key, asText(text, where)]));
}

function unsupported(what: string, where: string): Error {
  return new Error(`Not supported in ${where}: ${what}`);
}
