import { nearestOf } from '../text/nearest.ts';
import { quoted } from '../text/safeText.ts';
import { isNumeric } from './functions.ts';
import { childrenOf, hyphenatedName, pathOf, readTokens, type Node } from './jmespath.ts';

/** What the author can't have meant, as far as the expression alone shows. Clauses without the last full stop. */
export interface Mistakes {
  /** What is null or false for every event, with what was meant. */
  readonly certain: readonly string[];
  /** What may be meant, but usually isn't. */
  readonly likely: readonly string[];
}

const KEYWORDS = ['true', 'false', 'null'];
const COMPARISON = /^(?:EQ|NE|GT|GTE|LT|LTE)$/;
/** Comparisons that only numbers can meet. */
export const ORDER: Readonly<Record<string, string>> = { GT: '>', GTE: '>=', LT: '<', LTE: '<=' };
/** What is text in the view of every event, and no number's. */
const TEXTS = /^(?:subject|stream|time)$/;
const PLAIN_NAME = /^[A-Za-z_]\w*$/;
/** How many letters off a root may be and still be the one meant, such as `header`. */
const MOST_LETTERS = 2;

/**
 * Looks for what is null or false for every event.
 *
 * @param roots the names that an expression can start with
 */
export function mistakesIn(text: string, root: Node, roots: readonly string[]): Mistakes {
  const quotedSides = quotedSidesIn(text);
  const certain = new Set<string>();
  const search = (node: Node, isEvent: boolean): void => {
    if (node.type === 'Comparator') for (const problem of comparisonProblems(node, isEvent)) certain.add(problem);
    if (isEvent)
      for (const problem of pathProblems(node, roots, (name) => unknownRoot(name, roots, text, quotedSides)))
        certain.add(problem);
    const { same, other } = childrenOf(node);
    for (const child of isPath(node) ? [startOf(node)].filter((start) => start.type !== 'Field') : same)
      search(child, isEvent);
    for (const child of isPath(node) ? [] : other) search(child, false);
  };
  search(root, true);
  const likely: string[] = [];
  for (const side of quotedSides.filter(({ inFilter }) => inFilter)) {
    const { name } = side;
    if (PLAIN_NAME.test(name)) certain.add(`"${name}" is the name of a field: ${literalFor(side)}`);
    else likely.push(`${quoted(name)} is read as the name of a field: ${literalFor(side)}`);
  }
  return { certain: [...certain], likely };
}

/** The names that its paths follow from the event on, up to the first step that is no name. */
export function* pathsFromEvent(node: Node): Generator<readonly string[]> {
  if (isPath(node) || node.type === 'Field') yield namesOf(node);
  const { same } = childrenOf(node);
  for (const child of isPath(node) ? [startOf(node)].filter((start) => start.type !== 'Field') : same)
    yield* pathsFromEvent(child);
}

/** Whether it follows fields and indexes. */
function isPath({ type }: Node): boolean {
  return type === 'Subexpression' || type === 'IndexExpression';
}

function sidesOf(node: Node): readonly [left: Node, right: Node] {
  const { same, other } = childrenOf(node);
  const [left = node, right = node] = [...same, ...other];
  return [left, right];
}

function startOf(node: Node): Node {
  return isPath(node) ? startOf(sidesOf(node)[0]) : node;
}

function isWhole({ type }: Node): boolean {
  return type === 'Root' || type === 'Current';
}

/** The names that a path follows from the event, up to the first step that isn't a name. */
function namesOf(node: Node): readonly string[] {
  if (node.type === 'Field') return [node.name];
  if (!isPath(node)) return [];
  const [left, right] = sidesOf(node);
  const names = namesOf(left);
  if (node.type === 'IndexExpression' || (!isOfNames(left) && !isWhole(left))) return names;
  return [...names, ...namesOf(right).slice(0, 1)];
}

/** Whether each step of a path is a name. */
function isOfNames(node: Node): boolean {
  if (node.type !== 'Subexpression') return node.type === 'Field';
  const [left, right] = sidesOf(node);
  return right.type === 'Field' && (isOfNames(left) || isWhole(left));
}

function* pathProblems(node: Node, roots: readonly string[], unknown: (name: string) => string): Generator<string> {
  if (!isPath(node) && node.type !== 'Field') return;
  const [root, next] = namesOf(node);
  if (root === undefined) return;
  if (!roots.includes(root)) yield unknown(root);
  if (root === 'event' && next === 'data')
    yield "event.data is always null: event has the CloudEvent's attributes, and the payload is in data";
  if ((root !== 'headers' && root !== 'event') || next === undefined || next === next.toLowerCase()) return;
  const path = `${root}.${shown(next.toLowerCase())}`;
  yield root === 'headers'
    ? `headers.${shown(next)} is always null: names of headers are lower case here, and values are lists, so write ${path}[0]`
    : `event.${shown(next)} is always null: names of attributes are lower case, so write ${path}`;
}

