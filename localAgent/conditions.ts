import { isGood, type Result } from './step.ts';

type Value = string | number | boolean | null;

/** What a condition can refer to. */
export interface ConditionScope {
  /** The worst result so far. */
  readonly status: Result;
  /** The result of a job or stage that the condition names. */
  readonly resultOf?: (name: string) => Result | undefined;
  /** The value of `variables['name']`, `dependencies.A.result` and the like, given as its parts. */
  readonly valueAt: (path: readonly string[]) => string | undefined;
}

type Expression = (scope: ConditionScope) => Value;

/** A parsed condition. */
export type Condition = (scope: ConditionScope) => boolean;

const CONSTANTS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ['true', true],
  ['false', false],
  ['null', null],
]);

const STATUS = new Map<string, (status: Result) => boolean>(
  Object.entries({
    always: () => true,
    canceled: (status) => status === 'Canceled',
    failed: (status) => status === 'Failed',
    succeeded: isGood,
    succeededorfailed: (status) => ['Succeeded', 'SucceededWithIssues', 'Failed'].includes(status),
  }),
);

interface Operation {
  readonly fewest: number;
  readonly most: number;
  readonly apply: (values: readonly [Value, ...Value[]]) => boolean;
}

const among = ([value, ...others]: readonly [Value, ...Value[]]): boolean =>
  others.some((other) => isEqual(value, other));
const texts =
  (holds: (text: string, part: string) => boolean): Operation['apply'] =>
  ([text, part = '']) =>
    holds(textOf(text).toLowerCase(), textOf(part).toLowerCase());

const OPERATIONS = new Map<string, Operation>(
  Object.entries({
    and: { fewest: 2, most: Infinity, apply: (values) => values.every(isTrue) },
    or: { fewest: 2, most: Infinity, apply: (values) => values.some(isTrue) },
    not: { fewest: 1, most: 1, apply: ([value]) => !isTrue(value) },
    eq: { fewest: 2, most: 2, apply: among },
    ne: { fewest: 2, most: 2, apply: (values) => !among(values) },
    in: { fewest: 2, most: Infinity, apply: among },
    notin: { fewest: 2, most: Infinity, apply: (values) => !among(values) },
    contains: { fewest: 2, most: 2, apply: texts((text, part) => text.includes(part)) },
    startswith: { fewest: 2, most: 2, apply: texts((text, part) => text.startsWith(part)) },
    endswith: { fewest: 2, most: 2, apply: texts((text, part) => text.endsWith(part)) },
  }),
);

const TOKEN =
  /\s*(?:(?<text>'(?:[^']|'')*')|(?<number>-?\d+(?:\.\d+)?)|(?<name>[A-Za-z_][\w-]*)|(?<mark>[(),.[\]]))\s*/y;

/**
 * Reads a condition in the expression language of Azure Pipelines: the status functions, `and`, `or`, `not`, `eq`, `ne`, `in`,
 * `notIn`, `contains`, `startsWith` and `endsWith`, texts, numbers, `true`, `false`, `null`, and values such as `variables['x']`.
 * @param roots what values may begin with, such as `variables`
 * @throws Error that says what is wrong with it or not supported
 */
export function parseCondition(text: string, roots: readonly string[] = ['variables']): Condition {
  const tokens = tokensOf(text);
  const fail = (): never => {
    throw new Error(`condition: ${text}`);
  };
  const take = (mark: string): boolean => tokens[0] === mark && tokens.shift() !== undefined;
  const next = (shape: RegExp): string => (shape.test(tokens[0] ?? '') ? (tokens.shift() ?? '') : fail());
  const name = (): string => next(/^\w/);
  const literal = (): string => textIn(next(/^'/));

  const expression = (): Expression => {
    if (tokens[0]?.startsWith("'")) {
      const value = literal();
      return () => value;
    }
    const word = next(/^[-\w]/);
    if (take('(')) return call(word.toLowerCase());
    const constant = CONSTANTS.get(word.toLowerCase());
    if (constant !== undefined) return () => constant;
    if (/^[-\d]/.test(word)) return () => Number(word);
    if (!roots.includes(word)) return fail();
    const path = [word];
    while (tokens[0] === '.' || tokens[0] === '[') {
      const isIndex = tokens.shift() === '[';
      path.push(isIndex ? literal() : name());
      if (isIndex && !take(']')) fail();
    }
    return (scope) => scope.valueAt(path) ?? null;
  };
  const call = (called: string): Expression => {
    const args: Expression[] = [];
    while (!take(')')) {
      if (args.length > 0 && !take(',')) fail();
      args.push(expression());
    }
    const holds = STATUS.get(called);
    if (holds) {
      return (scope) =>
        args.length === 0
          ? holds(scope.status)
          : args.every((arg) => holds(scope.resultOf?.(textOf(arg(scope))) ?? 'Skipped'));
    }
    const operation = OPERATIONS.get(called);
    if (!operation || args.length < operation.fewest || args.length > operation.most) return fail();
    return (scope) => operation.apply(args.map((arg) => arg(scope)) as [Value, ...Value[]]);
  };

  const root = expression();
  if (tokens.length > 0) fail();
  return (scope) => isTrue(root(scope));
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    if (!found) throw new Error(`condition: ${text}`);
    tokens.push(found[0].trim());
  }
  return tokens;
}

function textIn(token: string): string {
  return token.slice(1, -1).replaceAll("''", "'");
}

function isTrue(value: Value): boolean {
  return Boolean(value);
}

/** The right side takes the type of the left one; texts are compared without case. */
function isEqual(left: Value, right: Value): boolean {
  if (left === null) return right === null || right === '';
  if (typeof left === 'boolean') return left === isTrue(right);
  if (typeof left === 'number') return left === Number(right);
  return left.toLowerCase() === textOf(right).toLowerCase();
}

function textOf(value: Value): string {
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return value === null ? '' : String(value);
}
