import { isMap, isScalar, isSeq, LineCounter, parse, parseDocument, Parser, type CST, type Pair } from 'yaml';
import { TAB_INDENT, tabIndentAt } from '../../shared/text/tabIndent.ts';

/** Names and list positions that lead to a value. */
export type Path = readonly (string | number)[];

export interface Place {
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** A parsed YAML text with the places of its values. */
export interface YamlFile {
  /** Its value as JSON; null when nothing can be read. */
  readonly value: unknown;
  /** Why it can't be read: what breaks it first, without what follows from that. */
  readonly problems: readonly (Place & { /** A clause without the last full stop. */ readonly problem: string })[];
  /** Where a value stands, or if it's missing, what it is missing from. */
  placeOf(path: Path): Place;
  /** Where the name of a value stands. */
  placeOfKey(path: Path): Place;
}

/** Aliases could make a small text expand to gigabytes. */
const MAX_ALIASES = 100;
/** Deeper nesting would exhaust the stack and end the process. */
const MAX_DEPTH = 100;

/** What to do about errors of the library that don't say it, by their messages. */
const YAML_HINTS: readonly (readonly [RegExp, string])[] = [
  [/^Implicit keys need/, '; a colon may be missing after a key'],
  [
    /^(Sequence item without|All mapping items must start|A block sequence may not)/,
    '; check that this line is indented like its neighbours',
  ],
];
/** Errors after which the library reads on as if nothing were wrong: further ones don't follow from them. */
const APART = ['DUPLICATE_KEY', 'TAG_RESOLVE_FAILED'];

export function readYaml(text: string): YamlFile {
  if (depthOf(text) > MAX_DEPTH) return unreadable(`is nested deeper than ${MAX_DEPTH} levels`);
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' });
  // The library's parser misses line breaks within what it can't read.
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (const { index } of text.matchAll(/\n/g)) lines.addNewLine(index + 1);
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const tab = tabIndentAt(text, document.errors);
  if (tab !== undefined) return unreadable(`isn't YAML: ${TAB_INDENT}`, placeAt(tab));
  // A warning is about a tag that nobody resolves, such as `!vault`.
  const found = [...document.errors, ...document.warnings];
  const [breaking] = found.filter(({ code }) => !APART.includes(code)).sort((one, next) => one.pos[0] - next.pos[0]);
  const problems = (breaking === undefined ? found : [breaking]).map(({ message, pos }) => ({
    ...placeAt(pos[0]),
    // The library shows what it can't read, which may be an address with a password.
    problem: `isn't YAML: ${message.replace(message.includes('@') ? /: [^]*$/ : /\.$/, '')}${hintFor(message)}`,
  }));
  let value: unknown = null;
  try {
    if (problems.length === 0) value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    problems.push({ ...placeAt(0), problem: `isn't YAML: ${error instanceof Error ? error.message : String(error)}` });
  }

  /** The pair or list item a path leads to, or the nearest one above it. */
  const find = (path: Path): { key: number | undefined; value: number | undefined } => {
    let node: unknown = document.contents;
    let found = { key: startOf(node), value: startOf(node) };
    for (const step of path) {
      if (isSeq(node) && typeof step === 'number') {
        node = node.items[step];
        const start = startOf(node);
        if (start === undefined) break;
        found = { key: start, value: start };
      } else if (isMap(node)) {
        const pair = node.items.find(({ key }) => (isScalar(key) ? String(key.value) : undefined) === String(step));
        if (pair === undefined) break;
        found = placesOf(pair);
        node = pair.value;
      } else break;
    }
    return found;
  };
  return {
    value,
    problems,
    placeOf: (path) => placeAt(find(path).value ?? 0),
    placeOfKey: (path) => placeAt(find(path).key ?? 0),
  };
}

function hintFor(message: string): string {
  return YAML_HINTS.find(([pattern]) => pattern.test(message))?.[1] ?? '';
}

/** A file about which all we know is that it can't be used. */
function unreadable(problem: string, place: Place = { line: 1, column: 1 }): YamlFile {
  return { value: null, problems: [{ ...place, problem }], placeOf: () => place, placeOfKey: () => place };
}

/** How many lists and maps stand within each other, found without recursion. */
function depthOf(text: string): number {
  let deepest = 0;
  const rest: { readonly token: CST.Token | null | undefined; readonly depth: number }[] = [];
  for (const token of new Parser().parse(text)) rest.push({ token, depth: 0 });
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const { token, depth } = next;
    deepest = Math.max(deepest, depth);
    if (token === null || token === undefined) continue;
    if (token.type === 'document') rest.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    for (const { key, value } of token.items)
      for (const inner of [key, value]) rest.push({ token: inner, depth: depth + 1 });
  }
  return deepest;
}

function placesOf({ key, value }: Pair): { key: number | undefined; value: number | undefined } {
  const start = startOf(key);
  // A map or list may begin on a later line than its name, which is what people look for; an empty value has no place.
  return { key: start, value: isScalar(value) && value.value !== null ? (startOf(value) ?? start) : start };
}

function startOf(node: unknown): number | undefined {
  return (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range?.[0];
}

/** The value of a foreign YAML text; undefined when it can't be read. */
export function yamlValue(text: string): unknown {
  try {
    return parse(text, { logLevel: 'silent' });
  } catch {
    return undefined;
  }
}
