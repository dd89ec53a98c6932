import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted, safeText } from '../shared/text/safeText.ts';
import type { Connection } from './connections.ts';
import { didYouMean } from './misspelt.ts';
import { type PipelineStep, STEP_KEYS } from './pipelineSteps.ts';
import type { YamlMap } from './pipelineYaml.ts';
import {
  connectionNames,
  findTask,
  hasTask,
  inputNamed,
  isServerTask,
  misspeltTask,
  type TaskDefinition,
  unknownInput,
} from './taskDefinition.ts';
import type { Variables } from './variables.ts';

type Connections = Readonly<Record<string, Connection>>;
type TaskStep = Extract<PipelineStep, { readonly task: string }>;

export interface StepProblem {
  readonly problem: string;
  /** The step, or its inputs. */
  readonly entry: YamlMap;
  /** Where in the entry. */
  readonly key?: string;
  /** Whether the run has it, whatever the number of steps that meet it. */
  readonly isOfRun?: boolean;
}

/** What a step is checked against. */
interface Surroundings {
  readonly isAgentless: boolean;
  readonly extension: string;
  readonly connections: Connections;
  /** The variables that have a value before the run. */
  readonly known: Variables;
}

/** What only Azure Pipelines itself can run, such as `AzureKeyVault@2`; undefined for any other step. */
export function otherTaskOf(step: PipelineStep, extension: string): string | undefined {
  if ('other' in step) return step.other;
  return 'task' in step && !hasTask(extension, step.task) ? step.task : undefined;
}

/** A step's problems, in sentences. */
export function problemsOf(
  step: PipelineStep,
  { isAgentless, extension, connections, known }: Surroundings,
): StepProblem[] {
  const { source: entry } = step;
  if ('other' in step) return [];
  if (!('task' in step))
    return isAgentless ? [{ entry, problem: 'Scripts need an agent, and a job with pool: server has none.' }] : [];
  if (!hasTask(extension, step.task)) {
    const problem = misspeltTask(extension, step.task);
    return problem === undefined ? keyProblems(step, undefined) : [{ entry, key: 'task', problem }];
  }
  const { definition } = findTask(extension, step.task);
  const misspelt = [...keyProblems(step, definition), ...unknownInputs(step, definition)];
  return [
    ...poolProblems(step, isServerTask(definition), isAgentless),
    ...misspelt,
    ...connectionProblems(step, definition, connections, known),
    // One that is misspelt or in the wrong place isn't missing.
    ...(misspelt.length > 0 ? [] : missingInputs(step, definition)),
  ];
}

function poolProblems(
  { source: entry, task, ...step }: TaskStep,
  isServer: boolean,
  isAgentless: boolean,
): StepProblem[] {
  if (isServer !== isAgentless) {
    const problem = isAgentless
      ? `${task} needs an agent, and a job with pool: server has none.`
      : `${task} runs without an agent: give it a job of its own with pool: server.`;
    return [{ entry, key: 'task', problem }];
  }
  if (!isAgentless || !step.retryCountOnTaskFailure) return [];
  const key = 'retryCountOnTaskFailure';
  return [{ entry, key, problem: `${task}: ${key} has no effect in a job with pool: server.` }];
}

/** Keys that no step has: mostly inputs that aren't indented. */
function keyProblems({ source: entry }: TaskStep, definition: TaskDefinition | undefined): StepProblem[] {
  const known = [...STEP_KEYS, 'task', 'inputs'];
  const others = Object.keys(entry).filter((key) => !known.includes(key));
  const names = definition ? namesOf(definition) : [];
  const isInput = (key: string): boolean => {
    const meant = probablyMeant(key, [...known, ...names]);
    return definition ? meant !== undefined && names.includes(meant) : meant === undefined;
  };
  const inputs = others.filter(isInput);
  const problems = others
    .filter((key) => !inputs.includes(key))
    .map((key) => ({ entry, key, problem: `A step has no key ${quoted(key)}.${didYouMean(key, known)}` }));
  const [key] = inputs;
  if (key === undefined) return problems;
  const list = new Intl.ListFormat('en').format(inputs.map(quoted));
  const problem = `${list} ${inputs.length === 1 ? 'stands' : 'stand'} beside "task:", where a step takes no inputs. Write inputs below "inputs:", indented further than it is.`;
  return [{ entry, key, problem }, ...problems];
}

