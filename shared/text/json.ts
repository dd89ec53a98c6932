import canonicalizeModule from 'canonicalize';
import { randomBytes } from 'node:crypto';

/**
 * Marks the digits of an integer while JSON.parse or JSON.stringify handles them as a text. Drawn anew in each process, so
 * that no event can hold it.
 */
const MARK = `integer ${randomBytes(16).toString('hex')} `;
/** Digits in a row that an integer beyond 2^53 has at least. */
const LEAST_DIGITS = 16;
const ZERO = 0x30;
const NINE = 0x39;
/** A string, which is left alone, or an integer; both as JSON that is known to parse has them. */
const STRING_OR_INTEGER = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])|-?\d[\d.eE+-]*/g;
const MARKED_INTEGER = new RegExp(`"${MARK}(-?\\d+)"`, 'g');

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

/** Whether a JSON value is an object, and no array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The one way to write a JSON value (RFC 8785). The package's types describe an ES module, but it is a CommonJS one. */
export const canonicalize = canonicalizeModule as unknown as (value: unknown) => string;

/**
 * The value of a JSON text, in which each integer that a JavaScript number can't hold exactly (beyond 2^53) is a `bigint`;
 * undefined where no integer in it is of that kind, so that `JSON.parse` is exact.
 *
 * @param text parses as JSON
 */
export function parseLargeIntegers(text: string): { readonly value: unknown } | undefined {
  if (!hasManyDigits(text)) return undefined;
  const marked = text.replace(STRING_OR_INTEGER, (token) =>
    token.startsWith('"') || /[.eE]/.test(token) || Number.isSafeInteger(Number(token)) ? token : `"${MARK}${token}"`,
  );
  if (marked === text) return undefined;
  const revive = (_: string, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value;
  return { value: JSON.parse(marked, revive) as unknown };
}

/** Looks at each sixteenth character only, as every event of a backlog is looked at: one of them is in any sixteen. */
function hasManyDigits(text: string): boolean {
  const isDigit = (index: number) => text.charCodeAt(index) >= ZERO && text.charCodeAt(index) <= NINE;
  for (let index = LEAST_DIGITS - 1; index < text.length; index += LEAST_DIGITS) {
    if (!isDigit(index)) continue;
    let start = index;
    while (isDigit(start - 1)) start--;
    while (isDigit(index + 1)) index++;
    if (index - start + 1 >= LEAST_DIGITS) return true;
  }
  return false;
}

/**
 * JSON of a value that may hold `bigint`s, each of which becomes its digits; on one line.
 *
 * @throws RangeError where it is nested too deeply
 */
export function exactJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  const mark = (_: string, member: unknown) => (typeof member === 'bigint' ? `${MARK}${member}` : member);
  return JSON.stringify(value, mark).replace(MARKED_INTEGER, '$1');
}
