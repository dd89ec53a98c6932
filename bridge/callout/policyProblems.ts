import { subjectProblem } from '../../shared/subject.ts';
import { probablyMeant } from '../../shared/text/nearest.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { pathOf, valueAt } from '../config/schema.ts';
import { nameOf } from '../config/nameOf.ts';
import { shown } from '../config/shown.ts';
import type { Path } from '../config/yamlFile.ts';
import { PLACEHOLDERS, type PlaceholderSource } from './placeholders.ts';
import SCHEMA from './policy.schema.json' with { type: 'json' };
import type { validate } from './validate.ts';

type SchemaError = NonNullable<typeof validate.errors>[number];
type Schema = Readonly<Record<string, unknown>>;

/** The conditions of a rule, of which it has at least one. */
const CONDITIONS = ['sub', 'roles', 'groups'];
const TYPES: Readonly<Record<string, string>> = {
  object: 'a JSON object',
  array: 'a list',
  string: 'a text',
  integer: 'a whole number',
};

/** What the schema finds wrong with a policy: clauses with the place in front. A misspelt field isn't also reported as missing. */
export function schemaProblems(errors: readonly SchemaError[], policy: unknown): string[] {
  const meant = new Set(
    errors.flatMap((error) => {
      const field = meantField(error, policy);
      return field === undefined ? [] : [`${error.instancePath}/${field}`];
    }),
  );
  const isMeant = ({ instancePath }: SchemaError, fields: readonly string[]) =>
    fields.some((field) => meant.has(`${instancePath}/${field}`));
  return [
    ...new Set(
      errors
        .filter((error) => error.keyword !== 'anyOf' || !isMeant(error, CONDITIONS))
        .filter((error) => error.keyword !== 'required' || !isMeant(error, [String(error.params['missingProperty'])]))
        .flatMap((error) => problemsOf(error, policy)),
    ),
  ];
}

function problemsOf(error: SchemaError, policy: unknown): string[] {
  const { keyword, params, message = '' } = error;
  const path = pathOf(error.instancePath, policy);
  const given = valueAt(policy, path);
  const at = (problem: string) => [`${nameOf(path) || 'the policy'}: ${problem}`];
  switch (keyword) {
    case 'additionalProperties': {
      const [name, field] = [String(params['additionalProperty']), meantField(error, policy)];
      const instead = field === undefined ? `; there are ${fieldsAt(path).join(', ')}` : ` (did you mean "${field}"?)`;
      return at(`${quoted(name)} is not a field that the bridge knows${instead}`);
    }
    case 'anyOf':
      return at('has none of sub, roles and groups, so it would match everybody');
    case 'required': {
      const missing = String(params['missingProperty']);
      // Problems of anyOf are reported together.
      return CONDITIONS.includes(missing) ? [] : [`${nameOf([...path, missing])}: is required`];
    }
    case 'type':
      return at(`is not ${TYPES[String(params['type'])] ?? String(params['type'])}`);
    case 'minItems':
    case 'minLength':
      return at('is empty');
    case 'minimum':
      return at(`is ${String(given)}, not at least ${String(params['limit'])}`);
    case 'pattern':
      return at(patternProblem(String(given), path.at(-1)));
    default:
      return at(message);
  }
}

/** The field that is missing where an unknown one is, and is nearly called that. */
function meantField(error: SchemaError, policy: unknown): string | undefined {
  if (error.keyword !== 'additionalProperties') return undefined;
  const path = pathOf(error.instancePath, policy);
  const missing = fieldsAt(path).filter((field) => valueAt(policy, [...path, field]) === undefined);
  return probablyMeant(String(error.params['additionalProperty']), missing);
}

/** The fields of the schema's objects: of the policy, of an issuer or of a rule. */
function fieldsAt(path: Path): string[] {
  const schema = path.reduce<Schema>(
    (at, step) => (typeof step === 'number' ? at['items'] : (at['properties'] as Schema | undefined)?.[step]) as Schema,
    SCHEMA,
  );
  return Object.keys(schema['properties'] ?? {}).filter((field) => field !== '$schema');
}

function patternProblem(text: string, field: Path[number] | undefined): string {
  switch (field) {
    case 'issuer':
      return `${shown(text)} is not an https:// URL without user, query and fragment`;
    case 'sub':
      return text.split('/')[0]?.includes('*') === true
        ? `${quoted(text)}: its first part can't be *, or it would match too many`
        : `${quoted(text)}: * stands for a whole part between slashes, not for a piece of one`;
    default: {
      // The only other ones are subjects.
      const unknown = unknownPlaceholder(text);
      if (unknown !== undefined) return `${quoted(text)}: ${unknown}`;
      if (/[{}]/.test(text))
        return `${quoted(text)}: a placeholder is a whole part between dots, or ends one after an underscore, as in CI_{project}`;
      return `${quoted(text)} ${subjectProblem(text, 'pattern') ?? 'has a * or > that is not a whole part between dots'}`;
    }
  }
}

/** The first placeholder in a text that stands for nothing: a clause with what to write instead. */
export function unknownPlaceholder(text: string): string | undefined {
  const unknown = placeholdersIn(text).find((name) => !PLACEHOLDERS.some((known) => known === name));
  if (unknown === undefined) return undefined;
  const meant = probablyMeant(unknown, PLACEHOLDERS, 3);
  const instead = meant === undefined ? `there are ${listed(PLACEHOLDERS)}` : `write {${meant}}`;
  return `{${unknown}} is not a placeholder; ${instead}`;
}

/** The first placeholder in a text that the tokens of a rule never have a value for: a clause with those that they can have. */
export function unfilledPlaceholder(text: string, { of, placeholders }: PlaceholderSource): string | undefined {
  const unfilled = placeholdersIn(text)
    .filter((name) => PLACEHOLDERS.some((known) => known === name))
    .find((name) => !placeholders.some((known) => known === name));
  if (unfilled === undefined) return undefined;
  const instead = placeholders.length === 0 ? 'they have none' : `they have ${listed(placeholders)}`;
  return `tokens ${of} have no value for {${unfilled}}; ${instead}`;
}

function placeholdersIn(text: string): string[] {
  return [...text.matchAll(/\{([^{}]*)\}/g)].map(([, name = '']) => name);
}

function listed(names: readonly string[]): string {
  return names.map((name) => `{${name}}`).join(', ');
}
