import type { ErrorObject, ValidateFunction } from 'ajv';
import type { DataValidateFunction } from 'ajv/dist/types/index.js';
import { isObject } from '../text/json.ts';
import type { AnyAjv } from './drafts.ts';
import type { JsonObject } from './files.ts';
import type { LinkedSchemas } from './references.ts';

/** The names of an object, or indexes of a list, that keywords of a schema and its parts have evaluated. */
class Evaluated {
  all = false;
  /** For a list: how many of its first items. */
  first = 0;
  readonly names = new Set<string | number>();

  has(name: string | number): boolean {
    return this.all || (typeof name === 'number' && name < this.first) || this.names.has(name);
  }
}

/** Adds what one keyword evaluates of a value that its schema accepts. */
type Step = (value: object, into: Evaluated) => void;

type Place = NonNullable<Parameters<ValidateFunction>[1]>;
type Test = (value: unknown, place?: Place) => boolean;

const KEYWORDS = { unevaluatedProperties: 'object', unevaluatedItems: 'array' } as const;

/**
 * Replaces Ajv's own `unevaluatedProperties` and `unevaluatedItems`, which lose what some keywords have evaluated and take
 * over what others have not. They work out what the keywords beside them evaluate (JSON Schema core, 11): for `anyOf`, `if` and
 * the like, that means judging the branches once more.
 */
export class UnevaluatedKeywords {
  readonly #steps = new Map<JsonObject, readonly Step[]>();
  readonly #validators = new Map<string, ValidateFunction | undefined>();
  /** By value and schema, for one check: a branch is judged once, however many keywords ask. */
  #accepted = new WeakMap<object, Map<string, boolean>>();
  #evaluated = new WeakMap<object, Map<JsonObject, Evaluated>>();

  /** @param ajv gets the keywords */
  constructor(
    private readonly ajv: AnyAjv,
    private readonly schemas: LinkedSchemas,
  ) {
    for (const [keyword, type] of Object.entries(KEYWORDS)) {
      ajv.removeKeyword(keyword);
      ajv.addKeyword({
        keyword,
        type,
        compile: (schema: JsonObject | boolean, parent) => this.#check(keyword, schema, parent),
      });
    }
  }

  /** Before anything is compiled: has the parts that a schema with one of the keywords asks be compiled by themselves. */
  prepare(schema: JsonObject): void {
    this.#stepsOf(schema);
    for (const keyword of Object.keys(KEYWORDS)) if (isObject(schema[keyword])) this.#alone(schema, keyword);
  }

  /** After the schemas are: compiles those parts that no schema refers to. */
  compile(): void {
    for (const id of this.#validators.keys()) this.#validators.set(id, this.ajv.getSchema(id));
  }

  /** Begins a check: nothing is known of its values yet. */
  begin(): void {
    this.#accepted = new WeakMap();
    this.#evaluated = new WeakMap();
  }

  #validator(id: string): ValidateFunction {
    const validate = this.#validators.get(id);
    if (validate === undefined) throw new Error(`${id} was not compiled`);
    return validate;
  }

  #check(keyword: string, schema: JsonObject | boolean, parent: JsonObject): DataValidateFunction {
    const steps = this.#stepsOf(parent);
    const check: DataValidateFunction = (value: object, place) => {
      const errors: Partial<ErrorObject>[] = [];
      const evaluated = remembered(this.#evaluated, value, parent, () => collected(steps, value));
      for (const name of Array.isArray(value) ? value.keys() : Object.keys(value)) {
        if (schema === true || evaluated.has(name)) continue;
        if (schema === false) {
          const { instancePath } = placeOf(value, name, place);
          if (typeof name === 'number') errors.push({ keyword: 'false schema', params: {}, instancePath });
          else errors.push({ keyword, params: { unevaluated: name } });
          continue;
        }
        const validate = this.#validator(String(schema.$ref));
        if (!validate(member(value, name), placeOf(value, name, place))) errors.push(...(validate.errors ?? []));
      }
      check.errors = errors;
      return errors.length === 0;
    };
    return check;
  }