function unknownRoot(name: string, roots: readonly string[], text: string, sides: readonly QuotedSide[]): string {
  const problem = `events have no field ${quoted(name)}, so it is always null`;
  if (KEYWORDS.includes(name)) return `${problem}: write \`${name}\` between backticks`;
  const hyphenated = hyphenatedName(text, name);
  if (hyphenated !== undefined) return `${problem}: a name with hyphens is quoted, as in ${hyphenated}`;
  const side = sides.find((one) => one.name === name);
  if (side !== undefined) return `${problem}: ${literalFor(side)}`;
  const [nearest = '', letters = Infinity] = nearestOf(name, roots) ?? [];
  const isNear = letters <= Math.min(MOST_LETTERS, name.length - 2);
  return `${problem}: write ${isNear ? nearest : `data.${shown(name)}, or the text '${name}'`}`;
}

function* comparisonProblems(node: Node, isEvent: boolean): Generator<string> {
  const [left, right] = sidesOf(node);
  for (const [side, other] of [
    [left, right],
    [right, left],
  ] as const) {
    if (node.type === 'Comparator') yield* orderProblems(node.name, side, other);
    if (!isEvent && side.type === 'Field' && KEYWORDS.includes(side.name))
      yield `${side.name} is the name of a field here: write \`${side.name}\` between backticks`;
    if (!isEvent || other.type !== 'Literal' || typeof other.value === 'object' || side.type !== 'Subexpression')
      continue;
    const [root, name, ...more] = namesOf(side);
    if (root === 'headers' && name !== undefined && more.length === 0 && sidesOf(side)[1].type === 'Field')
      yield `headers.${shown(name)} is a list, which is never equal to one value: write headers.${shown(name)}[0]`;
  }
}

/** With a literal that isn't a number, such a comparison is null. */
function* orderProblems(comparator: string, side: Node, other: Node): Generator<string> {
  const operator = ORDER[comparator];
  if (operator === undefined || side.type !== 'Literal' || typeof side.value === 'number') return;
  const { value } = side;
  const isText = typeof value === 'string';
  const shownValue = typeof value === 'boolean' || value === null ? String(value) : 'this literal';
  const found = isText ? `${quoted(value)} is text` : `${shownValue} isn't one`;
  const problem = `${operator} compares only numbers, and ${found}, so it is never true`;
  const path = pathOf(other);
  if (!isText || !isNumeric(value) || TEXTS.test(path ?? '')) yield problem;
  else {
    const isRead = path === undefined || path === 'sequence';
    yield `${problem}: write \`${value}\`${isRead ? '' : `, and to_number(${path}) if the event has text there`}`;
  }
}

/** A name as an expression spells it. */
function shown(name: string): string {
  return PLAIN_NAME.test(name) ? name : JSON.stringify(name);
}

interface QuotedSide {
  readonly name: string;
  readonly inFilter: boolean;
  /** Whether the comparison is one that only numbers can meet. */
  readonly isOrder: boolean;
}

/** What was probably meant by a name in double quotes. */
function literalFor({ name, isOrder }: QuotedSide): string {
  return isOrder && isNumeric(name)
    ? `numbers go in backticks, as in \`${name}\``
    : `strings go in single quotes, as in '${name}'`;
}

/** Names in double quotes that are all of one side of a comparison whose other side is no literal. */
function quotedSidesIn(text: string): readonly QuotedSide[] {
  const tokens = readTokens(text);
  const open: string[] = [];
  const quotedSides: QuotedSide[] = [];
  for (const [index, { type, value }] of tokens.entries()) {
    if (/^(?:Lparen|Lbracket|Lbrace|Filter)$/.test(type)) open.push(type);
    if (/^(?:Rparen|Rbracket|Rbrace)$/.test(type)) open.pop();
    if (type !== 'QuotedIdentifier') continue;
    const [before, after] = [tokens[index - 1]?.type ?? '', tokens[index + 1]?.type ?? ''];
    const isRight = COMPARISON.test(before) && !/^(?:Dot|Lbracket|Filter|Flatten)$/.test(after);
    const isLeft = COMPARISON.test(after) && before !== 'Dot' && tokens[index + 2]?.type !== 'Literal';
    const isAlone = isRight ? tokens[index - 2]?.type !== 'Literal' : isLeft;
    const isOrder = Object.hasOwn(ORDER, isRight ? before : after);
    if (isAlone) quotedSides.push({ name: String(value), inFilter: open.includes('Filter'), isOrder });
  }
  return quotedSides;
}
