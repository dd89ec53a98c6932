import { createHash } from 'node:crypto';
import vm from 'node:vm';
import type { Ajv, ErrorObject, Options, ValidateFunction } from 'ajv';
import canonicalizeModule from 'canonicalize';
import { TaskError, reasonOf } from './errors.ts';
import { SchemaFolder, isJsonObject } from './schemaFiles.ts';
import type { SchemaFile } from './schemaFiles.ts';
import { linkSchemas } from './schemaRefs.ts';
import type { Dialect } from './schemaRefs.ts';

export interface SchemaProblem {
  /** JSON pointer into the value; empty for the value itself. */
  readonly pointer: string;
  readonly message: string;
}

export type CheckResult =
  | { readonly outcome: 'valid' }
  | {
      readonly outcome: 'violated';
      /** At least one, at most 100. */
      readonly problems: readonly SchemaProblem[];
    }
  | { readonly outcome: 'interrupted'; /** The limit that was reached, in milliseconds. */ readonly afterMs: number };

/** A JSON Schema with the files it refers to. */
export interface Contract {
  /** `sha256:` and the SHA-256 in hex of the RFC 8785 JSON of an object with every file referred to by its path relative to the root. */
  readonly digest: string;
  /** Absolute path of the root schema, as it was given. */
  readonly schemaFile: string;
  /** Checks a parsed JSON value. Never throws. */
  check(value: unknown): CheckResult;
  /** Checks many values, at much less cost for each than {@link check}, up to one whose check is interrupted. Never throws. */
  checkAll(values: readonly unknown[]): readonly CheckResult[];
}

/* eslint-disable no-restricted-syntax -- Ajv takes a tenth of a second to load, so a step loads only the draft it uses, if any. */
const DRAFTS = {
  'draft-07': { $schema: 'json-schema.org/draft-07/schema', load: async () => (await import('ajv')).Ajv },
  '2019-09': {
    $schema: 'json-schema.org/draft/2019-09/schema',
    load: async () => (await import('ajv/dist/2019.js')).Ajv2019,
  },
  '2020-12': {
    $schema: 'json-schema.org/draft/2020-12/schema',
    load: async () => (await import('ajv/dist/2020.js')).Ajv2020,
  },
} as const;
const loadFormats = async () => (await import('ajv-formats')).default;
/* eslint-enable no-restricted-syntax */
type Draft = keyof typeof DRAFTS;
const DRAFT_NAMES = Object.keys(DRAFTS) as Draft[];

const MAX_PROBLEMS = 100;
const MAX_DESCRIBED = 5;
const MAX_TEXT = 300;

// The package's types describe another module shape than the one it has.
const canonicalize = canonicalizeModule as unknown as (json: unknown) => string;

const AJV_OPTIONS: Options = {
  allErrors: true, // also because the other mode accepts [] against { prefixItems: [{ not: {} }], contains: {} }
  strict: false,
  logger: false,
  validateSchema: false, // done before, with places in the user's file
  ownProperties: true, // else {} has a property "constructor"
  multipleOfPrecision: 7, // else 19.99 is no multiple of 0.01
  // Else unevaluatedProperties lets a property "constructor" pass, which every object has by its prototype.
  code: { process: (code) => code.replaceAll(/!(props\d+)\[(key\d+)\]/g, '!Object.hasOwn($1, $2)') },
};

/**
 * Reads a JSON Schema and all files it refers to, and compiles it.
 *
 * @param schemaFile absolute path of the root schema
 * @param options `checkLimitMs`: how long one check may take, in milliseconds
 * @throws TaskError InvalidInput when there is no such file to read; InvalidSchema when it or a file it refers to is no schema
 */
export async function loadContract(schemaFile: string, { checkLimitMs = 1000 } = {}): Promise<Contract> {
  const { files, root } = await SchemaFolder.openAt(schemaFile);
  const draft = draftOf(root);
  const [AjvOfDraft, addFormats] = await Promise.all([DRAFTS[draft].load(), loadFormats()]);
  const ajv: Ajv = new AjvOfDraft(AJV_OPTIONS);
  addFormats.default(ajv, { mode: 'full', keywords: false });
  // Keywords of Ajv's own, without meaning in JSON Schema.
  for (const keyword of ['$async', 'id', 'nullable']) ajv.removeKeyword(keyword);
  try {
    const schemas = await linkSchemas(files, root, dialectOf(draft, ajv));
    for (const { id, schema } of schemas) ajv.addSchema(schema, id);
    const validate = ajv.compile({ $ref: schemas[0]?.id });
    return {
      digest: digestOf(schemas.map(({ file }) => file)),
      schemaFile,
      ...checksOf(validate, checkLimitMs),
    };
  } catch (error) {
    if (error instanceof TaskError) throw error;
    const reason = error instanceof RangeError ? 'it is nested too deeply, or a $ref leads to itself' : reasonOf(error);
    throw new TaskError('InvalidSchema', `The schema file "${root.path}" cannot be used: ${reason}.`, '', {
      cause: error,
    });
  }
}