  #stepsOf(schema: unknown): readonly Step[] {
    if (!isObject(schema)) return [];
    const known = this.#steps.get(schema);
    if (known) return known;
    const steps: Step[] = [];
    this.#steps.set(schema, steps); // before its parts, which may refer to it
    for (const [keyword, value] of Object.entries(schema)) {
      const step = this.#stepOf(keyword, value, schema);
      if (step !== undefined) steps.push(step);
    }
    return steps;
  }

  #stepOf(keyword: string, value: unknown, schema: JsonObject): Step | undefined {
    switch (keyword) {
      case '$ref':
        return this.#part(this.schemas.at(value));
      case 'allOf':
        return each((value as unknown[]).map((part) => this.#part(part)));
      case 'anyOf':
      case 'oneOf':
        return this.#branches(value as unknown[]);
      case 'if':
        return this.#condition(schema);
      case 'dependentSchemas':
      case 'dependencies':
        return this.#dependent(value as JsonObject);
      case 'properties':
        return ofObjects((object, into) => {
          for (const name of Object.keys(object)) if (Object.hasOwn(value as object, name)) into.names.add(name);
        });
      case 'patternProperties':
        return patternProperties(Object.keys(value as object));
      case 'additionalProperties':
        return ofObjects(all);
      case 'prefixItems':
        return ofLists((_list, into) => (into.first = Math.max(into.first, (value as unknown[]).length)));
      case 'items':
        // A list in draft 2019-09, where additionalItems says what comes after it.
        if (!Array.isArray(value) || Object.hasOwn(schema, 'additionalItems')) return ofLists(all);
        return ofLists((_list, into) => (into.first = Math.max(into.first, value.length)));
      case 'contains':
        return this.#contains(schema);
      default:
        return undefined;
    }
  }

  /** What a part evaluates that also has to accept the value. */
  #part(schema: unknown): Step {
    const steps = this.#stepsOf(schema);
    const { unevaluatedProperties, unevaluatedItems } = isObject(schema) ? schema : {};
    return (value, into) => {
      if ((Array.isArray(value) ? unevaluatedItems : unevaluatedProperties) !== undefined) into.all = true;
      else for (const step of steps) if (!into.all) step(value, into);
    };
  }

  #branches(schemas: unknown[]): Step {
    const branches = schemas.map((schema, index) => ({
      accepts: this.#test(schemas, index),
      evaluate: this.#part(schema),
    }));
    return (value, into) => {
      const accepting = branches.filter(({ accepts }) => accepts(value));
      for (const { evaluate } of accepting) evaluate(value, into);
      // That is a problem already, and nothing else needs to be one because of it.
      if (accepting.length === 0) into.all = true;
    };
  }

  #condition(schema: JsonObject): Step {
    const accepts = this.#test(schema, 'if');
    const whenAccepted = each([this.#part(schema['if']), this.#part(schema['then'])]);
    const otherwise = this.#part(schema['else']);
    return (value, into) => (accepts(value) ? whenAccepted : otherwise)(value, into);
  }

  #dependent(schemas: JsonObject): Step {
    const parts = Object.entries(schemas).map(([name, schema]) => [name, this.#part(schema)] as const);
    return ofObjects((value, into) => {
      for (const [name, evaluate] of parts) if (Object.hasOwn(value, name)) evaluate(value, into);
    });
  }

  #contains(schema: JsonObject): Step | undefined {
    // In draft 2019-09, it evaluates nothing.
    if (!Object.hasOwn(this.ajv.RULES.keywords, 'prefixItems')) return undefined;
    const accepts = this.#test(schema, 'contains');
    return ofLists((list, into) => {
      for (const [index, item] of list.entries()) {
        if (!into.has(index) && accepts(item, placeOf(list, index))) into.names.add(index);
      }
    });
  }

  /** What tells whether a part of a schema, or of a list of schemas, accepts a value. */
  #test(holder: object, key: string | number): Test {
    const part = member(holder, key);
    if (!isObject(part)) return () => part === true;
    const id = this.#alone(holder, key);
    return (value, place) => {
      const accepts = () => this.#validator(id)(value, place);
      const isMemorable = typeof value === 'object' && value !== null;
      return isMemorable ? remembered(this.#accepted, value, id, accepts) : accepts();
    };
  }

  /**
   * Replaces a part by a reference. Compiled within each schema around it and once more to be asked, nested parts
   * would take ever longer.
   */
  #alone(holder: object, key: string | number): string {
    const part = member(holder, key);
    // Many are a reference and nothing else.
    const isReference = isObject(part) && typeof part.$ref === 'string' && Object.keys(part).length === 1;
    const id = isReference ? String(part.$ref) : this.schemas.idOf(part);
    (holder as Record<string | number, unknown>)[key] = { $ref: id };
    this.#validators.set(id, undefined);
    return id;
  }
}

function collected(steps: readonly Step[], value: object): Evaluated {
  const evaluated = new Evaluated();
  for (const step of steps) if (!evaluated.all) step(value, evaluated);
  return evaluated;
}

function remembered<Schema, Result>(
  memory: WeakMap<object, Map<Schema, Result>>,
  value: object,
  schema: Schema,
  compute: () => Result,
): Result {
  const results = memory.get(value) ?? new Map<Schema, Result>();
  memory.set(value, results);
  const known = results.get(schema);
  if (known !== undefined) return known;
  const result = compute();
  results.set(schema, result);
  return result;
}

function each(steps: readonly Step[]): Step {
  return (value, into) => {
    for (const step of steps) step(value, into);
  };
}

function all(_value: object, into: Evaluated): void {
  into.all = true;
}

function ofObjects(step: Step): Step {
  return (value, into) => {
    if (!Array.isArray(value)) step(value, into);
  };
}

function ofLists(step: (list: readonly unknown[], into: Evaluated) => void): Step {
  return (value, into) => {
    if (Array.isArray(value)) step(value, into);
  };
}

function patternProperties(patterns: readonly string[]): Step {
  const expressions = patterns.map((pattern) => new RegExp(pattern, 'u'));
  return ofObjects((value, into) => {
    for (const name of Object.keys(value)) if (expressions.some((it) => it.test(name))) into.names.add(name);
  });
}

function member(value: object, name: string | number): unknown {
  return (value as Record<string | number, unknown>)[name];
}

/** Where a member stands, as Ajv names places. */
function placeOf(parentData: object, name: string | number, parent?: Place): Place {
  const token = String(name).replaceAll('~', '~0').replaceAll('/', '~1');
  const instancePath = `${parent?.instancePath ?? ''}/${token}`;
  return { instancePath, parentData, parentDataProperty: name, rootData: parentData, dynamicAnchors: {} };
}
