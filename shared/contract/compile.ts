import { createHash } from 'node:crypto';
import type { AnySchema, ErrorObject, ValidateFunction } from 'ajv';
import { describeProblems, shorten, type Contract, type SchemaProblem } from './contract.ts';
import { TaskError, reasonOf } from '../errors.ts';
import { once } from '../once.ts';
import { interruptible, isInterruption } from '../text/interruptible.ts';
import { canonicalize, isObject, parseLargeIntegers } from '../text/json.ts';
import { META_SCHEMAS, newAjv, type AnyAjv, type Draft } from './drafts.ts';
import { pair, type Twins } from './exactNumbers.ts';
import { SchemaFolder, type SchemaFile } from './files.ts';
import { metaSchemaAt, metaSchemaOf } from './metaSchemas.ts';
import { quickCheckOf } from './quickCheck.ts';
import { linkSchemas, type Dialect, type Linked } from './references.ts';

const DRAFTS = Object.keys(META_SCHEMAS) as Draft[];

const MAX_PROBLEMS = 100;
/** Errors of a meta-schema that are read, of which few are shown. */
const MOST_ERRORS = 300;

/** See `loadContract` in load.ts, the one caller. */
export async function compileContract(schemaFile: string, checkLimitMs: number): Promise<Contract> {
  const { files, root } = SchemaFolder.openAt(schemaFile, metaSchemaAt);
  const draft = draftOf(root);
  const twins: Twins = new WeakMap();
  const ajv = newAjv(draft, twins);
  try {
    const linked = await linkSchemas(files, root, dialectOf(draft, ajv));
    for (const { file, schema } of linked.copies) pair(twins, schema, parseLargeIntegers(file.text)?.value);
    const unevaluated = linked.asking.length === 0 ? undefined : await unevaluatedKeywords(ajv, linked);
    const added = [...linked.schemas.entries()];
    for (const [id, schema] of added) ajv.addSchema(schema as AnySchema, id);
    const validate = ajv.getSchema(added[0]?.[0] ?? '');
    if (validate === undefined) throw new Error('it was not compiled');
    unevaluated?.compile();
    const begun = (...given: Parameters<ValidateFunction>) => {
      unevaluated?.begin();
      return errorsOf(validate, ...given);
    };
    const checks = checksOf(begun, twins, checkLimitMs);
    return { digest: digestOf(linked.files), schemaFile, warnings: linked.warnings, ...checks };
  } catch (error) {
    if (error instanceof TaskError) throw error;
    const reason = error instanceof RangeError ? 'it is nested too deeply, or a $ref leads to itself' : reasonOf(error);
    const problem = `The schema file "${root.path}" cannot be used: ${reason}`;
    throw new TaskError('InvalidSchema', problem, '', { cause: error });
  }
}

/** Few schemas have these keywords, so that few steps run what they take. */
export const unevaluatedModule = once(() => import('./unevaluated.ts'));

async function unevaluatedKeywords(ajv: AnyAjv, { schemas, asking }: Linked) {
  const { UnevaluatedKeywords } = await unevaluatedModule();
  const keywords = new UnevaluatedKeywords(ajv, schemas);
  for (const schema of asking) keywords.prepare(schema);
  return keywords;
}

function draftOf(root: SchemaFile): Draft {
  const declared = isObject(root.schema) ? root.schema.$schema : undefined;
  if (declared === undefined) return '2020-12';
  const draft = DRAFTS.find((name) => declares(name, declared));
  if (draft) return draft;
  throw new TaskError(
    'InvalidSchema',
    `The schema file "${root.path}" declares the $schema ${JSON.stringify(declared)}, which is not supported`,
    `Use one of ${Object.values(META_SCHEMAS).join(', ')}.`,
  );
}

