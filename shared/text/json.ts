import canonicalizeModule from 'canonicalize';
import { randomBytes } from 'node:crypto';

/**
 * Marks the digits of an integer while JSON.parse or JSON.stringify handles them as a string. Random per process, so
 * that no event can hold it.
 */
const MARK = `integer ${randomBytes(16).toString('hex')} `;
/** Least number of consecutive digits in an integer beyond 2^53 written without an exponent. */
const LEAST_DIGITS = 16;
/** Most digits of an integer that is read: far more than the largest finite number has, yet few enough to compute with. */
const MOST_DIGITS = 1_000;
/** Zeros that the exponents of one text may stand for together: `1e999` takes five characters. */
const MOST_ZEROS = 100_000;
/** From here on a number holds no fraction. */
export const LEAST_WHOLE = 2 ** 52;
const ZERO = 0x30;
const NINE = 0x39;
/** A string, which is left alone, or a number, in JSON that is known to parse. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const GROWING_EXPONENT = /\d[eE][+\d]/;
const MARKED_INTEGER = new RegExp(`"${MARK}(-?\\d+)"`, 'g');

/** What is wrong with an integer beyond 2^53 where it is compared or computed with; continues its digits. */
export const IS_INEXACT = "is beyond 2^53, where numbers aren't exact";

/** An event holds something that makes a condition undecidable: neither answer would be true. Its message is a clause. */
export class UndecidableError extends Error {}

/** The value of a JSON text, wrapped because it may be null; undefined when it is not JSON. Of a repeated key the last value counts. */
export function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** The object that a JSON text holds; undefined when it is not JSON, or anything else. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  const value = parseJson(text)?.value;
  return isObject(value) ? value : undefined;
}

/** Whether a JSON value is an object and not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The one way to write a JSON value (RFC 8785). The package's types describe an ES module, but it is a CommonJS one. */
export const canonicalize = canonicalizeModule as unknown as (value: unknown) => string;

/**
 * The value of a JSON text, in which each integer that a JavaScript number can't hold exactly (beyond 2^53, however it is
 * written) is a `bigint`; undefined when there is none, so that `JSON.parse` is exact.
 *
 * @param text parses as JSON
 * @throws UndecidableError when such an integer is too long or nested too deeply
 */
export function parseLargeIntegers(text: string): { readonly value: unknown } | undefined {
  if (!mayHoldLargeIntegers(text)) return undefined;
  let zeros = 0;
  const mark = (token: string): string => {
    const integer = token.startsWith('"') ? undefined : largeInteger(token);
    if (integer === undefined) return token;
    zeros += integer.zeros;
    if (zeros > MOST_ZEROS) throw new UndecidableError(`the exponents in it stand for more than ${MOST_ZEROS} zeros`);
    return `"${MARK}${integer.digits}${'0'.repeat(integer.zeros)}"`;
  };
  const revive = (_: string, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value;
  try {
    const marked = text.replace(STRING_OR_NUMBER, mark);
    return marked === text ? undefined : { value: JSON.parse(marked, revive) as unknown };
  } catch (error) {
    if (error instanceof UndecidableError) throw error;
    throw new UndecidableError('it is too large, or nested too deeply, for its integers beyond 2^53', { cause: error });
  }
}

/** Whether {@link parseLargeIntegers} would have to read the text to find out whether one is in it. */
export function mayHoldLargeIntegers(text: string): boolean {
  return hasManyDigits(text) || GROWING_EXPONENT.test(text);
}

/** The digits of a number of JSON that is an integer beyond 2^53, and the zeros to add; undefined for one that is exact. */
function largeInteger(token: string): { readonly digits: string; readonly zeros: number } | undefined {
  const size = Math.abs(Number(token));
  if (size < LEAST_WHOLE) return undefined;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE](.+))?$/.exec(token) ?? [];
  let digits = whole + fraction;
  const zeros = Number(exponent) - fraction.length;
  if (zeros < 0) {
    if (/[1-9]/.test(digits.slice(zeros)))
      throw new UndecidableError('a number in it has a fraction that none of its size can hold');
    digits = digits.slice(0, zeros);
  }
  if (size <= Number.MAX_SAFE_INTEGER) return undefined;
  if (digits.length + zeros > MOST_DIGITS)
    throw new UndecidableError(`a number in it has more than ${MOST_DIGITS} digits`);
  return { digits: sign + digits, zeros: Math.max(0, zeros) };
}

/** An integer beyond 2^53 in the value; undefined where there is none. */
export function largeIntegerIn(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const member of Object.values(value)) {
    const found = largeIntegerIn(member);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Looks only at every sixteenth character, since each event of a backlog goes through here: any run of sixteen contains one. */
function hasManyDigits(text: string): boolean {
  for (let index = LEAST_DIGITS - 1; index < text.length; index += LEAST_DIGITS) {
    if (!isDigit(text.charCodeAt(index))) continue;
    let start = index;
    while (isDigit(text.charCodeAt(start - 1))) start--;
    while (isDigit(text.charCodeAt(index + 1))) index++;
    if (index - start + 1 >= LEAST_DIGITS) return true;
  }
  return false;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/**
 * JSON of a value that may hold `bigint`s, each of which becomes its digits; on one line, unless it is to be indented.
 *
 * @throws RangeError where it is nested too deeply
 */
export function exactJson(value: unknown, indent = 0): string {
  try {
    return JSON.stringify(value, undefined, indent);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  const mark = (_: string, member: unknown) => (typeof member === 'bigint' ? `${MARK}${member}` : member);
  return JSON.stringify(value, mark, indent).replace(MARKED_INTEGER, '$1');
}

/**
 * A text that is the same for equal JSON values and differs for others, as JSON Schema and JMESPath compare them: the order
 * of an object's members doesn't matter. May hold `bigint`s. Where members are in order, it is the value's JSON.
 *
 * @throws RangeError where it is nested too deeply
 */
export function equalityKey(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(equalityKey).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${equalityKey(value[name])}`).join()}}`;
}
