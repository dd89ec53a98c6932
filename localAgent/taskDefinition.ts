import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted } from '../shared/text/safeText.ts';
import { didYouMean } from './misspelt.ts';
import type { HttpRequestHandler } from './serverTemplate.ts';

/** The parts of a task.json that the agent acts on. */
export interface TaskDefinition {
  readonly name: string;
  readonly friendlyName?: string;
  readonly description?: string;
  readonly author?: string;
  readonly helpUrl?: string;
  readonly helpMarkDown?: string;
  readonly version: {
    readonly Major: number | string;
    readonly Minor: number | string;
    readonly Patch: number | string;
  };
  readonly minimumAgentVersion?: string;
  readonly inputs?: readonly TaskInput[];
  readonly outputVariables?: readonly { readonly name: string }[];
  readonly restrictions?: {
    readonly commands?: { readonly mode?: string };
    readonly settableVariables?: { readonly allowed?: readonly string[] };
  };
  /** Where it may run; on an agent when absent. */
  readonly runsOn?: readonly string[];
  readonly execution?: Readonly<Partial<Record<`Node${string}`, NodeHandler>>> & {
    readonly HttpRequest?: HttpRequestHandler;
  };
}

interface NodeHandler {
  readonly target: string;
  readonly workingDirectory?: string;
}

export interface TaskInput {
  readonly name: string;
  readonly type: string;
  readonly defaultValue?: string | boolean;
  readonly required?: boolean;
  readonly aliases?: readonly string[];
}

/** A task and the folder its files are in. */
export interface InstalledTask {
  readonly definition: TaskDefinition;
  readonly folder: string;
}

export type Handler = 'Node24' | 'Node20_1';

/** Handlers in the order the agent prefers them, with the first agent that knows each. */
const HANDLERS: readonly { readonly handler: Handler; readonly since: string }[] = [
  { handler: 'Node24', since: '4.265.0' },
  { handler: 'Node20_1', since: '3.230.2' },
];

