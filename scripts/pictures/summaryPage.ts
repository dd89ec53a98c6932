import { MARKDOWN_STYLE, renderMarkdown } from './markdown.ts';
import { page } from './page.ts';

const STYLE = `${MARKDOWN_STYLE}
.summary { padding: 4px 32px; }`;

/** The summary that a step attaches to its run. */
export function summaryPage(title: string, summary: string): string {
  const note = 'The summary that a real step attached to its run';
  return page(title, note, STYLE, `<div class="summary">\n${renderMarkdown(summary)}</div>`);
}
