import GithubSlugger from 'github-slugger';
import { MARKDOWN_STYLE, renderMarkdown } from './markdown.ts';

const STYLE = `${MARKDOWN_STYLE}
body { margin: 0 auto; padding: 8px 20px 24px; max-width: 900px; font: 15px/1.5 'Liberation Sans', sans-serif; color: #24292f; }
code { font-family: 'DejaVu Sans Mono', monospace; }
table { display: block; overflow-x: auto; }`;

/**
 * The packed Marketplace page, as close to the real one as we can get. A picture that isn't in the package is
 * missing here as it would be there.
 * @param packed the files of the package
 */
export function listingPage(overview: string, packed: Readonly<Record<string, Uint8Array>>): string {
  const slugger = new GithubSlugger();
  const html = renderMarkdown(overview)
    .replace(/<h(\d)>(.*?)<\/h\1>/g, (_, level: string, text: string) => {
      const id = slugger.slug(text.replace(/<[^>]+>/g, ''));
      return `<h${level} id="${id}">${text}</h${level}>`;
    })
    .replace(/(<img[^>]* src=")([^":]+)"/g, (_, before: string, file: string) => {
      return `${before}data:image/png;base64,${Buffer.from(packed[file] ?? []).toString('base64')}"`;
    });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<style>${STYLE}</style>
${html}
</html>
`;
}
