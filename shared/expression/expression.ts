import { reasonOf } from '../errors.ts';
import { VIEW_FIELDS, type EventView } from '../event/receivedEvent.ts';
import { exactJson } from '../text/json.ts';
import { comparedIn, FUNCTIONS, search, searchRounded, signatureOf } from './interpreter.ts';
import { isNumeric } from './functions.ts';
import { childrenOf, ONE_OF, parse, PART_OF, pathOf, splitAtAnd, type Node } from './jmespath.ts';
import { mistakesIn, ORDER, pathsFromEvent, type Mistakes } from './mistakes.ts';
import { probablyMeant } from '../text/nearest.ts';
import { quoted, shortened } from '../text/safeText.ts';

/** A JMESPath expression over an event. */
export interface Expression {
  /** What makes it null or false for every event, and what probably isn't meant. */
  readonly mistakes: Mistakes;
  /** Whether it only follows paths and compares: evaluating it takes no longer than reading the event did. */
  readonly isPlain: boolean;
  /** The fields below `data` that it reads: their names, from the outside in. */
  readonly dataFields: readonly (readonly string[])[];
  /**
   * Its value; integers beyond 2^53 that it copies from the event are `bigint`s. Throws an `Error` when a function is given a
   * value of the wrong type, an `UndecidableError` when it would compare or compute with such an integer, which it could only
   * do inexactly, or when the event holds too much for it.
   */
  evaluate(view: EventView): unknown;
  /**
   * The first part of its outermost chain of `&&` that is not true of the event, and what the fields in that part hold:
   * `data.region == 'eu' was false (data.region = "us")`. Undefined where the expression is true.
   */
  nearMiss(view: EventView): string | undefined;
}

/**
 * Compiles a JMESPath expression.
 * Throws an `Error` with a clause about what would be wrong for every event: syntax (with its position), an unknown
 * function or variable, arguments that do not fit.
 */
export function compileExpression(text: string): Expression {
  const root = parse(text);
  check(root, new Set());
  const parts = conjunction(text, root);
  const ofEvent = usesWholeEvent(root) ? (view: EventView) => view.toJSON() : (view: EventView) => view;
  const isOfData = mentionsData(root);
  let compared: WeakSet<Node> | undefined;
  const mayRound = isPlain(root) && comparesScalars(root);
  return {
    mistakes: mistakesIn(text, root, VIEW_FIELDS),
    isPlain: isPlain(root),
    dataFields: dataFieldsOf(root),
    evaluate: (view) => {
      const verdict = mayRound ? searchRounded(root, view.rounded) : undefined;
      if (verdict !== undefined) return verdict;
      return search(
        root,
        ofEvent(view),
        isOfData && view.hasLargeIntegers ? (compared ??= comparedIn(root)) : undefined,
      );
    },
    nearMiss: (view) => {
      for (const part of parts) {
        const verdict = verdictOf(part.node, view);
        if (verdict === undefined) continue;
        const values = part.paths.map(([path, node]) => `${path} = ${shortJson(search(node, view))}`);
        return `${part.text} ${verdict}${values.length > 0 ? ` (${values.join(', ')})` : ''}${kindsHint(part.node, view)}`;
      }
      return undefined;
    },
  };
}

/** Truth in JMESPath: null, false and anything empty are false; 0 is true. */
export function isTruthy(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === '') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

function check(node: Node, variables: ReadonlySet<string>): void {
  switch (node.type) {
    case 'Binding':
      throw new Error(`the variable $${node.variable} is set outside of let`);
    case 'ExpressionReference':
      throw new Error('& may only stand before an argument of a function such as sort_by');
    case 'Variable':
      if (!variables.has(node.name)) throw new Error(`the variable $${node.name} is not defined`);
      return;
    case 'LetExpression':
      for (const binding of node.bindings) check(binding.reference, variables);
      return check(node.expression, new Set([...variables, ...node.bindings.map((binding) => binding.variable)]));
    case 'Function':
      checkCall(node.name, node.children);
      for (const argument of node.children) {
        check(argument.type === 'ExpressionReference' ? argument.child : argument, variables);
      }
      return;
    default: {
      const { same, other } = childrenOf(node);
      // Every JMESPath parser binds ! more tightly than the dot, and null.ok and false.ok are null.
      if (
        same[0]?.type === 'NotExpression' &&
        ['Subexpression', 'ValueProjection', 'FilterProjection', 'Flatten'].includes(node.type)
      ) {
        throw new Error('!a.b means (!a).b, which is never true: put what follows ! in brackets, as in !(a.b)');
      }
      for (const child of [...same, ...other]) check(child, variables);
    }
  }
}

