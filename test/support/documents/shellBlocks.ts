import type { Tokens } from 'marked';
import type { MarkdownFile } from './documents.ts';

/** How a document marks a command that no test runs: at the end of its line, or as the first line of a block of them. */
export const NOT_RUN = '# not run by our tests';

/** The commands of each shell block of a document, one line each, without those marked as not run. */
export function commandsToRun({ tokens }: MarkdownFile): string[][] {
  return tokens
    .filter((token): token is Tokens.Code => token.type === 'code' && (token.lang === 'sh' || token.lang === 'console'))
    .map(({ lang, text }) => (lang === 'console' ? typed(text) : text))
    .map((text) => (text.startsWith(`${NOT_RUN}\n`) ? [] : linesOf(text)));
}

/** What the user typed in a block that also shows output. */
function typed(text: string): string {
  return [...text.matchAll(/^\$ (.*)$/gm)].map(([, command]) => command).join('\n');
}

/** Lines, each joined with its continuation after a backslash or within quotes. */
function linesOf(text: string): string[] {
  const lines: string[] = [];
  let open = '';
  for (const line of text.split('\n')) {
    open += open === '' ? line : `\n${line}`;
    if (open.endsWith('\\') || (open.match(/'/g)?.length ?? 0) % 2 === 1) continue;
    if (open.trim() !== '' && !open.endsWith(NOT_RUN)) lines.push(open);
    open = '';
  }
  return open === '' ? lines : [...lines, open];
}
