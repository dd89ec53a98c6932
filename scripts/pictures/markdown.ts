import { parse } from 'marked';

/** How Markdown looks on the pages of a run and of the listing: headings, tables and code set off from the text. */
export const MARKDOWN_STYLE = `
h1, h2, h3 { line-height: 1.25; margin: 22px 0 10px; }
h2 { font-size: 22px; }
p { margin: 0 0 12px; }
table { border-collapse: collapse; margin: 0 0 14px; }
th, td { border: 1px solid #d0d7de; padding: 4px 11px; text-align: left; vertical-align: top; }
th { background: #f3f5f7; }
code { font-size: 12px; background: #eff1f3; padding: 1px 4px; border-radius: 3px; }
pre { margin: 0 0 14px; padding: 9px 12px; background: #f3f5f7; border-radius: 4px; font-size: 12px; overflow-x: auto; }
pre code { padding: 0; background: none; }
img { max-width: 100%; }`;

/** Markdown as HTML, with GitHub's tables. Raw HTML stays, so only for text of our own. */
export function renderMarkdown(text: string): string {
  return parse(text, { async: false });
}
