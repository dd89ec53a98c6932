import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../../localAgent/index.ts';

const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--hide-scrollbars'],
  ...[
    '--force-device-scale-factor=1',
    '--disable-lcd-text',
    '--disable-font-subpixel-positioning',
    '--allow-file-access-from-files',
  ],
];
const LIMIT_MS = 60_000;

/** A picture of a page in headless Chromium, as the bytes of a PNG. Needs `chromium` in the PATH (apt-get install chromium). */
export function screenshot(html: string, width: number, height: number): Buffer {
  const folder = temporaryFolder('pictures-');
  const picture = path.join(folder, 'page.png');
  chromium(folder, html, [`--window-size=${width},${height}`, `--screenshot=${picture}`]);
  return readFileSync(picture);
}

/** A picture of a whole page, as high as it is. */
export function wholeScreenshot(html: string, width: number): Buffer {
  // A window isn't narrower than 500 pixels, but a page can be.
  const style = `<style>html { width: ${width}px; }</style>`;
  const measure = '<script>document.title = document.documentElement.scrollHeight;</script>';
  const dom = chromium(temporaryFolder('pictures-'), html + style + measure, ['--window-size=1366,768', '--dump-dom']);
  const height = Number(/<title>(\d+)<\/title>/.exec(dom)?.[1]);
  return screenshot(html + style, width, height);
}

/** Opens a page, and returns what Chromium prints. */
function chromium(folder: string, html: string, flags: readonly string[]): string {
  const page = path.join(folder, 'page.html');
  writeFileSync(page, html);
  const all = [...FLAGS, `--user-data-dir=${path.join(folder, 'profile')}`, ...flags, page];
  return execFileSync('chromium', all, { encoding: 'utf8', timeout: LIMIT_MS, stdio: ['ignore', 'pipe', 'ignore'] });
}
