import { TreeInterpreter, TYPE_ANY, TYPE_EXPREF, type JSONValue } from '@jmespath-community/jmespath';
import { reasonOf } from '../errors.ts';
import { IS_INEXACT, LEAST_WHOLE, UndecidableError } from '../text/json.ts';
import { checkExact, replaceFunctions, type Evaluator } from './functions.ts';
import { childrenOf, type Node } from './jmespath.ts';

/** What a function wants: how many arguments, and which of them are expressions with `&` before them. */
export interface Signature {
  readonly least: number;
  readonly most: number;
  takesReference(index: number): boolean;
  takesAnything(index: number): boolean;
}

/**
 * Characters and elements that one evaluation may make, and characters that a function may be given in one text. V8 works
 * on longer ones for seconds, in which nothing interrupts it, and nothing else limits the memory they take.
 */
const MOST_MADE = 2 ** 22;
/** Nodes that make texts, lists and objects. */
const MAKING = new Set(
  'FilterProjection Flatten Function MultiSelectHash MultiSelectList Projection Slice ValueProjection'.split(' '),
);
/** Functions that hand on what they are given. */
const COPYING = new Set(
  'from_items group_by items keys length map merge not_null reverse to_array to_string type values zip'.split(' '),
);

const LibraryInterpreter = TreeInterpreter.constructor as new () => typeof TreeInterpreter;

/**
 * The library's interpreter, with limits and fixes: the original reads the members that every JavaScript
 * object inherits, treats a false variable of an outer `let` as undefined, forgets variables inside functions, and
 * knows no `bigint`, which is how integers beyond 2^53 arrive (text/json.ts).
 */
class Interpreter extends LibraryInterpreter implements Evaluator {
  #variables: Readonly<Record<string, JSONValue>> = {};
  #compared: WeakSet<Node> | undefined;
  #made = 0;
  #isRounded = false;

  evaluate(node: Node, input: JSONValue, compared: WeakSet<Node> | undefined, isRounded: boolean): JSONValue {
    this.#variables = {};
    this.#compared = compared;
    this.#isRounded = isRounded;
    this.#made = 0;
    return this.search(node, input);
  }

  checkRoom(count: number): void {
    if (this.#made + count > MOST_MADE)
      throw new UndecidableError(`more than ${MOST_MADE} characters and elements would come out of it`);
  }

  override visit(node: Node, input: JSONValue): JSONValue {
    const value = this.#visit(node, input);
    if (this.#compared?.has(node) === true) checkExact(value);
    if (typeof value === 'number') this.#checkNumber(node, value);
    if (!MAKING.has(node.type)) return value;
    const count = typeof value === 'string' || Array.isArray(value) ? value.length : Object.keys(value ?? {}).length;
    this.checkRoom(count);
    this.#made += count;
    return value;
  }

  #visit(node: Node, input: JSONValue): JSONValue {
    switch (node.type) {
      case 'Field':
        return fieldOf(input, node.name);
      case 'Variable':
        return this.#variables[node.name] ?? null;
      case 'LetExpression': {
        const outer = this.#variables;
        const bound = node.bindings.map(({ variable, reference }) => [variable, this.visit(reference, input)] as const);
        this.#variables = { ...outer, ...Object.fromEntries(bound) };
        const value = this.visit(node.expression, input);
        this.#variables = outer;
        return value;
      }
      case 'Function':
        return this.#call(
          node.name,
          node.children.map((child) => this.visit(child, input)),
        );
      default:
        return super.visit(node, input) as JSONValue;
    }
  }

  /** What is computed beyond 2^53 is rounded, and what is divided by 0 with % is no number. */
  #checkNumber({ type }: Node, value: number): void {
    const size = Math.abs(value);
    if (this.#isRounded && size >= LEAST_WHOLE) throw new UndecidableError(`${value} may be rounded`);
    if ((type === 'Arithmetic' || type === 'Function') && !(size <= Number.MAX_SAFE_INTEGER))
      throw new UndecidableError(`${value} is computed, and ${IS_INEXACT}`);
  }

  #call(name: string, given: JSONValue[]): JSONValue {
    for (const [index, value] of given.entries()) {
      if (typeof value === 'string' && value.length > MOST_MADE)
        throw new UndecidableError(`it holds a string of more than ${MOST_MADE} characters`);
      // The library accepts values that it has no name for.
      if (typeof value === 'bigint' && signatureOf(name)?.takesAnything(index) !== true)
        throw new Error(`${name}() is given a number as argument ${index + 1}`);
    }
    return this.runtime.callFunction(name, given);
  }
}

function fieldOf(value: JSONValue, name: string): JSONValue {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  // The view of an event has its fields by way of its class.
  return Object.hasOwn(value, name) || !(name in Object.prototype) ? (value[name] ?? null) : null;
}

const interpreter = new Interpreter();
const functions = interpreter.runtime._functionTable;
replaceFunctions(interpreter);

/** The names of all functions. */
export const FUNCTIONS: readonly string[] = Object.keys(functions);

/** Undefined where there is no such function. */
export function signatureOf(name: string): Signature | undefined {
  const parameters = Object.hasOwn(functions, name) ? functions[name]?._signature : undefined;
  if (parameters === undefined) return undefined;
  const last = parameters.length - 1;
  const takes = (type: typeof TYPE_ANY | typeof TYPE_EXPREF, index: number) =>
    parameters[Math.min(index, last)]?.types.includes(type) === true;
  return {
    least: parameters.filter((parameter) => parameter.optional !== true).length,
    most: parameters[last]?.variadic === true ? Infinity : parameters.length,
    takesReference: (index) => takes(TYPE_EXPREF, index),
    takesAnything: (index) => takes(TYPE_ANY, index),
  };
}

/** The nodes of a tree whose values are compared or computed with. */
export function comparedIn(root: Node): WeakSet<Node> {
  const compared = new WeakSet<Node>();
  const add = (node: Node): void => {
    const { same, other } = childrenOf(node);
    for (const child of [...same, ...other]) add(child);
    const takesValues = ['Arithmetic', 'Comparator', 'Unary'].includes(node.type);
    if (takesValues || (node.type === 'Function' && !COPYING.has(node.name)))
      for (const child of same) compared.add(child);
  };
  add(root);
  return compared;
}

/**
 * The value of a tree on this input. Throws an `Error` with a clause where a function is given a value of the wrong type, an
 * {@link UndecidableError} where the input is too deep or too large for it.
 *
 * @param compared with it, also where one of these nodes is an integer beyond 2^53
 */
export function search(node: Node, input: unknown, compared?: WeakSet<Node>): unknown {
  try {
    return interpreter.evaluate(node, input as JSONValue, compared, false);
  } catch (error) {
    if (error instanceof UndecidableError) throw error;
    if (error instanceof RangeError)
      throw new UndecidableError(`it holds too much, or is nested too deeply (${error.message})`, { cause: error });
    throw new Error(reasonOf(error).replace(/\.$/, ''), { cause: error });
  }
}

/** As {@link search} on an input whose numbers are rounded; undefined when one turned up that may have been rounded, or anything went wrong. */
export function searchRounded(node: Node, input: unknown): unknown {
  try {
    return interpreter.evaluate(node, input as JSONValue, undefined, true);
  } catch {
    return undefined;
  }
}