/** Problems on one line: `/region: must be string; …`, at most five, then `and N more`. */
export function describeProblems(problems: readonly SchemaProblem[]): string {
  const described = problems
    .slice(0, MAX_DESCRIBED)
    .map(({ pointer, message }) => (pointer === '' ? message : `${shorten(pointer)}: ${message}`));
  const more = problems.length - described.length;
  return oneLine([...described, ...(more > 0 ? [`and ${more} more`] : [])].join('; '));
}

/** The error for a check that took too long, where that is the fault of the schema's own side. */
export function interruptedCheck({ schemaFile }: Contract, afterMs: number): TaskError {
  return new TaskError(
    'InvalidSchema',
    `The check against ${schemaFile} was interrupted after ${String(afterMs)} ms.`,
    'Look for a regular expression with nested repetition in the schema.',
  );
}

function draftOf(root: SchemaFile): Draft {
  const declared = isJsonObject(root.schema) ? root.schema.$schema : undefined;
  if (declared === undefined) return '2020-12';
  const draft = DRAFT_NAMES.find((name) => declares(name, declared));
  if (draft) return draft;
  throw new TaskError(
    'InvalidSchema',
    `The schema file "${root.path}" declares the $schema ${JSON.stringify(declared)}, which is not supported.`,
    `Use one of ${DRAFT_NAMES.map((name) => `${name === 'draft-07' ? 'http' : 'https'}://${DRAFTS[name].$schema}`).join(', ')}.`,
  );
}

function declares(draft: Draft, $schema: unknown): boolean {
  return typeof $schema === 'string' && $schema.replace(/^https?:\/\//, '').replace(/#$/, '') === DRAFTS[draft].$schema;
}

function dialectOf(draft: Draft, ajv: Ajv): Dialect {
  return {
    draft,
    isKeyword: (name) => Object.hasOwn(ajv.RULES.keywords, name),
    isFormat: (name) => Object.hasOwn(ajv.formats, name),
    isDeclaredBy: ($schema) => declares(draft, $schema),
    reasonAgainst(schema, pointer) {
      if (ajv.validateSchema(schema) === true) return undefined;
      return describeProblems(problemsOf(ajv.errors ?? []).map((it) => ({ ...it, pointer: pointer + it.pointer })));
    },
  };
}

function digestOf(files: readonly SchemaFile[]): string {
  const byName = Object.fromEntries(files.map(({ name, schema }) => [name, schema]));
  return `sha256:${createHash('sha256').update(canonicalize(byName)).digest('hex')}`;
}

/** Runs a validator so that it can be interrupted: a timeout of `node:vm` stops even a regular expression. */
function checksOf(validate: ValidateFunction, limitMs: number): Pick<Contract, 'check' | 'checkAll'> {
  const globals = vm.createContext({ validate: (): unknown => true });
  const script = new vm.Script('validate()');
  const check = (value: unknown): CheckResult => {
    globals.validate = () => validate(value);
    try {
      if (script.runInContext(globals, { timeout: limitMs }) === true) return { outcome: 'valid' };
      return { outcome: 'violated', problems: problemsOf(validate.errors ?? []) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
        return { outcome: 'interrupted', afterMs: limitMs };
      }
      // The stack is full, or Ajv made code that fails, as it does for some schemas with unevaluatedProperties in circles.
      const reason = error instanceof RangeError ? 'it is nested too deeply' : reasonOf(error);
      return { outcome: 'violated', problems: [{ pointer: '', message: `cannot be checked: ${reason}` }] };
    } finally {
      globals.validate = undefined;
      validate.errors = null;
    }
  };
  // Entering the context takes a hundred times as long as a check. One that fails there is told by checking alone.
  const areAllValid = (values: readonly unknown[]): boolean => {
    globals.validate = () => values.every((value) => validate(value));
    try {
      return script.runInContext(globals, { timeout: limitMs }) === true;
    } catch {
      return false;
    } finally {
      globals.validate = undefined;
      validate.errors = null;
    }
  };
  const checkEach = (values: readonly unknown[]): CheckResult[] => {
    const results: CheckResult[] = [];
    for (const value of values) {
      const result = check(value);
      results.push(result);
      if (result.outcome === 'interrupted') break;
    }
    return results;
  };
  return {
    check,
    checkAll: (values) => (areAllValid(values) ? values.map(() => ({ outcome: 'valid' })) : checkEach(values)),
  };
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

function messageOf({ keyword, params, message = keyword, propertyName }: ErrorObject): string {
  const text = ((): string => {
    switch (keyword) {
      case 'enum':
        return `must be one of ${(params.allowedValues as unknown[]).map(show).join(', ')}`;
      case 'const':
        return `must be ${show(params.allowedValue)}`;
      case 'type':
        return `must be ${[params.type].flat().join(' or ')}`;
      case 'required':
        return `must have property ${show(params.missingProperty)}`;
      case 'additionalProperties':
        return `must not have property ${show(params.additionalProperty)}`;
      case 'unevaluatedProperties':
        return `must not have property ${show(params.unevaluatedProperty)}`;
      case 'propertyNames':
        return `has the property name ${show(params.propertyName)}, which is not allowed`;
      case 'false schema':
        return 'is not allowed';
      default:
        return message;
    }
  })();
  return shorten(propertyName === undefined ? text : `property name ${show(propertyName)} ${text}`);
}

function show(value: unknown): string {
  return shorten(JSON.stringify(value));
}

function shorten(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`;
}

function oneLine(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
