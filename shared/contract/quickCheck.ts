import { isObject } from '../text/json.ts';
import { metaSchemasOf, type Draft } from './drafts.ts';
import type { JsonObject } from './files.ts';

type Accepts = (schema: unknown, value: unknown) => boolean;

/** What the keywords of meta-schemas demand. Each has a `type` beside it, unless it goes for values of every type. */
const RULES: Readonly<Record<string, (demanded: never, value: never, accepts: Accepts) => boolean>> = {
  type: (demanded: string | string[], value) => [demanded].flat().some((type) => isOfType(type, value)),
  enum: (demanded: unknown[], value) => demanded.includes(value),
  minimum: (demanded: number, value: number) => value >= demanded,
  exclusiveMinimum: (demanded: number, value: number) => value > demanded,
  pattern: (demanded: string, value: string) => new RegExp(demanded, 'u').test(value),
  items: (demanded, value: unknown[], accepts) => value.every((item) => accepts(demanded, item)),
  minItems: (demanded: number, value: unknown[]) => value.length >= demanded,
  // Their type is `string`.
  uniqueItems: (_demanded, value: unknown[]) => new Set(value).size === value.length,
  properties: (demanded: JsonObject, value, accepts) =>
    !isObject(value) ||
    Object.entries(value).every(([name, part]) => !Object.hasOwn(demanded, name) || accepts(demanded[name], part)),
  additionalProperties: (demanded, value: object, accepts) =>
    Object.values(value).every((part) => accepts(demanded, part)),
  propertyNames: (demanded, value: object, accepts) => Object.keys(value).every((name) => accepts(demanded, name)),
  allOf: (demanded: unknown[], value, accepts) => demanded.every((part) => accepts(part, value)),
  anyOf: (demanded: unknown[], value, accepts) => demanded.some((part) => accepts(part, value)),
  // Ajv doesn't check formats in meta-schemas.
  ...Object.fromEntries(['$comment', 'default', 'deprecated', 'format', 'title'].map((name) => [name, () => true])),
};

function isOfType(type: string, value: unknown): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  return type === 'object' ? isObject(value) : typeof value === type;
}

/**
 * Recognises most valid schemas of a draft in a fraction of the time that the draft's compiled meta-schema takes. It
 * knows only the keywords that meta-schemas use; when it says no, ask the meta-schema itself.
 */
export function quickCheckOf(draft: Draft): (value: unknown) => boolean {
  // Within a draft no name occurs twice, so they can be read as one.
  const all = (holder: string): JsonObject =>
    Object.fromEntries(metaSchemasOf(draft).flatMap((schema: JsonObject) => Object.entries(schema[holder] ?? {})));
  const whole = { type: ['object', 'boolean'], properties: all('properties') };
  const named: JsonObject = { ...all('definitions'), ...all('$defs'), '#': whole, '#meta': whole };
  const accepts: Accepts = (schema, value) => {
    if (!isObject(schema)) return schema === true;
    return Object.entries(schema).every(([keyword, demanded]) =>
      /^\$(r|dynamicR|recursiveR)ef$/.test(keyword)
        ? accepts(named[String(demanded).replace(/^.*\//, '')], value)
        : RULES[keyword]?.(demanded as never, value as never, accepts) === true,
    );
  };
  return (value) => accepts(whole, value);
}