function checkCall(name: string, given: readonly Node[]): void {
  const signature = signatureOf(name);
  if (signature === undefined) {
    throw new Error(`there is no function ${name}()${meantBy(name.replaceAll('_', ''))}`);
  }
  const { least, most } = signature;
  if (given.length < least || given.length > most) {
    const count = most === Infinity ? `at least ${least}` : [...new Set([least, most])].join(' to ');
    const noun = count.endsWith('1') ? 'argument' : 'arguments';
    throw new Error(`the function ${name}() takes ${count} ${noun}, not ${given.length}`);
  }
  for (const [index, argument] of given.entries()) {
    const takesReference = signature.takesReference(index);
    if (takesReference !== (argument.type === 'ExpressionReference')) {
      const rule = takesReference ? 'is an expression with & before it' : 'has no & before it';
      throw new Error(`argument ${index + 1} of the function ${name}() ${rule}`);
    }
  }
}

/** What other languages have functions for, by the names that they give them, in lower case. */
const OPERATORS: Readonly<Record<string, string>> = {
  ...{ and: 'a && b', or: 'a || b', not: '!a', eq: 'a == b', equal: 'a == b', equals: 'a == b' },
  ...{ ne: 'a != b', neq: 'a != b', notequals: 'a != b', gt: 'a > b', ge: 'a >= b', gte: 'a >= b' },
  ...{ lt: 'a < b', le: 'a <= b', lte: 'a <= b', in: ONE_OF, isnull: 'a == `null`' },
  ...{ match: PART_OF, matches: PART_OF, regex: PART_OF, regexmatch: PART_OF, like: PART_OF },
};
const SYNONYMS: Readonly<Record<string, string>> = {
  ...{ len: 'length', size: 'length', count: 'length', includes: 'contains', has: 'contains' },
  ...{ tolower: 'lower', lowercase: 'lower', toupper: 'upper', uppercase: 'upper', coalesce: 'not_null' },
};

/** What was probably meant by a function that doesn't exist, as the end of a clause. */
function meantBy(name: string): string {
  const lower = name.toLowerCase();
  if (Object.hasOwn(OPERATORS, lower)) return `: write ${OPERATORS[lower]}`;
  const meant = Object.hasOwn(SYNONYMS, lower) ? SYNONYMS[lower] : probablyMeant(name, FUNCTIONS);
  return meant === undefined ? '' : `: write ${meant}()`;
}

const PLAIN = /^(And|Or|Not|Index)Expression$|^(Comparator|Field|Identity|Index|Literal|Subexpression)$/;

function isPlain(node: Node): boolean {
  const { same, other } = childrenOf(node);
  return PLAIN.test(node.type) && [...same, ...other].every(isPlain);
}

function dataFieldsOf(root: Node): (readonly string[])[] {
  const fields = [...pathsFromEvent(root)].flatMap(([first, ...names]) =>
    first === 'data' && names.length > 0 ? [names] : [],
  );
  return [...new Map(fields.map((names) => [JSON.stringify(names), names])).values()];
}

/** Whether it only compares, each time with a literal that is no list or object: then it hands on nothing of the event. */
function comparesScalars(node: Node): boolean {
  switch (node.type) {
    case 'Comparator':
      return [node.left, node.right].some((side) => side.type === 'Literal' && typeof side.value !== 'object');
    case 'NotExpression':
      return comparesScalars(node.child);
    case 'AndExpression':
    case 'OrExpression':
      return comparesScalars(node.left) && comparesScalars(node.right);
    default:
      return false;
  }
}

/** Whether it uses the event itself as a value, as `keys(@)` does: the view's fields come from its class. */
function usesWholeEvent(node: Node): boolean {
  return node.type === 'Current' || node.type === 'Root' || childrenOf(node).same.some(usesWholeEvent);
}

