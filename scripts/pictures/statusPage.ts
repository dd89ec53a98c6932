import type { PicturedBridge } from './bridge.ts';
import { escapeHtml, page } from './page.ts';

const STYLE = `
iframe { flex: 1; border: 0; width: 100%; }`;

/** The font that is there wherever pictures are made, and larger, since the listing shows the picture at half its width. */
const LARGER =
  "<style>body { font-family: 'Liberation Sans'; zoom: 1.2; margin: .8rem auto; } h2 { margin-top: 1.2rem; } td:first-child { width: 27%; }</style>";

/** The status page of a bridge, from its top to where the picture ends. */
export function bridgeStatusPage(title: string, { statusPage }: PicturedBridge): string {
  const html = statusPage.replace('</head>', `${LARGER}</head>`);
  return page(title, STYLE, `<iframe srcdoc="${escapeHtml(html)}"></iframe>`);
}
