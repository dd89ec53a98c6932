import {
  compile,
  registerFunction,
  tokenize,
  TreeInterpreter,
  TYPE_ANY,
  TYPE_EXPREF,
  type JSONValue,
} from '@jmespath-community/jmespath';
import { reasonOf } from '../errors.ts';
import {
  exactJson,
  IS_INEXACT,
  largeIntegerIn,
  parseJson,
  parseLargeIntegers,
  UndecidableError,
} from '../text/json.ts';
import { quoted, shortened } from '../text/safeText.ts';
import { find, indexOf, split } from './textSearch.ts';

/** A node of the syntax tree of a JMESPath expression. */
export type Node = ReturnType<typeof compile>;

/** A word of an expression and where it starts, counted from 0. */
interface Token {
  readonly type: string;
  readonly start: number;
}

/** What a function wants: how many arguments, and which of them are expressions with `&` before them. */
export interface Signature {
  readonly least: number;
  readonly most: number;
  takesReference(index: number): boolean;
}

// ---- Evaluation

const functions = TreeInterpreter.runtime._functionTable;
/** Characters of a value that a problem shows. */
const MOST_SHOWN = 80;

/**
 * The value of a tree on this input. Throws an `Error` with a clause where a function is given a value of the wrong type, an
 * {@link UndecidableError} where the input is too deep or too large for it.
 */
export function search(node: Node, input: unknown): unknown {
  try {
    return TreeInterpreter.search(node, input as JSONValue);
  } catch (error) {
    if (error instanceof UndecidableError) throw error;
    if (error instanceof RangeError)
      throw new UndecidableError(`it holds too much, or is nested too deeply (${error.message})`, { cause: error });
    throw new Error(reasonOf(error).replace(/\.$/, ''), { cause: error });
  }
}

/** Undefined where there is no such function. */
export function signatureOf(name: string): Signature | undefined {
  const parameters = Object.hasOwn(functions, name) ? functions[name]?._signature : undefined;
  if (parameters === undefined) return undefined;
  const last = parameters.length - 1;
  return {
    least: parameters.filter((parameter) => parameter.optional !== true).length,
    most: parameters[last]?.variadic === true ? Infinity : parameters.length,
    takesReference: (index) => parameters[Math.min(index, last)]?.types.includes(TYPE_EXPREF) === true,
  };
}

// The library reads members with `object[name]`, those that every JavaScript object inherits included. Fields of such a
// name (`constructor`, `toString`) are turned into calls of this function, whose name no expression can spell.
const OWN_MEMBER = 'own member';

function ownMember([object, name]: unknown[]): JSONValue {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) return null;
  const member = String(name);
  return Object.hasOwn(object, member) ? ((object as Record<string, JSONValue>)[member] ?? null) : null;
}

function hideInherited(node: Node): void {
  const { same, other } = childrenOf(node);
  for (const child of [...same, ...other]) hideInherited(child);
  if (node.type !== 'Field' || !(node.name in Object.prototype)) return;
  const children = [{ type: 'Current' }, { type: 'Literal', value: node.name }];
  Object.assign(node, { type: 'Function', name: OWN_MEMBER, children });
}

type Key = string | number;

function compare(left: Key, right: Key): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function keysOf(elements: readonly JSONValue[], reference: Node): Key[] {
  const keys = elements.map((element) => TreeInterpreter.visit(reference, element));
  const isKey = (key: unknown): key is Key => typeof key === 'number' || typeof key === 'string';
  if (keys.every(isKey) && new Set(keys.map((key) => typeof key)).size <= 1) return keys;
  throw new Error('the keys to compare by are neither all numbers nor all strings');
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

/** A number, or the number that a text is; else null. */
function toNumber(value: JSONValue): JSONValue {
  const number = typeof value === 'string' ? Number(value) : typeof value === 'number' ? value : NaN;
  if (typeof value === 'string' && Math.abs(number) > Number.MAX_SAFE_INTEGER)
    throw new UndecidableError(`${shortened(value, MOST_SHOWN)} ${IS_INEXACT}: compare it as a text`);
  return Number.isNaN(number) ? null : number;
}

// Version 1.3.0 sorts numbers as if they were texts, finds no max_by and min_by of texts, compares by locale in max and
// min, and takes quadratic time to trim a long run of spaces, and to look for a text in another one where both are made
// for it. It knows no `bigint`.
const REPLACEMENTS = {
  contains: ([where, what]: [JSONValue[] | string, JSONValue]) =>
    Array.isArray(where) ? where.includes(what) : typeof what === 'string' ? indexOf(where, what) !== -1 : null,
  find_first: ([text, sought, start, end]: [string, string, number?, number?]) =>
    find(text, sought, 'first', start, end),
  find_last: ([text, sought, start, end]: [string, string, number?, number?]) => find(text, sought, 'last', start, end),
  split: ([text, sought, most]: [string, string, number?]) => split(text, sought, most),
  replace: ([text, sought, by, most]: [string, string, string, number?]) => split(text, sought, most).join(by),
  to_number: ([value]: [JSONValue]) => toNumber(value),
  sort: ([values]: [Key[]]) => [...values].sort(compare),
  max: ([values]: [Key[]]) => extreme(values, values, 1),
  min: ([values]: [Key[]]) => extreme(values, values, -1),
  max_by: ([elements, by]: [JSONValue[], Node]) => extreme(elements, keysOf(elements, by), 1),
  min_by: ([elements, by]: [JSONValue[], Node]) => extreme(elements, keysOf(elements, by), -1),
  to_string: ([value]: [JSONValue]) => (typeof value === 'string' ? value : exactJson(value)),
  type: ([value]: [JSONValue]) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeOf(value)),
  trim: ([text, characters]: [string, string?]) => trim(text, characters, 'both'),
  trim_left: ([text, characters]: [string, string?]) => trim(text, characters, 'left'),
  trim_right: ([text, characters]: [string, string?]) => trim(text, characters, 'right'),
};

