import path from 'node:path';
import { createUser } from 'nkeys.js';
import { parseAllDocuments } from 'yaml';
import { readWaitRequest } from '../../../bridge/waits/criteria.ts';
import { AGENTLESS_TASK, readTask, ROOT, TASK_NAMES, type TaskManifest } from '../../../scripts/build/manifest.ts';
import { readPublish } from '../../../tasks/PublishNatsEvent/inputs.ts';
import { reasonOf } from '../../../shared/errors.ts';
import { readWait } from '../../../tasks/WaitForNatsEvent/inputs.ts';
import { FakeAgent } from '../agent/fakeAgent.ts';

const TASKS: ReadonlyMap<string, TaskManifest> = new Map(
  ([...TASK_NAMES, AGENTLESS_TASK] as const).map((name) => [name, readTask(name)]),
);
const MAJOR = '1';
/** An existing file in place of one that only the document's reader has. */
const SOME_FILE = path.join(ROOT, 'README.md');
/** First parts of variables that Azure Pipelines sets by itself. */
const PREDEFINED = /^(agent|build|common|environment|pipeline|release|resources|strategy|system|tf_build)$/i;

/** A step in YAML. */
interface Step {
  readonly task?: unknown;
  readonly name?: unknown;
  readonly inputs?: unknown;
}

/** The names of a step's outputs; undefined for a step that isn't ours. */
type Outputs = ReadonlySet<string> | undefined;

/**
 * The problems with our tasks' steps in these YAML texts, which belong together: names, versions and inputs that
 * task.json doesn't have, what the task itself would refuse or warn about, and references to outputs that don't exist.
 */
export function faultsOfSteps(texts: readonly string[]): string[] {
  const steps: Step[] = [];
  const faults: string[] = [];
  for (const text of texts) {
    for (const document of parseAllDocuments(text)) {
      // A warning is an unknown tag: an unquoted expression that starts with `!`.
      faults.push(...[...document.errors, ...document.warnings].map(({ message }) => message));
      if (document.errors.length === 0) steps.push(...stepsIn(document.toJS()));
    }
  }
  const named = namedSteps(steps);
  return [...faults, ...steps.flatMap(faultsOfStep), ...texts.flatMap((text) => faultsOfReferences(text, named))];
}

/** Steps of different jobs may share a name. */
function namedSteps(steps: readonly Step[]): Map<string, Outputs> {
  const named = new Map<string, Outputs>();
  for (const step of steps) {
    if (typeof step.name !== 'string') continue;
    const own = outputsOf(step);
    named.set(step.name, own === undefined ? undefined : new Set([...(named.get(step.name) ?? []), ...own]));
  }
  return named;
}

function stepsIn(node: unknown): Step[] {
  if (Array.isArray(node)) return node.flatMap(stepsIn);
  if (typeof node !== 'object' || node === null) return [];
  const isStep = ['task', 'script', 'bash', 'pwsh', 'powershell'].some((kind) => kind in node);
  return isStep ? [node] : Object.values(node).flatMap(stepsIn);
}

function taskOf({ task }: Step): TaskManifest | undefined {
  return typeof task === 'string' ? TASKS.get(task.replace(/@.*/, '')) : undefined;
}

function outputsOf(step: Step): Outputs {
  const task = taskOf(step);
  if (task === undefined) return undefined;
  const { outputs } = inputsOf(step);
  const lines = typeof outputs === 'string' ? outputs.split('\n') : [];
  const events = lines.flatMap((line) => /^\s*(\w+)\s*=/.exec(line)?.[1] ?? []).map((name) => `event.${name}`);
  return new Set([...task.outputVariables.map(({ name }) => name), ...events]);
}

function inputsOf({ inputs }: Step): Readonly<Record<string, unknown>> {
  return typeof inputs === 'object' && inputs !== null ? (inputs as Record<string, unknown>) : {};
}

function faultsOfStep(step: Step): string[] {
  const { task: name } = step;
  if (typeof name !== 'string' || !/nats/i.test(name)) return [];
  const task = taskOf(step);
  if (task === undefined || name !== `${task.name}@${MAJOR}`) return [`${name}: there is no such task`];
  const inputs = inputsOf(step);
  const unknown = Object.keys(inputs).filter((input) => task.inputs.every((known) => known.name !== input));
  return [
    ...unknown.map((input) => `${name}: there is no input "${input}"`),
    ...problemsOfTask(task, inputs).map((problem) => `${name}: ${problem}`),
  ];
}

/** What the task itself says about its inputs, with a likely value for each pipeline variable. */
function problemsOfTask(
  { name, inputs: known }: TaskManifest,
  inputs: Readonly<Record<string, unknown>>,
): readonly string[] {
  const texts: Record<string, string> = {};
  const secrets: Record<string, string> = {};
  for (const [input, value] of Object.entries(inputs)) {
    const isFile = known.some((one) => one.name === input && one.type === 'filePath');
    texts[input] = isFile ? SOME_FILE : withoutVariables(String(value));
    if (input.endsWith('Variable')) secrets[texts[input]] = new TextDecoder().decode(createUser().getSeed());
  }
  const agent = new FakeAgent({
    inputs: texts,
    secrets,
    variables: { 'System.PipelineStartTime': '2026-05-31 08:00:00+00:00' },
    connections: { [texts['natsConnection'] ?? '']: { url: 'tls://nats.example.com:4222', scheme: 'None' } },
  });
  try {
    if (name === AGENTLESS_TASK) return warningsOfBridge(texts);
    if (name === 'PublishNatsEvent') readPublish(agent);
    else readWait(agent);
    return agent.warnings;
  } catch (error) {
    return [...agent.warnings, reasonOf(error)];
  }
}

function warningsOfBridge(given: Readonly<Record<string, string>>): readonly string[] {
  const inputs = Object.fromEntries(Object.entries(given).filter(([name]) => name !== 'bridgeConnection'));
  const contracts = inputs['contract'] === undefined ? [] : [inputs['contract']];
  return readWaitRequest(inputs, { contracts, maxWaitMs: 24 * 3_600_000, runStart: 0, ownStreams: [] }).warnings;
}

function withoutVariables(text: string): string {
  return text.replace(/\$\([^)]*\)|\$\{\{.*?\}\}|\$\[.*?\]/gs, '1');
}

function faultsOfReferences(text: string, named: ReadonlyMap<string, Outputs>): string[] {
  const macros = [...text.matchAll(/\$\((\w+)\.([\w.]+)\)/g)].map(([reference, step = '', output = '']) => {
    if (PREDEFINED.test(step)) return '';
    return problemOf(reference, step, output, named);
  });
  const others = [...text.matchAll(/\boutputs\['([\w.]+)'\]/g)].map(([reference, place = '']) => {
    const [first = '', second = '', ...rest] = place.split('.');
    // The name of a deployment job or of another stage's job precedes the step.
    if (named.has(first)) return problemOf(reference, first, [second, ...rest].join('.'), named);
    return problemOf(reference, second, rest.join('.'), named);
  });
  return [...macros, ...others].filter(Boolean);
}

function problemOf(reference: string, step: string, output: string, named: ReadonlyMap<string, Outputs>): string {
  if (!named.has(step)) return `${reference}: there is no step "${step}"`;
  const outputs = named.get(step);
  return outputs === undefined || outputs.has(output) ? '' : `${reference}: the step has no output "${output}"`;
}
