/** What may come next in a JSON text, in the words of a sentence. */
type Expected =
  | 'a value'
  | 'a value or ]'
  | 'a name in double quotes'
  | 'a name in double quotes or }'
  | 'a colon'
  | 'a comma or }'
  | 'a comma or ]'
  | 'nothing';

const SPACE = /[ \t\r\n]*/y;
/** Unambiguous: with two ways to match, a text without an end would take for ever. */
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4})[^"\\\u0000-\u001f]*)*"/y;
const OTHER_VALUE = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y;

/**
 * Where a text stops being JSON: `JSON.parse` says so only on some versions of Node, and quotes the text.
 *
 * @param text does not parse
 * @returns a clause that shows nothing of the text: `line 1, column 8: expected a name in double quotes`
 */
export function jsonSyntaxProblem(text: string): string {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'a value';
  let at = 0;
  /** Where the last comma was. */
  let comma = -1;
  const end = (pattern: RegExp): number | undefined => {
    pattern.lastIndex = at;
    return pattern.test(text) ? pattern.lastIndex : undefined;
  };
  const after = (): Expected => {
    const last = open.at(-1);
    return last === undefined ? 'nothing' : last === '{' ? 'a comma or }' : 'a comma or ]';
  };
  for (;;) {
    at = end(SPACE) ?? at;
    const character = text[at];
    const name: boolean = expected.startsWith('a name');
    const value: boolean = expected.startsWith('a value');
    const past: number | undefined =
      name || value ? (end(STRING) ?? (value ? end(OTHER_VALUE) : undefined)) : undefined;
    if (past !== undefined) {
      at = past;
      expected = name ? 'a colon' : after();
      continue;
    }
    if (value && (character === '{' || character === '[')) {
      open.push(character);
      expected = character === '{' ? 'a name in double quotes or }' : 'a value or ]';
    } else if (character !== undefined && expected.endsWith(` ${character}`)) {
      open.pop();
      expected = after();
    } else if (expected === 'a colon' && character === ':') {
      expected = 'a value';
    } else if (expected.startsWith('a comma') && character === ',') {
      expected = open.at(-1) === '{' ? 'a name in double quotes' : 'a value';
      comma = at;
    } else {
      const { line, column } = placeOf(text, at);
      const isAfterComma = comma !== -1 && /^[ \t\r\n]*$/.test(text.slice(comma + 1, at));
      const commaLine = isAfterComma ? placeOf(text, comma).line : line;
      const inLine = commaLine === line ? '' : ` in line ${commaLine}`;
      const wanted = isAfterComma ? `${expected} after the comma${inLine}` : expected;
      return `line ${line}, column ${column}: ${wordsOf(wanted, character, name || value)}`;
    }
    at++;
  }
}

/** Line and column of a place in a text, counted from 1. */
function placeOf(text: string, at: number): { line: number; column: number } {
  const lines = text.slice(0, at).split(/\r\n|\n|\r/);
  return { line: lines.length, column: (lines.at(-1) ?? '').length + 1 };
}

function wordsOf(expected: string, character: string | undefined, mayBeText: boolean): string {
  if (character === undefined) return `it ends where ${expected} is expected`;
  if (character === '"' && mayBeText) return 'a text has no closing quote, a line break in it, or a wrong escape';
  return expected === 'nothing' ? 'more follows after its end' : `expected ${expected}`;
}
