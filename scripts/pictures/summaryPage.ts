import { MARKDOWN_STYLE, renderMarkdown } from './markdown.ts';
import { page } from './page.ts';

/** As large as fits, since the listing shows the picture at half its width; what stands behind the timeline has no room. */
const STYLE = `${MARKDOWN_STYLE}
.summary { padding: 0 20px; zoom: 1.24; }
.summary h2 { margin: 10px 0 6px; }
.summary p { margin: 0 0 6px; }
.summary th, .summary td { padding: 1px 11px; }
.summary table, .summary pre { margin-bottom: 9px; }
.summary pre ~ p { display: none; }`;

/** The summary that a step attaches to its run. */
export function summaryPage(title: string, summary: string): string {
  return page(title, STYLE, `<div class="summary">\n${renderMarkdown(summary)}</div>`);
}
