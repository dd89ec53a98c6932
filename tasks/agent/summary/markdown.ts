import { safeText } from '../../../shared/text/safeText.ts';

/** Longest value in a code span, and longest sentence, in UTF-16 units: a summary is read in ten seconds. */
const MAX_CODE = 200;
const MAX_SENTENCE = 1_500;

/** Characters with a meaning in any dialect: emphasis, code, links, HTML, tables, lists, headings, mathematics, quotes. */
const MARKUP = /[\\`*_~{}[\]()<>|&#!$^=+\-"']/g;
/** Where renderers see an address or a mention without any markup: `www.a.example`, `http://a`, `a@b.example`, `#1`. */
const ADDRESS = /(&#3[35];|[.:/@])(?=\S)/g;
const WORD_JOINER = '&#8288;';

/**
 * A text that may hold foreign parts, as prose on one line of Markdown, also in a table's cell. It is shown as it is:
 * nothing in it becomes markup, a link, a mention or HTML, whatever dialect reads it. Character references are used
 * since, unlike backslashes, every renderer knows them for every character; the invisible word joiner keeps an address
 * apart for renderers that look for addresses after they have resolved the references.
 */
export function markdownText(text: string): string {
  return safeText(text, MAX_SENTENCE)
    .replace(MARKUP, (character) => `&#${character.charCodeAt(0)};`)
    .replace(ADDRESS, `$1${WORD_JOINER}`);
}

/** A foreign value, such as an id, as a code span: exact, easily copied, and never markup. A dash for an empty one. */
export function markdownCode(value: string): string {
  const text = safeText(value, MAX_CODE);
  if (text.trim() === '') return '–';
  // A code span ends at as many backticks as it began with (CommonMark, 6.1).
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(longest + 1);
  const padding = longest > 0 ? ' ' : '';
  return `${fence}${padding}${text}${padding}${fence}`;
}

/** A table of cells that are Markdown already. Renderers do not agree on how a pipe is escaped in one, so it is shown as `\u{7c}`. */
export function markdownTable(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  return [heading, heading.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\u{7c}')).join(' | ')} |`)
    .join('\n');
}

/** Lines as they are, in a code block that none of their backticks can end. */
export function markdownBlock(lines: readonly string[]): string {
  return ['```text', ...lines.map((line) => safeText(line, MAX_CODE).replaceAll('`', '\\u{60}')), '```'].join('\n');
}

/** What happened when, in a code block: the time, and how long after (or before) the step began. */
export function markdownTimeline(
  beganAt: number,
  moments: readonly { readonly at: number; readonly what: string }[],
): string {
  const lines = [{ at: beganAt, what: 'step began' }, ...moments]
    .sort((one, other) => one.at - other.at)
    .map(({ at, what }) => {
      const offset = ((at - beganAt) / 1_000).toFixed(3);
      return `${new Date(at).toISOString()}  ${`${at < beganAt ? '' : '+'}${offset} s`.padStart(12)}  ${what}`;
    });
  return markdownBlock(lines);
}