/** Where an extension keeps its tasks: a folder each, or a folder for each major version below that. */
function* taskFolders(extension: string): Generator<string> {
  for (const entry of readdirSync(extension, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const folder = path.join(extension, entry.name);
    yield folder;
    for (const version of readdirSync(folder, { withFileTypes: true })) {
      if (version.isDirectory()) yield path.join(folder, version.name);
    }
  }
}

/**
 * Finds a task as YAML names it.
 * @param extension folder of an unpacked extension
 * @param reference `name@major`
 * @throws Error when the extension has no such task, as the service refuses such a pipeline
 */
export function findTask(extension: string, reference: string): InstalledTask {
  const found = lookForTask(extension, reference);
  if (found) return found;
  throw new Error(`A task is missing. The pipeline references a task called '${reference}'. Looked in ${extension}.`);
}

/** Whether the extension has the task that YAML names `name@major`. */
export function hasTask(extension: string, reference: string): boolean {
  return lookForTask(extension, reference) !== undefined;
}

function lookForTask(extension: string, reference: string): InstalledTask | undefined {
  return tasksOf(extension).find(({ definition }) => referenceTo(definition) === reference);
}

/** The tasks of an unpacked extension. */
function tasksOf(extension: string): InstalledTask[] {
  return [...taskFolders(extension)].flatMap((folder) => {
    const file = path.join(folder, 'task.json');
    return existsSync(file) ? { definition: JSON.parse(readFileSync(file, 'utf8')) as TaskDefinition, folder } : [];
  });
}

/** A task as YAML names it. */
function referenceTo({ name, version }: TaskDefinition): string {
  return `${name}@${version.Major}`;
}

/**
 * What is wrong with a reference to a task that the extension doesn't have; undefined where it's that of another extension.
 * @param reference should be `name@major`
 */
export function misspeltTask(extension: string, reference: string): string | undefined {
  const known = tasksOf(extension).map(({ definition }) => definition);
  const [name = '', version] = reference.split('@');
  const names = known.map((task) => task.name);
  const meant = probablyMeant(name, names, name.length / 3);
  const nearest = known.filter((task) => task.name === meant).map(referenceTo);
  if (nearest.length === 0) return undefined;
  const problem = version === undefined && name === meant ? 'has no version' : 'does not exist';
  return `The task ${quoted(reference)} ${problem}. Did you mean ${nearest.join(' or ')}?`;
}

/** Whether Azure DevOps itself does the task, without an agent. */
export function isServerTask({ runsOn = [] }: TaskDefinition): boolean {
  return runsOn.includes('Server');
}

/** Compares dotted version numbers: negative when a is the older one. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The handler an agent of this version, with these Node binaries, runs the task by; undefined when it has none for it. */
export function chooseHandler(
  definition: TaskDefinition,
  agentVersion: string,
  nodes: Readonly<Partial<Record<Handler, string>>>,
): { readonly node: string; readonly target: string; readonly workingDirectory: string | undefined } | undefined {
  for (const { handler, since } of HANDLERS) {
    const data = definition.execution?.[handler];
    const node = nodes[handler];
    if (data && node && compareVersions(agentVersion, since) >= 0) {
      return { node, target: data.target, workingDirectory: data.workingDirectory };
    }
  }
  return undefined;
}

/**
 * The Node binary of a major version, as the agent brings one for each handler: from the npm package `node-<major>-linux-x64`,
 * or the running one where it is of that version.
 * @throws Error when this machine has neither
 */
export function nodeBinary(major: '20' | '24'): string {
  try {
    const manifest = createRequire(import.meta.url).resolve(`node-${major}-linux-x64/package.json`);
    return path.join(path.dirname(manifest), 'bin', 'node');
  } catch {
    if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
    throw new Error(
      `No Node ${major} here: the package node-${major}-linux-x64 is not installed and Node ${process.versions.node} is running.`,
    );
  }
}

/** What the agent writes into the log ahead of a task. */
export function describe({ name, friendlyName, description, version, author, ...help }: TaskDefinition): string[] {
  const rule = '='.repeat(78);
  return [
    rule,
    `Task         : ${friendlyName ?? name}`,
    `Description  : ${description ?? ''}`,
    `Version      : ${version.Major}.${version.Minor}.${version.Patch}`,
    `Author       : ${author ?? ''}`,
    `Help         : ${help.helpUrl ?? help.helpMarkDown ?? ''}`,
    rule,
  ];
}

/** The input that a step means by a name or an alias, in any spelling of its letters. */
export function inputNamed({ inputs = [] }: TaskDefinition, key: string): TaskInput | undefined {
  return inputs.find(({ name, aliases = [] }) =>
    [name, ...aliases].some((known) => known.toLowerCase() === key.toLowerCase()),
  );
}

/** What is wrong with an input that a task doesn't have. */
export function unknownInput({ name: task, inputs = [] }: TaskDefinition, key: string): string {
  const names = inputs.map(({ name }) => name);
  const near = names.filter((name) => haveSameWords(key, name));
  const remedy =
    didYouMean(key, names) ||
    (near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : ` Its inputs are ${names.join(', ')}.`);
  return `The task ${task} has no input ${quoted(key)}.${remedy}`;
}

/** Whether one name has all words of the other, as `schema` and `schemaFile`. */
function haveSameWords(one: string, other: string): boolean {
  const wordsOf = (name: string): Set<string> =>
    new Set(name.split(/(?=[A-Z])|[^a-zA-Z]/).map((word) => word.toLowerCase()));
  const [words, others] = [wordsOf(one), wordsOf(other)];
  return [...words].every((word) => others.has(word)) || [...others].every((word) => words.has(word));
}

/**
 * The task's inputs: values of the step, given by name or alias, over the defaults of task.json.
 * @throws Error for an input the task does not have. (The service lets it pass; here it is a mistake.)
 */
export function inputsOf(definition: TaskDefinition, given: Readonly<Record<string, string>>): Map<string, string> {
  const values = new Map((definition.inputs ?? []).map((input) => [input.name, String(input.defaultValue ?? '')]));
  for (const [key, value] of Object.entries(given)) {
    const input = inputNamed(definition, key);
    if (!input) throw new Error(unknownInput(definition, key));
    values.set(input.name, value);
  }
  return values;
}

/** The service connections that a step names with the value of an input; none where the input is for something else. */
export function connectionNames({ type }: TaskInput, value: string): string[] {
  if (!type.startsWith('connectedService:')) return [];
  const names = value.split(',').map((name) => name.trim());
  return names.filter(Boolean);
}
