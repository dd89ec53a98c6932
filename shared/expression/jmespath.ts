import { compile, tokenize } from '@jmespath-community/jmespath';
import { reasonOf } from '../errors.ts';
import { IS_INEXACT, largeIntegerIn, parseJson, parseLargeIntegers } from '../text/json.ts';
import { quoted, shortened } from '../text/safeText.ts';

/** A node of the syntax tree of a JMESPath expression. */
export type Node = ReturnType<typeof compile>;

/** A token of an expression and where it starts, counted from 0. */
interface Token {
  readonly type: string;
  readonly start: number;
  readonly value: unknown;
}

// The library's errors have no position; and it takes an unclosed literal for a closed one, and `=` outside
// of `let` for a value that is always true.

/** One literal or quoted name, else one character that may stand outside of them. */
const PIECE =
  /'(?:\\[\\']|\\(?!['\\])|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\[\\`]|\\(?![`\\])|[^`\\])*`|[\w\t\r\n .,:;()[\]{}@*+%?\u2212\u00d7\u00f7!<>=&|/$-]/suy;

/** A path with a name whose hyphens are read as minus signs, such as `data.image-tag`. */
const HYPHENATED = /(?<![\w"'`.])((?:[A-Za-z_]\w*\.)*)([A-Za-z_]\w*(?:-\w+)+)/g;
const PLAIN_NAME = /^[A-Za-z_]\w*$/;
/** What stands between quotes of any kind. */
const QUOTED = /'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`/gs;

/** One of several values, in place of an `in` of other languages. */
export const ONE_OF = "contains(['a', 'b'], data.status)";
/** A part of a text, in place of the regular expressions of other languages. */
export const PART_OF = "starts_with(data.ref, 'v1') or contains(data.ref, 'v1')";

const HINTS = new Map(
  Object.entries({
    Number: ': a number is written between backticks, as in `5`',
    Expref: ': write &&',
    and: ': write &&',
    or: ': write ||',
    is: ': write ==',
    in: `: write ${ONE_OF}`,
    like: `: write ${PART_OF}`,
    matches: `: write ${PART_OF}`,
  }),
);
/** What closes the tokens that open brackets. */
const CLOSING: Readonly<Record<string, string>> = { Lparen: ')', Lbracket: ']', Filter: ']', Lbrace: '}' };
/** Characters of an expression that are looked at for the path before brackets. */
const MOST_BEFORE = 200;

/** Parses a JMESPath expression. Throws an `Error` with a clause that begins with the position, counted from 1. */
export function parse(text: string): Node {
  const tokens = readTokens(text);
  const assignment = tokens.find(({ type }, index) => type === 'Assign' && tokens[index - 1]?.type !== 'Variable');
  if (assignment !== undefined) throw new Error(`position ${assignment.start + 1}: a comparison is written ==, not =`);
  for (const [index, { type, start }] of tokens.entries())
    if (type === 'Literal') checkLiteral(text.slice(start, tokens[index + 1]?.start).trim(), start);
  const problem = problemOf(() => compile(text));
  if (problem !== undefined) throw new Error(wrongToken(text, problem));
  return compile(text);
}

/** An integer that no number holds would be compared as the next one that a number does. */
function checkLiteral(literal: string, start: number): void {
  const json = literal.startsWith('`') ? literal.slice(1, -1).replaceAll('\\`', '`') : '';
  // The parser reports what isn't JSON, with the position.
  const large = parseJson(json) && largeIntegerIn(parseLargeIntegers(json)?.value);
  if (large === undefined) return;
  throw new Error(
    `position ${start + 1}: ${large} ${IS_INEXACT}. Have the sender write it as a string, and compare that: '${large}'`,
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

/** The tokens of an expression. Throws an `Error` as {@link parse} does. */
export function readTokens(text: string): readonly Token[] {
  for (let start = 0; start < text.length;) {
    PIECE.lastIndex = start;
    const piece = PIECE.exec(text)?.[0];
    if (piece === undefined) {
      const [character = ''] = text.slice(start, start + 2);
      const hint = character === '~' ? `: write ${PART_OF}` : '';
      const problem = /['"`]/.test(character) ? 'is never closed' : `cannot be read${hint}`;
      throw new Error(`position ${start + 1}: ${quoted(character)} ${problem}`);
    }
    if (/^["`]/.test(piece) && problemOf(() => tokenize(piece)) !== undefined) {
      throw new Error(`position ${start + 1}: ${quoted(piece)} is not JSON between its ${jsonHint(piece)}`);
    }
    start += piece.length;
  }
  return tokenize(text);
}

/** Which quotes a piece has that isn't JSON between them, and what is probably meant. */
function jsonHint(piece: string): string {
  if (!piece.startsWith('`')) return 'quotes';
  const content = piece.slice(1, -1);
  return `backticks: text goes in single quotes${/^[\w .-]{1,80}$/.test(content) ? `, as in '${content}'` : ''}`;
}

/** The brackets that a text opens and never closes, as the clause's end. */
function missingHint(text: string): string {
  const open: string[] = [];
  for (const { type } of tokenize(text)) {
    const closing = CLOSING[type];
    if (closing !== undefined) open.push(closing);
    else if (/^(?:Rparen|Rbracket|Rbrace)$/.test(type)) open.pop();
  }
  return open.length === 0 ? '' : `: ${quoted(open.reverse().join(''))} is missing`;
}

/** The token the parser stumbles over: the shortest beginning of the text that fails in the same way ends with it. */
function wrongToken(text: string, problem: string): string {
  // A text that fails at its end fails differently when something follows.
  if (problemOf(() => compile(`${text} :`)) !== problem)
    return `position ${text.length + 1}: it ends too early${missingHint(text)}`;
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
  const hint = bracketsHint(tokens, low, text) ?? operatorHint(tokens, low) ?? hintOf(text, token, type);
  return `position ${start + 1}: ${quoted(token)} is unexpected${hint}`;
}

/** For a name between brackets, as in `data['by']`, which JavaScript and JSONPath allow. */
function bracketsHint(tokens: readonly Token[], index: number, text: string): string | undefined {
  const { type = '', start = 0, value } = tokens[index] ?? {};
  const isName = typeof value === 'string' && /^(?:Literal|QuotedIdentifier|UnquotedIdentifier)$/.test(type);
  if (!isName || tokens[index - 1]?.type !== 'Lbracket' || tokens[index + 1]?.type !== 'Rbracket') return undefined;
  const before = text.slice(Math.max(0, start - MOST_BEFORE), start);
  const [, path = ''] = /((?<![\w.])[A-Za-z_][\w.]*(?:\[\d+\])*)\s*\[\s*$/.exec(before) ?? [];
  const name = PLAIN_NAME.test(value) ? value : JSON.stringify(value);
  return `: a field is written after a dot, as in ${path === '' ? 'data' : path}.${shortened(name, MOST_BEFORE)}`;
}

/** For operators of other languages whose last part, or what follows it, is the wrong token. */
function operatorHint(tokens: readonly Token[], index: number): string | undefined {
  const [before, token] = [tokens[index - 1], tokens[index]];
  if (before?.type === 'LT' && token?.type === 'GT') return ': write !=';
  return before?.type === 'UnquotedIdentifier' && /^not$/i.test(String(before.value)) ? ': write ! for not' : undefined;
}

function hintOf(text: string, token: string, type: string): string {
  const hyphenated = type === 'Number' ? hyphenatedName(text, token.replace(/^-/, '')) : undefined;
  if (hyphenated !== undefined) return `: a name with hyphens is quoted, as in ${hyphenated}`;
  if (type === 'QuotedIdentifier') return `: a field is written after a dot, as in data.${token}`;
  const hint = HINTS.get(token.toLowerCase()) ?? HINTS.get(type);
  return (
    hint ?? (/^\s*\$[.[]/.test(text) ? ': this is JMESPath and not JSONPath, where a path is written data.region' : '')
  );
}

/** The text with spaces in the place of literals and quoted names. */
export function withoutQuoted(text: string): string {
  return text.replace(QUOTED, (it) => ' '.repeat(it.length));
}

/** How to write the name with hyphens that a text has without quotes and that contains this part; undefined when there is none. */
export function hyphenatedName(text: string, part: string): string | undefined {
  for (const [, path = '', name = ''] of withoutQuoted(text).matchAll(HYPHENATED))
    if (name.split('-').slice(1).includes(part)) return `${path}"${name}"`;
  return undefined;
}

function problemOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

/** A node's children: those that see the same input as it does, and those that see a different one. */
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

/** A path of names and indexes as an expression has it, such as `data.items[0]`; undefined for anything else. */
export function pathOf(node: Node): string | undefined {
  switch (node.type) {
    case 'Field':
      return PLAIN_NAME.test(node.name) ? node.name : JSON.stringify(node.name);
    case 'Index':
      return `[${node.value}]`;
    case 'Current':
      return '@';
    case 'Root':
      return '$';
    case 'Identity':
      return '';
    case 'Subexpression':
    case 'IndexExpression': {
      const [left, right] = [pathOf(node.left), pathOf(node.right)];
      if (left === undefined || right === undefined) return undefined;
      return node.type === 'Subexpression' ? `${left}.${right}` : `${left}${right}`;
    }
    default:
      return undefined;
  }
}
