import type { FuncKeywordDefinition } from 'ajv';
import type core from 'ajv/dist/core.js';
import { isObject } from '../text/json.ts';

/** Each list and object of a JSON value with the one in its place in a reading that has large integers as `bigint`s. */
export type Twins = WeakMap<object, object>;

type Numeric = number | bigint;
type Test = (demanded: unknown, value: unknown) => boolean;

/** Whether a value has what a keyword demands. JavaScript compares a number with a `bigint` exactly. */
const TESTS: Readonly<Record<string, Test>> = {
  const: (demanded, value) => keyOf(value) === keyOf(demanded),
  enum: (demanded, value) => (demanded as unknown[]).some((one) => keyOf(one) === keyOf(value)),
  uniqueItems: (demanded, value) => {
    const items = value as unknown[];
    return demanded === false || new Set(items.map(keyOf)).size === items.length;
  },
  maximum: (demanded, value) => (value as Numeric) <= (demanded as Numeric),
  minimum: (demanded, value) => (value as Numeric) >= (demanded as Numeric),
  exclusiveMaximum: (demanded, value) => (value as Numeric) < (demanded as Numeric),
  exclusiveMinimum: (demanded, value) => (value as Numeric) > (demanded as Numeric),
  multipleOf: (demanded, value) => isMultiple(value as Numeric, demanded as Numeric),
};

/** What is equal has the same key, as JSON Schema has it: the order of an object's members doesn't matter. */
function keyOf(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(keyOf).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${keyOf(value[name])}`).join()}}`;
}

/** Computed with the digits that both are written with, so that 19.99 is a multiple of 0.01, and 1e308 none of 0.123. */
function isMultiple(value: Numeric, divisor: Numeric): boolean {
  const [one, other] = [decimalOf(value), decimalOf(divisor)];
  const power = Math.min(one.power, other.power);
  const scaled = ({ digits, power: own }: Decimal) => digits * 10n ** BigInt(own - power);
  return scaled(one) % scaled(other) === 0n;
}

/** digits * 10^power */
interface Decimal {
  readonly digits: bigint;
  readonly power: number;
}

function decimalOf(value: Numeric): Decimal {
  const [, whole = '', fraction = '', power = '0'] = /^(-?\d+)(?:\.(\d+))?(?:e(.+))?$/.exec(String(value)) ?? [];
  return { digits: BigInt(whole + fraction), power: Number(power) - fraction.length };
}

/** Pairs a JSON value with another reading of the same text. */
export function pair(twins: Twins, value: unknown, twin: unknown): void {
  // Linking adds to a schema what isn't in its text.
  if (typeof value !== 'object' || value === null || typeof twin !== 'object' || twin === null) return;
  twins.set(value, twin);
  const members = twin as Record<string, unknown>;
  for (const [name, member] of Object.entries(value)) pair(twins, member, members[name]);
}

/** Replaces keywords that compare or compute with numbers by ones that do it exactly, given the twins of schemas and values. */
export function compareExactly(ajv: core.default, twins: Twins, keywords = Object.keys(TESTS)): core.default {
  const memberOf = (parent: object, name: string | number, member: unknown) =>
    (twins.get(parent) as Record<string, unknown> | undefined)?.[name] ?? member;
  for (const [keyword, test] of Object.entries(TESTS)) {
    if (!keywords.includes(keyword)) continue;
    const { type, error } = ajv.getKeyword(keyword) as FuncKeywordDefinition;
    ajv.removeKeyword(keyword);
    ajv.addKeyword({
      keyword,
      ...(type && { type }),
      // Ajv's own names the two items.
      ...(keyword === 'uniqueItems' ? { error: { message: 'must NOT have duplicate items' } } : error && { error }),
      compile: (schema: unknown, parentSchema) => {
        const demanded = memberOf(parentSchema, keyword, schema);
        return (value: unknown, place) => {
          if (typeof value === 'object' && value !== null) return test(demanded, twins.get(value) ?? value);
          // Texts have no twin, and the place of a property's name is none of a member.
          const isNumber = typeof value === 'number' && place?.parentData !== undefined;
          return test(demanded, isNumber ? memberOf(place.parentData, place.parentDataProperty, value) : value);
        };
      },
    });
  }
  return ajv;
}
