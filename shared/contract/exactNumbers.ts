import type { FuncKeywordDefinition } from 'ajv';
import type core from 'ajv/dist/core.js';
import { equalityKey, isObject } from '../text/json.ts';

/** Maps each list and object of a JSON value to its counterpart in a reading that has large integers as `bigint`s. */
export type Twins = WeakMap<object, object>;

type Numeric = number | bigint;
type Test = (value: unknown) => boolean;

/** Turns a keyword's operand into a test of a value. JavaScript compares a number with a `bigint` exactly. */
const TESTS: Readonly<Record<string, (demanded: unknown) => Test>> = {
  const: (demanded) => isOneOf([demanded]),
  enum: (demanded) => isOneOf(demanded as unknown[]),
  uniqueItems: (demanded) => (value) => {
    const items = value as unknown[];
    return demanded === false || new Set(items.map(equalityKey)).size === items.length;
  },
  maximum: (demanded) => (value) => (value as Numeric) <= (demanded as Numeric),
  minimum: (demanded) => (value) => (value as Numeric) >= (demanded as Numeric),
  exclusiveMaximum: (demanded) => (value) => (value as Numeric) < (demanded as Numeric),
  exclusiveMinimum: (demanded) => (value) => (value as Numeric) > (demanded as Numeric),
  multipleOf: (demanded) => isMultipleOf(decimalOf(demanded as Numeric)),
};

function isOneOf(demanded: readonly unknown[]): Test {
  const scalars = new Set(demanded.filter((one) => !isContainer(one)));
  const keys = new Set(demanded.filter(isContainer).map(equalityKey));
  return (value) => {
    if (isContainer(value)) return keys.size > 0 && keys.has(equalityKey(value));
    // A value without a twin, whose schema has one.
    const isLarge = Number.isInteger(value) && !Number.isSafeInteger(value);
    return scalars.has(value) || (isLarge && scalars.has(BigInt(value as number)));
  };
}

function isContainer(value: unknown): boolean {
  return isObject(value) || Array.isArray(value);
}

/** Computed with the digits as written, so that 19.99 is a multiple of 0.01 and 1e308 isn't one of 0.123. */
function isMultipleOf(divisor: Decimal): Test {
  return (number) => {
    const value = decimalOf(number as Numeric);
    const power = Math.min(value.power, divisor.power);
    const scaled = ({ digits, power: own }: Decimal) => digits * 10n ** BigInt(own - power);
    return scaled(value) % scaled(divisor) === 0n;
  };
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

/**
 * Replaces keywords that compare values or compute with numbers by ones that do it exactly, given the twins of schemas and
 * values. Ajv's own divide, so that 19.99 isn't a multiple of 0.01, and mistake members such as `constructor` for an object's kind.
 */
export function compareExactly(ajv: core.default, twins: Twins): void {
  const memberOf = (parent: object, name: string | number, member: unknown) =>
    (twins.get(parent) as Record<string, unknown> | undefined)?.[name] ?? member;
  for (const [keyword, testOf] of Object.entries(TESTS)) {
    const { type, error } = ajv.getKeyword(keyword) as FuncKeywordDefinition;
    ajv.removeKeyword(keyword);
    ajv.addKeyword({
      keyword,
      ...(type && { type }),
      // Ajv's own names the two items.
      ...(keyword === 'uniqueItems' ? { error: { message: 'must NOT have duplicate items' } } : error && { error }),
      compile: (schema: unknown, parentSchema) => {
        const test = testOf(memberOf(parentSchema, keyword, schema));
        return (value: unknown, place) => {
          if (typeof value === 'object' && value !== null) return test(twins.get(value) ?? value);
          // Strings have no twin, and a property name's place isn't a member's.
          const isNumber = typeof value === 'number' && place?.parentData !== undefined;
          return test(isNumber ? memberOf(place.parentData, place.parentDataProperty, value) : value);
        };
      },
    });
  }
}