/** Whether it may read the event's data. */
function mentionsData(node: Node): boolean {
  if (node.type === 'Current' || node.type === 'Root' || (node.type === 'Field' && node.name === 'data')) return true;
  const { same, other } = childrenOf(node);
  return [...same, ...other].some(mentionsData);
}

interface Part {
  readonly text: string;
  readonly node: Node;
  /** The plain paths in it, such as `data.region`. */
  readonly paths: readonly (readonly [path: string, node: Node])[];
}

/** The operands of the outermost chain of `&&`; the expression itself when it isn't such a chain. */
function conjunction(text: string, root: Node): Part[] {
  const texts = root.type === 'AndExpression' ? splitAtAnd(text) : [text.trim()];
  const last: Node[] = [];
  let first = root;
  // `a && b && c` is the tree `(a && b) && c`; and an operand in brackets may be such a tree, too.
  while (last.length < texts.length - 1 && first.type === 'AndExpression') {
    last.unshift(first.right);
    first = first.left;
  }
  return [first, ...last].map((node, index) => ({
    text: texts[index] ?? '',
    node,
    paths: [...new Map(plainPaths(node))],
  }));
}

function* plainPaths(node: Node): Generator<readonly [path: string, node: Node]> {
  const path = ['Field', 'Subexpression', 'IndexExpression'].includes(node.type) ? pathOf(node) : undefined;
  if (path !== undefined) yield [path, node];
  else for (const child of childrenOf(node).same) yield* plainPaths(child);
}

function verdictOf(node: Node, view: EventView): string | undefined {
  try {
    return isTruthy(search(node, view, view.hasLargeIntegers ? comparedIn(node) : undefined)) ? undefined : 'was false';
  } catch (error) {
    return `failed: ${reasonOf(error)}`;
  }
}

/** Says so if a number and a text are compared, which are never equal and in no order: `data.n == '100'`. */
function kindsHint(node: Node, view: EventView): string {
  if (node.type !== 'Comparator' || node.name === 'NE') return '';
  const sides = [node.left, node.right];
  const order = ORDER[node.name];
  if (order !== undefined) return orderHint(order, sides, view);
  const literal = sides.find((side) => side.type === 'Literal');
  const other = sides.find((side) => side.type !== 'Literal');
  if (literal?.type !== 'Literal' || other === undefined || pathOf(other) === undefined) return '';
  const { value } = literal;
  const [wanted, found] = [kindOf(value), kindOf(search(other, view))];
  if (typeof value === 'string' && found === 'number' && isNumeric(value))
    return `: ${quoted(value)} is text, and a number is written in backticks`;
  if (wanted === 'number' && found === 'text')
    return ': the event has text there, and text is written in single quotes';
  return typeof value === 'string' && differOnlyInCase(value, search(other, view)) ? ': it differs only in case' : '';
}

/** Says so if a field that has to be a number is text, and how to read it as a number where it is one. */
function orderHint(operator: string, sides: readonly Node[], view: EventView): string {
  const texts = sides.flatMap((side) => {
    const path = pathOf(side);
    const value = path === undefined ? undefined : search(side, view);
    return path !== undefined && typeof value === 'string' ? [{ path, value }] : [];
  });
  if (texts.length === 0) return '';
  const numbers = texts.filter(({ value }) => isNumeric(value)).map(({ path }) => `to_number(${path})`);
  const remedy = numbers.length === 0 ? '' : `, so write ${numbers.join(' and ')}`;
  return `: ${operator} compares only numbers, and the event has text there${remedy}`;
}

function kindOf(value: unknown): 'number' | 'text' | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') return 'number';
  return typeof value === 'string' ? 'text' : undefined;
}

/** Whether two values are texts that would be equal if case didn't matter. */
export function differOnlyInCase(one: unknown, other: unknown): boolean {
  if (typeof one !== 'string' || typeof other !== 'string' || one.length !== other.length) return false;
  return one !== other && one.toLowerCase() === other.toLowerCase();
}

/** JSON of at most 80 characters. */
function shortJson(value: unknown): string {
  try {
    const json = exactJson(value);
    return json.length > 80 ? shortened(json, 79).replace(/[\uD800-\uDBFF]…$/, '…') : json;
  } catch {
    return 'nested too deeply to be shown';
  }
}