function unknownInputs({ source, inputs = {} }: TaskStep, definition: TaskDefinition): StepProblem[] {
  return Object.keys(inputs)
    .filter((key) => !inputNamed(definition, key))
    .map((key) => ({ entry: inputsIn(source), key, problem: unknownInput(definition, key) }));
}

function missingInputs({ source, task, inputs = {} }: TaskStep, definition: TaskDefinition): StepProblem[] {
  const given = Object.entries(inputs).map(
    ([key, value]) => [inputNamed(definition, key)?.name, value.trim()] as const,
  );
  const missing = (definition.inputs ?? []).filter(
    ({ name, required, defaultValue = '' }) =>
      required === true && (given.findLast(([known]) => known === name)?.[1] ?? defaultValue) === '',
  );
  if (missing.length === 0) return [];
  const names = new Intl.ListFormat('en').format(missing.map(({ name }) => quoted(name)));
  const problem = `${task} requires ${missing.length === 1 ? 'the input' : 'the inputs'} ${names}. Write ${missing.length === 1 ? 'it' : 'them'} below "inputs:".`;
  return [{ entry: source, key: 'task', problem }];
}

function connectionProblems(
  { source, inputs = {} }: TaskStep,
  definition: TaskDefinition,
  connections: Connections,
  known: Variables,
): StepProblem[] {
  return Object.entries(inputs).flatMap(([key, value]) => {
    const input = inputNamed(definition, key);
    if (!input) return [];
    const names = connectionNames(input, known.expand(value));
    if (names.length > 1) {
      const problem = `${input.name} takes one service connection, and ${quoted(value)} names ${names.length}. Write one of them.`;
      return [{ entry: inputsIn(source), key, problem }];
    }
    return names.flatMap((name) => {
      const problem = connectionProblem(name, input.type, connections);
      return problem === undefined ? [] : [{ entry: inputsIn(source), key, problem, isOfRun: true }];
    });
  });
}

function inputsIn(source: YamlMap): YamlMap {
  return typeof source.inputs === 'object' ? (source.inputs as YamlMap) : source;
}

/** @param type of the input, such as `connectedService:NatsBridge` */
function connectionProblem(name: string, type: string, connections: Connections): string | undefined {
  const [macro, variable = ''] = /\$\(([^()]*)\)/.exec(name) ?? [];
  if (macro !== undefined) {
    const problem = `Azure Pipelines looks up service connections before the run, when ${macro} has no value.`;
    return safeText(
      `${problem} Write the connection's name, or set ${variable} among the file's variables. If it is set when the run is queued, give --variable ${variable}=NAME.`,
    );
  }
  const key = name.toLowerCase();
  const found = Object.entries(connections).find(([known, { id }]) =>
    [known, id].some((one) => one?.toLowerCase() === key),
  );
  const needsBridge = type.endsWith(':NatsBridge');
  if (!found) {
    const form = needsBridge
      ? 'one of "type": "NatsBridge" in a --connection-file'
      : `--connection ${name}=nats://HOST:4222, or let --nats start a server for it`;
    const remedy = didYouMean(name, Object.keys(connections)) || ` Give ${form}.`;
    return `The step references service connection ${name} which could not be found.${remedy}`;
  }
  const isBridge = found[1].type === 'NatsBridge';
  if (isBridge === needsBridge) return undefined;
  return isBridge
    ? `The service connection ${name} leads to a bridge, and the step needs one that leads to NATS.`
    : `The service connection ${name} leads to NATS, and the step needs one of "type": "NatsBridge" in a --connection-file.`;
}

function namesOf({ inputs = [] }: TaskDefinition): string[] {
  return inputs.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
}
