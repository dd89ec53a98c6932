import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import { reasonOf } from '../shared/errors.ts';
import { parseJson } from '../shared/text/json.ts';
import { quoted, safeText } from '../shared/text/safeText.ts';
import { TAB_INDENT, tabIndentAt } from '../shared/text/tabIndent.ts';
import { didYouMean } from './misspelt.ts';

/** Every scalar is text, as the file spells it. */
export type Yaml = string | readonly Yaml[] | YamlMap;
export type YamlMap = Readonly<Partial<{ [key: string]: Yaml }>>;

/** The problems of a pipeline file: one line each, beginning with its place. */
export class PipelineFileError extends Error {}

interface Places {
  readonly self: string;
  readonly keys: ReadonlyMap<string, string>;
  /** As the file has it. */
  readonly text: string;
}

/** Where mappings and lists stand. Only they are objects, so a text's place is kept by its key. */
const places = new WeakMap<object, Places>();

/** Where an entry stands, or a key of it, such as `azure-pipelines.yml:12:9`. */
export function placeOf(entry: object, key = ''): string {
  const known = places.get(entry);
  return known?.keys.get(key) ?? known?.self ?? '';
}

/** Gives a value made from an entry the entry's place. */
export function inPlaceOf<T extends object>(entry: object, made: T): T {
  const known = places.get(entry);
  if (known) places.set(made, known);
  return made;
}

/** A problem with an entry, or with a key of it. */
export function problemAt(entry: object, problem: string, key?: string): PipelineFileError {
  const place = placeOf(entry, key);
  return new PipelineFileError(place === '' ? problem : `${place}: ${problem}`);
}

/** Reads an entry, or a key of it: an error that names no place gets this one. */
export function readAt<T>(entry: object, read: () => T, key?: string): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof PipelineFileError ? error : problemAt(entry, reasonOf(error), key);
  }
}

/** Reads each entry of a list of mappings, and reports the problems of all of them together. */
export function readEach<T>(list: Yaml, what: string, read: (entry: YamlMap) => T): T[] {
  const problems: string[] = [];
  const results = asList(list, what).flatMap((entry) => {
    try {
      const map = asMap(entry, what);
      return [readAt(map, () => read(map))];
    } catch (error) {
      problems.push(reasonOf(error));
      return [];
    }
  });
  if (problems.length > 0) throw new PipelineFileError(problems.join('\n'));
  return results;
}

/**
 * Parses a pipeline file.
 * @param file what messages call it
 * @throws PipelineFileError for invalid YAML, and for tags, anchors and aliases: text that looks like one would be lost
 */
