import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--hide-scrollbars'],
  ...['--force-device-scale-factor=1', '--disable-lcd-text', '--allow-file-access-from-files'],
];
const LIMIT_MS = 60_000;

/** A picture of a page in headless Chromium, as the bytes of a PNG. Needs `chromium` in the PATH (apt-get install chromium). */
export function screenshot(html: string, width: number, height: number): Buffer {
  return inChromium(html, [`--window-size=${String(width)},${String(height)}`, '--screenshot=page.png'], 'page.png');
}

/** The height in pixels that a page takes when it is so wide. */
export function heightOf(html: string, width: number): number {
  const measuring = `${html}<script>document.title = String(document.documentElement.scrollHeight)</script>`;
  const dom = inChromium(measuring, [`--window-size=${String(width)},600`, '--dump-dom']).toString();
  return Number(/<title>(\d+)<\/title>/.exec(dom)?.[1]);
}

/** What Chromium prints, or the file it writes. */
function inChromium(html: string, flags: readonly string[], file?: string): Buffer {
  const folder = mkdtempSync(path.join(tmpdir(), 'pictures-'));
  try {
    writeFileSync(path.join(folder, 'page.html'), html);
    const printed = execFileSync(
      'chromium',
      [...FLAGS, `--user-data-dir=${path.join(folder, 'profile')}`, ...flags, path.join(folder, 'page.html')],
      { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'], timeout: LIMIT_MS },
    );
    return file === undefined ? printed : readFileSync(path.join(folder, file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
