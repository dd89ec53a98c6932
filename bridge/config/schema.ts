import { isObject } from '../../shared/text/json.ts';
import { nearestOf } from '../../shared/text/nearest.ts';
import { shown } from './shown.ts';
import SCHEMA from './config.schema.json' with { type: 'json' };
import { validate } from './validate.ts';
import type { Path } from './yamlFile.ts';

export interface SchemaProblem {
  readonly path: Path;
  /** Whether it is about the name rather than the value. */
  readonly ofKey: boolean;
  /** Continues the name of the value, as a clause without the last full stop. */
  readonly problem: string;
  readonly remedy: string;
  /** For an unknown key: the missing one that it most likely misspells. */
  readonly meant?: Path;
}

/** The share of letters that may be wrong in a misspelt word. */
const MISSPELT_LETTERS = 2;

type Schema = Readonly<Record<string, unknown>>;

const TYPES: Readonly<Record<string, string>> = {
  object: 'a section with keys of its own',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
};

/** What the published schema finds wrong with a configuration. A misspelt key isn't also reported as missing. */
export function schemaProblems(value: unknown): SchemaProblem[] {
  const problems = allProblems(value);
  const meant = problems.flatMap((problem) => (problem.meant === undefined ? [] : [problem.meant]));
  const isMeant = (path: Path) => meant.some((start) => start.every((step, index) => step === path[index]));
  return problems.filter(({ path, problem }) => problem !== REQUIRED || !isMeant(path));
}

const REQUIRED = 'is required';
const VARIABLE = SCHEMA.$defs.env.title;

function allProblems(value: unknown): SchemaProblem[] {
  validate(value);
  // What is required only without a callout is checked first, and reported in the order of the sections.
  const errors = [...(validate.errors ?? [])].sort((one, next) => Number(isOfThen(one)) - Number(isOfThen(next)));
  return errors.flatMap(({ keyword, instancePath, params, message = '' }) => {
    const path = pathOf(instancePath, value);
    const at = (problem: string, remedy = '', ofKey = false): SchemaProblem[] => [{ path, ofKey, problem, remedy }];
    const given = valueAt(value, path);
    const schema = schemaAt(path);
    switch (keyword) {
      case 'required':
        return leaves(schema, [...path, String(params['missingProperty'])]).map((missing) => ({
          path: missing,
          ofKey: true,
          problem: REQUIRED,
          remedy: '',
        }));
      case 'additionalProperties': {
        const key = String(params['additionalProperty']);
        const known = Object.keys(schema['properties'] ?? {});
        const [nearest, letters = Infinity] = nearestOf(key, known) ?? [];
        const isOne = key === `${nearest}s` && schemaAt([...path, nearest ?? ''])['type'] === 'string';
        const isMisspelt = letters <= MISSPELT_LETTERS && valueAt(given, [nearest ?? '']) === undefined;
        return [
          {
            path: [...path, key],
            ofKey: true,
            problem: 'is not a key that the bridge knows',
            remedy:
              nearest === undefined
                ? ''
                : `The nearest one is "${nearest}".${isOne ? ' It takes one, not several.' : ''}`,
            ...(isMisspelt && nearest !== undefined && { meant: [...path, nearest] }),
          },
        ];
      }
      case 'type': {
        const types = [params['type']].flat().map((type) => TYPES[String(type)] ?? String(type));
        const wantsText = params['type'] === 'string' && given !== null && typeof given !== 'object';
        return at(`is ${describe(given)}, not ${types.join(' or ')}`, wantsText ? 'Put it in quotes.' : '');
      }
      case 'enum':
        return at(`is ${describe(given)}, not one of ${(params['allowedValues'] as string[]).join(', ')}`);
      case 'pattern':
        // The value given as a variable's name may be the secret itself.
        return schema['title'] === VARIABLE
          ? at(`isn't ${VARIABLE}`, 'Secrets never stand in the configuration.')
          : at(`${shown(String(given))} is not ${String(schema['title'])}`);
      case 'minItems':
      case 'minLength':
        return at('is empty');
      case 'minimum':
      case 'exclusiveMinimum':
        return at(
          `is ${describe(given)}, not ${keyword === 'minimum' ? 'at least' : 'above'} ${String(params['limit'])}`,
        );
      case 'maximum':
        return at(`is ${describe(given)}, not at most ${String(params['limit'])}`);
      case 'if':
        // The branch that was meant has problems of its own for it.
        return [];
      default:
        return at(message);
    }
  });
}

function isOfThen({ schemaPath }: { readonly schemaPath: string }): boolean {
  return schemaPath.startsWith('#/then');
}

/** The required members of a missing value, each with its path. */
function leaves(schema: Schema, missing: Path): Path[] {
  const inner = memberOf(schema, missing.at(-1) ?? '');
  const required = inner['required'] as readonly string[] | undefined;
  return required === undefined ? [missing] : required.flatMap((key) => leaves(inner, [...missing, key]));
}

/** The schema of the value that a path leads to. */
function schemaAt(path: Path): Schema {
  return path.reduce<Schema>(memberOf, SCHEMA);
}

/** The schema of a property or an item, with what it refers to. */
function memberOf(schema: Schema, step: string | number): Schema {
  const properties = schema['properties'] as Record<string, Schema> | undefined;
  const member = typeof step === 'number' ? schema['items'] : (properties?.[step] ?? schema['additionalProperties']);
  if (!isObject(member)) return {};
  const reference = member['$ref'];
  if (typeof reference !== 'string') return member;
  return { ...(SCHEMA.$defs as Record<string, Schema>)[reference.replace('#/$defs/', '')], ...member };
}

/** The path of a JSON Pointer into a value. */
export function pathOf(pointer: string, value: unknown): Path {
  let at = value;
  return stepsOf(pointer).map((step) => {
    const isItem = Array.isArray(at);
    at = isItem ? (at as unknown[])[Number(step)] : isObject(at) ? at[step] : undefined;
    return isItem ? Number(step) : step;
  });
}

function stepsOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** What a path leads to; undefined where there is nothing. */
export function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, step) => (at as Record<string | number, unknown> | undefined)?.[step], value);
}

function describe(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (isObject(value)) return 'a section';
  return typeof value === 'string' ? shown(value) : JSON.stringify(value);
}