export function parseYaml(text: string, file: string): YamlMap {
  const { document, counter } = parsed(text);
  const place = (offset: number): string => {
    const { line, col } = counter.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  // One mistake causes others after it: report only the first in a line.
  const lines = new Map(marksIn(document, text).map((mark) => [counter.linePos(mark.offset).line, mark]));
  const tab = tabIndentAt(text, document.errors);
  if (tab !== undefined) throw new PipelineFileError(`${place(tab)}: This isn't YAML: ${TAB_INDENT}.`);
  const [error] = document.errors;
  const marks = [...lines.values()].reverse();
  if (error && marks.length === 0) {
    const [offset] = error.pos;
    const [key] = (error.code === 'DUPLICATE_KEY' ? /^[\w.-]+/.exec(text.slice(offset)) : null) ?? [];
    const problem = key === undefined ? `${error.message}.` : `the key ${quoted(key)} is there twice.`;
    marks.push({ offset, problem: `This isn't YAML: ${problem}`, remedy: quotesRemedy(text, offset) ?? '' });
  }
  if (marks.length > 0)
    throw new PipelineFileError(
      marks
        .map(({ offset, problem, remedy }) => safeText(`${place(offset)}: ${problem} ${remedy}`.trimEnd()))
        .join('\n'),
    );
  return asMap(plain(document.contents, text, place), file);
}

function parsed(text: string): { readonly document: Document.Parsed; readonly counter: LineCounter } {
  const counter = new LineCounter();
  const options = { schema: 'failsafe', lineCounter: counter, prettyErrors: false } as const;
  return { document: parseDocument(text, options), counter };
}

interface Mark {
  readonly offset: number;
  readonly problem: string;
  readonly remedy: string;
}

/** The tags, anchors and aliases of a file, the last one first: mostly the start of an expression that should be in quotes. */
function marksIn(document: Document.Parsed, text: string): Mark[] {
  const found: Mark[] = [];
  const note = (kind: string, offset: number): void => {
    const word = /^\S+/.exec(text.slice(offset))?.[0] ?? '';
    const problem = `YAML reads ${quoted(word)} as ${kind}, which Azure Pipelines doesn't support.`;
    found.push({ offset, problem, remedy: quotesRemedy(text, offset) ?? 'If it is meant as text, put it in quotes.' });
  };
  visit(document, (_, node) => {
    if (!isNode(node) || !node.range) return;
    const [start] = node.range;
    if (isAlias(node)) note('an alias', start);
    else if (node.anchor !== undefined) note('an anchor', text.lastIndexOf('&', start - 1));
  });
  for (const { code, pos } of document.warnings) if (code === 'TAG_RESOLVE_FAILED') note('a tag', pos[0]);
  return found.sort((one, other) => other.offset - one.offset);
}

/** How to write the line's value as text, if that fixes the line. A value that begins with a bracket may be meant as a list or mapping. */
function quotesRemedy(text: string, offset: number): string | undefined {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const [line = ''] = text.slice(start).split('\n');
  const [, before = '', key = '', value = ''] =
    /^(\s*(?:- +)*)([\w.-]+): +([^\s|>[{].*?)(?:\s+#.*)?\s*$/.exec(line) ?? [];
  if (key === '') return undefined;
  // What outputs takes isn't YAML.
  const [, output, expression = ''] = /^([A-Za-z_]\w*):\s+(.+)$/.exec(key === 'outputs' ? value : '') ?? [];
  const meant = withoutOuterQuotes(value);
  if (meant === undefined) return undefined;
  const written = `${key}: ${output === undefined ? inQuotes(meant) : `${output}=${expression}`}`;
  const { document } = parsed(text.slice(0, start) + before + written + text.slice(start + line.length));
  const end = start + before.length + written.length;
  const isRight = [...document.errors, ...document.warnings].every(({ pos }) => pos[0] > end || pos[0] < start);
  return isRight ? `Write ${written}` : undefined;
}

/**
 * The text that a value is meant to be whose quotes may already be the outer ones, as in `'a == 'b''`, or part of the text, as in
 * `'a' == b`. Undefined: it could be either, or neither.
 */
function withoutOuterQuotes(value: string): string | undefined {
  const quote = /^["']/.exec(value)?.[0];
  if (quote === undefined) return value;
  const inner = value.length > 1 && value.endsWith(quote) ? value.slice(1, -1) : undefined;
  // Some of its quotes are doubled as YAML wants it, others aren't.
  if (inner?.includes("''")) return undefined;
  if (/^.\s*[{[]/.test(value)) return inner !== undefined && isJson(inner) ? inner : undefined;
  if (inner === undefined) return value;
  const [meant, ...others] = [value, inner].filter(isWellQuoted);
  return others.length === 0 ? meant : undefined;
}

/** Whether a text is JSON once its macros, such as `$(tag)`, are expanded. */
function isJson(text: string): boolean {
  return parseJson(text.replace(/\$\([\w.-]+\)/g, '0')) !== undefined;
}

/** Whether each quote has a partner, and neither touches a word from outside or another quote. */
function isWellQuoted(text: string): boolean {
  return /^(?:[^"']|(?<![\w"'])(?:'[^']*'|"[^"]*")(?![\w"']))*$/.test(text);
}

/** A node as texts, lists and mappings, with the places of the latter noted. */
function plain(node: unknown, text: string, place: (offset: number) => string): Yaml {
  const notePlace = (made: object, keys: ReadonlyMap<string, string>): void => {
    const [start, end] = (isNode(node) ? node.range : undefined) ?? [0, 0];
    places.set(made, { self: place(start), keys, text: text.slice(start, end) });
  };
  if (isSeq(node)) {
    const list = node.items.map((item) => plain(item, text, place));
    notePlace(list, new Map());
    return list;
  }
  if (isMap(node)) {
    const keys = new Map<string, string>();
    const entries = node.items.map(({ key, value }) => {
      const named = plain(key, text, place);
      // A key may be a mapping, as in {{ "a": 1 }}.
      const name = typeof named === 'string' ? named : (places.get(named)?.text.trim() ?? '');
      if (isNode(key)) keys.set(name, place(key.range?.[0] ?? 0));
      return [name, plain(value, text, place)] as const;
    });
    const map = Object.fromEntries(entries);
    notePlace(map, keys);
    return map;
  }
  // A key of a flow mapping may have no value at all.
  return isScalar(node) ? String(node.value) : '';
}

export function checkKeys(entry: YamlMap, allowed: readonly string[], where: string): void {
  const others = Object.keys(entry).filter((key) => !allowed.includes(key));
  if (others.length === 0) return;
  const lines = others.map((key) => {
    const outside = key === 'inputs' ? ` A step's inputs are indented as far as its "task:".` : '';
    const problem = `${unsupported(`"${key}"`, where).message}.${didYouMean(key, allowed) || outside}`;
    return problemAt(entry, problem, key).message;
  });
  throw new PipelineFileError(lines.join('\n'));
}

export function readNames(value: Yaml, where: string): string[] {
  if (typeof value === 'string') return value ? [value] : [];
  return asList(value, where).map((name) => asText(name, where));
}

export function readFlag(entry: YamlMap, key: string, otherwise: boolean, where: string): boolean {
  return readAt(
    entry,
    () => {
      const text = asText(entry[key] ?? String(otherwise), where).toLowerCase();
      if (text !== 'true' && text !== 'false') throw unsupported(`${key}: ${text}`, where);
      return text === 'true';
    },
    key,
  );
}

export function readNumber(entry: YamlMap, key: string, where: string): number {
  return readAt(
    entry,
    () => {
      const text = asText(entry[key] ?? '0', where);
      if (!/^\d+(\.\d+)?$/.test(text)) throw unsupported(`${key}: ${text}`, where);
      return Number(text);
    },
    key,
  );
}

/** @param adviceOn says how to write what isn't a text, given as the file has it; without its advice, it may be put in quotes */
export function asText(
  value: Yaml | undefined,
  where: string,
  adviceOn: (text: string) => string | undefined = () => undefined,
): string {
  if (typeof value === 'string') return value;
  const text = (value && places.get(value)?.text) ?? '';
  const isRight = isJson(text) || !(text.startsWith('{') || /^payload of/i.test(where));
  const quotes = /^[[{].*$/.test(text)
    ? ` Text that begins with ${text[0]} needs quotes around it${isRight ? `: ${inQuotes(text)}` : '.'}`
    : '';
  const advice = adviceOn(text) ?? quotes;
  throw new Error(`In ${where}, text was expected instead of ${JSON.stringify(value)}.${advice}`);
}

function inQuotes(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function asList(value: Yaml, where: string): readonly Yaml[] {
  if (!Array.isArray(value)) throw new Error(`In ${where}, a list was expected instead of ${JSON.stringify(value)}.`);
  return value as readonly Yaml[];
}

export function asMap(value: Yaml, where: string): YamlMap {
  if (typeof value === 'object' && !Array.isArray(value)) return value as YamlMap;
  throw new Error(`In ${where}, a mapping was expected instead of ${JSON.stringify(value)}.`);
}

export function asTexts(value: Yaml, where: string): Record<string, string> {
  const map = asMap(value, where);
  return Object.fromEntries(
    Object.entries(map).map(([key, text]) => [key, readAt(map, () => asText(text, `${key} of ${where}`), key)]),
  );
}

export function unsupported(what: string, where: string): Error {
  return new Error(`Not supported in ${where}: ${what}`);
}