function declares(draft: Draft, $schema: unknown): boolean {
  const bare = (uri: string) => uri.replace(/^https?:\/\//, '').replace(/#$/, '');
  return typeof $schema === 'string' && bare($schema) === bare(META_SCHEMAS[draft]);
}

function dialectOf(draft: Draft, ajv: AnyAjv): Dialect {
  const isSurely = quickCheckOf(draft);
  let metaSchema: ValidateFunction | undefined;
  return {
    draft,
    isKeyword: (name) => Object.hasOwn(ajv.RULES.keywords, name),
    keywords: Object.keys(ajv.RULES.keywords),
    formats: new Set(Object.keys(ajv.formats)),
    isDeclaredBy: ($schema) => declares(draft, $schema),
    reasonAgainst(schema, pointer) {
      if (isSurely(schema)) return undefined;
      metaSchema ??= metaSchemaOf(draft);
      if (metaSchema(schema)) return undefined;
      const problems = problemsOf(withoutAlternatives((metaSchema.errors ?? []).slice(0, MOST_ERRORS)));
      return describeProblems(problems.map((it) => ({ ...it, pointer: pointer + it.pointer })));
    },
  };
}

/**
 * A meta-schema's errors with one for each `anyOf`: what the others say is only that the value isn't of another alternative,
 * such as that a misspelt `type` isn't a list either.
 */
function withoutAlternatives(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const places = errors.filter(({ keyword }) => keyword === 'anyOf').map(({ instancePath }) => instancePath);
  return places.reduce((left, place) => {
    const others = left.filter(({ instancePath }) => instancePath !== place);
    // What is wrong within the value says more.
    if (others.some(({ instancePath }) => instancePath.startsWith(`${place}/`))) return others;
    const here = left.filter(({ instancePath, keyword }) => instancePath === place && keyword !== 'anyOf');
    const ofItsKind = here.filter(({ keyword }) => keyword !== 'type');
    // If it is of the last alternative's kind, the others' errors are noise.
    const best = ofItsKind.length < here.length ? (ofItsKind[0] ?? here[0]) : here.at(-1);
    return best === undefined ? left : left.filter((error) => error.instancePath !== place || error === best);
  }, errors);
}

function digestOf(files: readonly SchemaFile[]): string {
  const own = files.filter(({ isBuiltIn }) => isBuiltIn !== true);
  const byName = Object.fromEntries(own.map(({ name, schema }) => [name, schema]));
  return `sha256:${createHash('sha256').update(canonicalize(byName)).digest('hex')}`;
}

function errorsOf(validate: ValidateFunction, ...value: Parameters<ValidateFunction>): readonly ErrorObject[] {
  try {
    // With `$async` in a schema it would be a promise.
    return (validate(...value) as unknown) === true ? [] : (validate.errors ?? []);
  } finally {
    validate.errors = null;
  }
}

type ErrorsOf = (...value: Parameters<ValidateFunction>) => readonly ErrorObject[];

/** Where a whole value stands, as Ajv names places. */
const NOWHERE = { instancePath: '', parentDataProperty: 'value', dynamicAnchors: {} };

function checksOf(
  errorsOf: ErrorsOf,
  twins: Twins,
  limitMs: number,
): Pick<Contract, 'check' | 'checkUnlimited' | 'areAllValid'> {
  const checkUnlimited: Contract['checkUnlimited'] = (value, readExactly = () => undefined) => {
    try {
      const exact = readExactly();
      const parentData = { value };
      if (exact !== undefined) pair(twins, parentData, { value: exact.value });
      const errors = errorsOf(value, { ...NOWHERE, parentData, rootData: parentData });
      return errors.length === 0 ? { outcome: 'valid' } : { outcome: 'violated', problems: problemsOf(errors) };
    } catch (error) {
      // The stack is full, or Ajv made code that fails, as it does for some schemas with unevaluatedProperties in circles.
      const reason = error instanceof RangeError ? 'it is nested too deeply' : reasonOf(error);
      return { outcome: 'violated', problems: [{ pointer: '', message: `cannot be checked: ${reason}` }] };
    }
  };
  const check: Contract['check'] = (value, atMostMs = limitMs, readExactly) => {
    const afterMs = Math.min(limitMs, atMostMs);
    try {
      return interruptible(() => checkUnlimited(value, readExactly), afterMs);
    } catch (error) {
      if (isInterruption(error)) return { outcome: 'interrupted', afterMs };
      throw error;
    }
  };
  // What makes a check interruptible takes a hundred times as long as the check. Without that, checking alone finds which one fails.
  const areAllValid = (values: readonly unknown[], atMostMs = limitMs): boolean => {
    try {
      const areValid = () => values.every((value) => errorsOf(value).length === 0);
      return interruptible(areValid, Math.min(limitMs, atMostMs));
    } catch {
      return false;
    }
  };
  return { check, checkUnlimited, areAllValid };
}

function problemsOf(errors: readonly ErrorObject[]): SchemaProblem[] {
  const problems = new Map<string, SchemaProblem>();
  for (const error of errors) {
    const problem = { pointer: error.instancePath, message: messageOf(error) };
    problems.set(`${problem.pointer}\n${problem.message}`, problem);
    if (problems.size === MAX_PROBLEMS) break;
  }
  return [...problems.values()];
}

/** By keyword, for keywords whose own message from Ajv doesn't name the value. */
const MESSAGES: Readonly<Record<string, (params: ErrorObject['params']) => string>> = {
  enum: (params) =>
    `must be one of ${(params.allowedValues as unknown[]).map(show).join(', ') || 'none: its enum is empty'}`,
  const: (params) => `must be ${show(params.allowedValue)}`,
  type: (params) => `must be ${[params.type].flat().join(' or ')}`,
  required: (params) => `must have property ${show(params.missingProperty)}`,
  additionalProperties: (params) => `must not have property ${show(params.additionalProperty)}`,
  unevaluatedProperties: (params) => `must not have property ${show(params.unevaluated)}`,
  propertyNames: (params) => `has the property name ${show(params.propertyName)}, which is not allowed`,
  'false schema': () => 'is not allowed',
};

function messageOf({ keyword, params, message = keyword, propertyName }: ErrorObject): string {
  const text = MESSAGES[keyword]?.(params) ?? message;
  return shorten(propertyName === undefined ? text : `property name ${show(propertyName)} ${text}`);
}

function show(value: unknown): string {
  return shorten(JSON.stringify(value));
}
