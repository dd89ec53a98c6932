import { safeText } from '../shared/text/safeText.ts';
import { didYouMean } from './misspelt.ts';
import { asText, checkKeys, inPlaceOf, problemAt, readAt, readEach, readNames, unsupported } from './pipelineYaml.ts';
import type { Yaml, YamlMap } from './pipelineYaml.ts';

const TYPES: Readonly<Record<string, RegExp>> = { string: /^/, number: /^-?\d+(\.\d+)?$/, boolean: /^(true|false)$/i };

/** What template expressions may name. */
interface Known {
  /** Of the parameters, by their names. */
  readonly values: ReadonlyMap<string, string>;
  /** The names of steps: their outputs have no value yet. */
  readonly steps: ReadonlySet<string>;
}

/**
 * Puts the values of the file's parameters where `${{ parameters.name }}` stands, as the service does before a run begins.
 * @param given values by the parameters' names; those left out have their defaults
 * @throws Error for a value that the service refuses, and for any other template expression
 */
export function withParameters(root: YamlMap, given: Readonly<Record<string, string>>): YamlMap {
  const { parameters = [], ...rest } = root;
  const values = new Map(readEach(parameters, 'parameters', (entry) => readParameter(entry, given)));
  const unknown = Object.keys(given).find((name) => !values.has(name));
  if (unknown !== undefined)
    throw new Error(`Unexpected parameter '${unknown}'.${didYouMean(unknown, [...values.keys()])}`);
  return expand(inPlaceOf(root, rest), { values, steps: new Set(stepNames(rest)) }) as YamlMap;
}

function readParameter(entry: YamlMap, given: Readonly<Record<string, string>>): [name: string, value: string] {
  const name = asText(entry.name, 'a parameter');
  const where = `parameter ${name}`;
  checkKeys(entry, ['name', 'displayName', 'type', 'default', 'values'], where);
  const type = asText(entry.type ?? 'string', where);
  const shape = TYPES[type];
  if (!shape) throw unsupported(`type: ${type}`, where);
  const value = given[name] ?? (entry.default === undefined ? undefined : asText(entry.default, where));
  if (value === undefined)
    throw new Error(`A value for the '${name}' parameter must be provided: --parameter ${name}=VALUE`);
  if (!shape.test(value)) throw new Error(`The value "${value}" of the parameter '${name}' is not a valid ${type}.`);
  const allowed = readNames(entry.values ?? [], where);
  if (entry.values !== undefined && !allowed.includes(value))
    throw new Error(`The '${name}' parameter value "${value}" is not an allowed value.`);
  return [name, type === 'boolean' ? value.charAt(0).toUpperCase() + value.slice(1).toLowerCase() : value];
}

/** The names of all steps in a part of the file. */
function stepNames(node: Yaml): string[] {
  if (typeof node === 'string') return [];
  const below = Object.values(node).flatMap((child: Yaml | undefined) => stepNames(child ?? ''));
  const isStep = ['task', 'script', 'bash'].some((key) => key in node);
  return isStep && 'name' in node && typeof node.name === 'string' ? [node.name, ...below] : below;
}

function expand(node: Yaml, known: Known): Yaml {
  if (typeof node === 'string') {
    return node.replace(/\$\{\{(.*?)\}\}/gs, (all, inner: string) => {
      const value = known.values.get(/^\s*parameters\.(\w+)\s*$/.exec(inner)?.[1] ?? '');
      if (value === undefined) throw notEvaluated(all, inner.trim(), known);
      return value;
    });
  }
  if (Array.isArray(node))
    return inPlaceOf(
      node,
      node.map((entry: Yaml) => readAt(node, () => expand(entry, known))),
    );
  const map = node as YamlMap;
  const entries = Object.entries(map).map(([key, value = '']) => {
    const text = readAt(map, () => expand(value, known), key);
    if (key.includes('${{')) {
      const [, inner = ''] = /\$\{\{(.*?)\}\}/s.exec(key) ?? [];
      throw problemAt(map, notEvaluated(key, inner.trim(), known).message, key);
    }
    return [key, text];
  });
  return inPlaceOf(node, Object.fromEntries(entries) as YamlMap);
}

/** @param inner what stands between the braces of the template expression */
function notEvaluated(expression: string, inner: string, { values, steps }: Known): Error {
  const problem = unsupported(`a template expression: ${safeText(expression)}`, 'the file').message;
  const [, parameter] = /^parameters\.(\w+)$/.exec(inner) ?? [];
  if (parameter !== undefined && !values.has(parameter))
    return new Error(
      `${problem}. The file declares no parameter ${parameter}.${didYouMean(parameter, [...values.keys()])}`,
    );
  const [, step = ''] = /^(\w+)(?:\.\w+)+$/.exec(inner) ?? [];
  if (steps.has(step))
    return new Error(`${problem}. An output is known only when the run reaches it: write $(${inner}).`);
  const [, dotted, indexed = dotted] = /^variables(?:\.(\w+)|\['([\w.-]+)'\])$/.exec(inner) ?? [];
  const remedy = indexed === undefined ? '' : ` Write $(${indexed}).`;
  return new Error(`${problem}. A local run evaluates only \${{ parameters.NAME }}.${remedy}`);
}