for (const [name, replacement] of Object.entries(REPLACEMENTS)) {
  const signature = functions[name]?._signature ?? [];
  registerFunction(name, replacement as (values: unknown[]) => JSONValue, signature, { override: true });
}
// Integers beyond 2^53 are `bigint`s (text/json.ts). What would compare one or compute with it is given its operands
// through this function, whose name no expression can spell either.
const EXACT_OPERAND = 'exact operand';
/** Functions that hand on what they are given. */
const COPYING = new Set(
  'from_items group_by items keys length map merge not_null reverse to_array to_string type values zip'.split(' '),
);

function exactOperand([value]: unknown[]): JSONValue {
  const large = [value].flat().find((member) => typeof member === 'bigint');
  if (typeof large !== 'bigint') return value as JSONValue;
  throw new UndecidableError(`${large} ${IS_INEXACT}: have the sender write it as a text`);
}

/** The tree with a guard before whatever compares or computes: it throws where that would be done with a `bigint`. */
export function guarded(root: Node): Node {
  const guard = (node: Node): Node => ({ type: 'Function', name: EXACT_OPERAND, children: [node] });
  const guardArgument = (node: Node): Node =>
    node.type === 'ExpressionReference' ? { ...node, child: guard(node.child) } : guard(node);
  const protect = (node: Node): void => {
    const { same, other } = childrenOf(node);
    for (const child of [...same, ...other]) protect(child);
    if (node.type === 'Comparator' || node.type === 'Arithmetic')
      Object.assign(node, { left: guard(node.left), right: guard(node.right) });
    else if (node.type === 'Unary') Object.assign(node, { operand: guard(node.operand) });
    else if (node.type === 'Function' && signatureOf(node.name) !== undefined && !COPYING.has(node.name))
      Object.assign(node, { children: node.children.map(guardArgument) });
  };
  const copy = structuredClone(root);
  protect(copy);
  return copy;
}

registerFunction(EXACT_OPERAND, exactOperand, [{ types: [TYPE_ANY] }]);
registerFunction(OWN_MEMBER, ownMember, [{ types: [TYPE_ANY] }, { types: [TYPE_ANY] }]);

// ---- Syntax. The library's errors have no position; and it takes an unclosed literal for a closed one, and `=` outside
// of `let` for a value that is always true.

