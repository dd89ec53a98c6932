import type { JSONValue, TreeInterpreter } from '@jmespath-community/jmespath';
import { equalityKey, exactJson, IS_INEXACT, UndecidableError } from '../text/json.ts';
import { shortened } from '../text/safeText.ts';
import type { Node } from './jmespath.ts';
import { find, indexOf, split, whole } from './textSearch.ts';

/** What evaluates expressions, as functions see it. */
export interface Evaluator extends Pick<typeof TreeInterpreter, 'runtime'> {
  visit(node: Node, input: JSONValue): JSONValue;
  /** Throws an `UndecidableError` when a string of this many characters must not be made. */
  checkRoom(characters: number): void;
}

type Key = string | number;

/** Characters of a value that a problem shows. */
const MOST_SHOWN = 80;

/**
 * Replaces functions of the library: version 1.3.0 sorts numbers as strings, finds no max_by and min_by of strings,
 * no object or list in a list, reads empty strings as 0,
 * compares by locale in max and min, groups into an object that inherits members, can't reverse a long string, makes strings of any
 * length, and takes quadratic time to trim a long run of spaces, and to search a string when both are crafted
 * for that. It knows no `bigint`.
 */
export function replaceFunctions(evaluator: Evaluator): void {
  const keysOf = (elements: readonly JSONValue[], by: Node) => sameKeys(elements.map((it) => evaluator.visit(by, it)));
  const join = (texts: readonly string[], separator: string) => {
    const characters = texts.reduce((sum, text) => sum + text.length, 0);
    evaluator.checkRoom(characters + separator.length * texts.length);
    return texts.join(separator);
  };
  const pad = (side: 'padStart' | 'padEnd', text: string, width: number, padding = ' ') => {
    if (padding.length > 1) throw new Error('the padding is more than one character');
    if (whole(width) < 0) throw new Error('the width is negative');
    evaluator.checkRoom(width);
    return text === '' ? '' : text[side](width, padding || ' ');
  };
  const replacements = {
    contains: ([where, what]: [JSONValue[] | string, JSONValue]) =>
      Array.isArray(where) ? includes(where, what) : typeof what === 'string' ? indexOf(where, what) !== -1 : null,
    find_first: ([text, sought, start, end]: [string, string, number?, number?]) =>
      find(text, sought, 'first', start, end),
    find_last: ([text, sought, start, end]: [string, string, number?, number?]) =>
      find(text, sought, 'last', start, end),
    split: ([text, sought, most]: [string, string, number?]) => split(text, sought, most),
    replace: ([text, sought, by, most]: [string, string, string, number?]) => join(split(text, sought, most), by),
    join: ([separator, texts]: [string, string[]]) => join(texts, separator),
    pad_left: ([text, width, padding]: [string, number, string?]) => pad('padStart', text, width, padding),
    pad_right: ([text, width, padding]: [string, number, string?]) => pad('padEnd', text, width, padding),
    reverse: ([value]: [JSONValue[] | string]) =>
      typeof value === 'string' ? Array.from(value).reverse().join('') : [...value].reverse(),
    to_number: ([value]: [JSONValue]) => toNumber(value),
    sort: ([values]: [Key[]]) => [...values].sort(compare),
    sort_by: ([elements, by]: [JSONValue[], Node]) => {
      const keys = keysOf(elements, by);
      const order = [...elements.keys()].sort((one, other) => compare(keys[one] ?? 0, keys[other] ?? 0));
      return order.map((index) => elements[index] ?? null);
    },
    max: ([values]: [Key[]]) => extreme(values, values, 1),
    min: ([values]: [Key[]]) => extreme(values, values, -1),
    max_by: ([elements, by]: [JSONValue[], Node]) => extreme(elements, keysOf(elements, by), 1),
    min_by: ([elements, by]: [JSONValue[], Node]) => extreme(elements, keysOf(elements, by), -1),
    group_by: ([elements, by]: [JSONValue[], Node]) => {
      const groups = new Map<string, JSONValue[]>();
      for (const [index, key] of keysOf(elements, by).entries()) {
        if (typeof key !== 'string') throw new Error('the keys to group by are not all strings');
        const group = groups.get(key);
        if (group === undefined) groups.set(key, [elements[index] ?? null]);
        else group.push(elements[index] ?? null);
      }
      return Object.fromEntries(groups);
    },
    merge: (objects: Record<string, JSONValue>[]) => Object.fromEntries(objects.flatMap((it) => Object.entries(it))),
    to_string: ([value]: [JSONValue]) => (typeof value === 'string' ? value : exactJson(value)),
    type: ([value]: [JSONValue]) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeOf(value)),
    trim: ([text, characters]: [string, string?]) => trim(text, characters, 'both'),
    trim_left: ([text, characters]: [string, string?]) => trim(text, characters, 'left'),
    trim_right: ([text, characters]: [string, string?]) => trim(text, characters, 'right'),
  };
  const functions = evaluator.runtime._functionTable;
  for (const [name, replacement] of Object.entries(replacements))
    functions[name] = { _func: replacement, _signature: functions[name]?._signature ?? [] };
}

function includes(list: readonly JSONValue[], what: JSONValue): boolean {
  if (typeof what !== 'object' || what === null) return list.includes(what);
  const key = equalityKey(what);
  return list.some((one) => typeof one === 'object' && one !== null && equalityKey(one) === key);
}

function sameKeys(keys: readonly JSONValue[]): readonly Key[] {
  for (const key of keys) checkExact(key);
  const isKey = (key: unknown): key is Key => typeof key === 'number' || typeof key === 'string';
  if (keys.every(isKey) && new Set(keys.map((key) => typeof key)).size <= 1) return keys;
  throw new Error('the keys to compare by are neither all numbers nor all strings');
}

/** Throws where the value is a `bigint`, or a list of which one is: it can't be compared or computed with exactly. */
export function checkExact(value: unknown): void {
  const large: unknown = Array.isArray(value) ? value.find((member) => typeof member === 'bigint') : value;
  if (typeof large !== 'bigint') return;
  throw new UndecidableError(
    `${shortened(String(large), MOST_SHOWN)} ${IS_INEXACT}: have the sender write it as a string`,
  );
}

function compare(left: Key, right: Key): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function extreme(elements: readonly JSONValue[], keys: readonly Key[], sign: 1 | -1): JSONValue {
  let best = 0;
  for (const [index, key] of keys.entries()) if (sign * compare(key, keys[best] ?? key) > 0) best = index;
  return elements[best] ?? null;
}

function trim(text: string, characters: string | undefined, sides: 'left' | 'right' | 'both'): string {
  const all = Array.from(text);
  const isTrimmed = (character = ''): boolean =>
    characters ? characters.includes(character) : /[\s\u0085]/.test(character);
  let [start, end] = [0, all.length];
  if (sides !== 'right') while (start < end && isTrimmed(all[start])) start++;
  if (sides !== 'left') while (start < end && isTrimmed(all[end - 1])) end--;
  return all.slice(start, end).join('');
}

function typeOf(value: unknown): string {
  return typeof value === 'bigint' ? 'number' : typeof value;
}

/** A number as JSON writes it. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** A number, or the number that a string spells; otherwise null. */
/** Whether a text is a number to `to_number`. */
export function isNumeric(text: string): boolean {
  return NUMBER.test(text);
}

function toNumber(value: JSONValue): JSONValue {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || !isNumeric(value)) return null;
  if (Math.abs(Number(value)) > Number.MAX_SAFE_INTEGER)
    throw new UndecidableError(`${shortened(value, MOST_SHOWN)} ${IS_INEXACT}: compare it as a string`);
  return Number(value);
}
