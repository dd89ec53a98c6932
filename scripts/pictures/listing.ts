/** The listing page as visitors see it, to be looked at. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../build/manifest.ts';
import { heightOf, screenshot } from './chromium.ts';
import { MARKDOWN_STYLE, renderMarkdown } from './markdown.ts';

/** A wide screen, and a telephone. */
const WIDTHS = [1366, 400];
/** A page is cut into pictures of at most this height in pixels, so that they can be looked at in their real size. */
const MOST_HEIGHT = 2_000;

const STYLE = `${MARKDOWN_STYLE}
body { margin: 0; font: 15px/1.55 'Liberation Sans', sans-serif; color: #24292f; background: #fff; }
main { max-width: 820px; margin: 0 auto; padding: 20px; overflow-wrap: break-word; }
a { color: #0b5cad; }`;

/** Renders README.md, which is packed as the listing page, to dist/listing-<width>-<part>.png; returns the files. */
export function renderListing(): string[] {
  const markdown = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  mkdirSync(path.join(ROOT, 'dist'), { recursive: true });
  return WIDTHS.flatMap((width) => {
    const html = pageOf(renderMarkdown(markdown), 0, width);
    const height = heightOf(html, width);
    return Array.from({ length: Math.ceil(height / MOST_HEIGHT) }, (_, index) => {
      const top = index * MOST_HEIGHT;
      const file = `dist/listing-${String(width)}-${String(index + 1)}.png`;
      const part = pageOf(renderMarkdown(markdown), top, width);
      writeFileSync(path.join(ROOT, file), screenshot(part, width, Math.min(MOST_HEIGHT, height - top)));
      return file;
    });
  });
}

/** The page without what is above `top`. */
function pageOf(content: string, top: number, width: number): string {
  return `<!doctype html><meta charset="utf-8"><title></title><base href="${pathToFileURL(ROOT).href}/">
<style>${STYLE} html { width: ${String(width)}px; overflow: ${top > 0 ? 'hidden' : 'visible'}; } main { margin-top: -${String(top)}px; }</style>
<main>${content}</main>`;
}