/** One literal or quoted name, else one character that may stand outside of them. */
const PIECE =
  /'(?:\\[\\']|\\(?!['\\])|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\[\\`]|\\(?![`\\])|[^`\\])*`|[\w\t\r\n .,:;()[\]{}@*+%?\u2212\u00d7\u00f7!<>=&|/$-]/suy;

const HINTS: Readonly<Record<string, string>> = {
  Number: ': a number is written between backticks, as in `5`',
  and: ': write &&',
  or: ': write ||',
};

/** Parses a JMESPath expression. Throws an `Error` with a clause that begins with the position, counted from 1. */
export function parse(text: string): Node {
  const tokens = readTokens(text);
  const assignment = tokens.find(({ type }, index) => type === 'Assign' && tokens[index - 1]?.type !== 'Variable');
  if (assignment !== undefined) throw new Error(`position ${assignment.start + 1}: a comparison is written ==, not =`);
  for (const [index, { type, start }] of tokens.entries())
    if (type === 'Literal') checkLiteral(text.slice(start, tokens[index + 1]?.start).trim(), start);
  const problem = problemOf(() => compile(text));
  if (problem !== undefined) throw new Error(wrongToken(text, problem));
  const root = compile(text);
  hideInherited(root);
  return root;
}

/** An integer that no number holds would be compared as the next one that a number does. */
function checkLiteral(literal: string, start: number): void {
  const json = literal.startsWith('`') ? literal.slice(1, -1).replaceAll('\\`', '`') : '';
  // What is no JSON the parser tells, with the position.
  const large = parseJson(json) && largeIntegerIn(parseLargeIntegers(json)?.value);
  if (large === undefined) return;
  throw new Error(
    `position ${start + 1}: ${large} ${IS_INEXACT}. Have the sender write it as a text, and compare that: '${large}'`,
  );
}

/** The operands of the outermost chain of `&&` in an expression whose root is one. */
export function splitAtAnd(text: string): string[] {
  const ends: number[] = [];
  let depth = 0;
  let inLet = false;
  for (const { type, start } of readTokens(text)) {
    if (/^(?:Lparen|Lbracket|Lbrace|Filter)$/.test(type)) depth++;
    if (/^(?:Rparen|Rbracket|Rbrace)$/.test(type)) depth--;
    // All that follows `let` is one operand.
    if (depth === 0 && type === 'Assign') inLet = true;
    if (depth === 0 && type === 'And' && !inLet) ends.push(start);
  }
  return [...ends, text.length].map((end, index) => text.slice((ends[index - 1] ?? -2) + 2, end).trim());
}

function readTokens(text: string): readonly Token[] {
  for (let start = 0; start < text.length;) {
    PIECE.lastIndex = start;
    const piece = PIECE.exec(text)?.[0];
    if (piece === undefined) {
      const [character = ''] = text.slice(start, start + 2);
      const problem = /['"`]/.test(character) ? 'is never closed' : 'cannot be read';
      throw new Error(`position ${start + 1}: ${quoted(character)} ${problem}`);
    }
    if (/^["`]/.test(piece) && problemOf(() => tokenize(piece)) !== undefined) {
      throw new Error(`position ${start + 1}: ${quoted(piece)} is not JSON between its quotes`);
    }
    start += piece.length;
  }
  return tokenize(text);
}

/** The token the parser stumbles over: the shortest beginning of the text that fails in the same way ends with it. */
function wrongToken(text: string, problem: string): string {
  // What fails at its end fails in another way when something follows.
  if (problemOf(() => compile(`${text} :`)) !== problem) return `position ${text.length + 1}: it ends too early`;
  const tokens: readonly Token[] = tokenize(text);
  const endOf = (index: number): number => tokens[index + 1]?.start ?? text.length;
  let [low, high] = [0, tokens.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (problemOf(() => compile(text.slice(0, endOf(middle)))) === problem) high = middle;
    else low = middle + 1;
  }
  const { start = 0, type = '' } = tokens[low] ?? {};
  const token = text.slice(start, endOf(low)).trim();
  return `position ${start + 1}: ${quoted(token)} is unexpected${HINTS[token] ?? HINTS[type] ?? ''}`;
}

function problemOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

/** A node's children: those that see the same input as it does, and those that see another one. */
export function childrenOf(node: Node): { readonly same: readonly Node[]; readonly other: readonly Node[] } {
  switch (node.type) {
    case 'Subexpression':
    case 'IndexExpression':
    case 'Pipe':
    case 'Projection':
    case 'ValueProjection':
      return { same: [node.left], other: [node.right] };
    case 'FilterProjection':
      return { same: [node.left], other: [node.condition, node.right] };
    case 'Comparator':
    case 'Arithmetic':
    case 'AndExpression':
    case 'OrExpression':
      return { same: [node.left, node.right], other: [] };
    case 'NotExpression':
    case 'Flatten':
      return { same: [node.child], other: [] };
    case 'Unary':
      return { same: [node.operand], other: [] };
    case 'Ternary':
      return { same: [node.condition, node.trueExpr, node.falseExpr], other: [] };
    case 'Function':
    case 'MultiSelectList':
      return { same: node.children, other: [] };
    case 'MultiSelectHash':
      return { same: node.children.map((pair) => pair.value), other: [] };
    case 'LetExpression':
      return { same: [...node.bindings, node.expression], other: [] };
    case 'Binding':
      return { same: [node.reference], other: [] };
    case 'ExpressionReference':
      return { same: [], other: [node.child] };
    default:
      return { same: [], other: [] };
  }
}
