import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../../localAgent/index.ts';

const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--hide-scrollbars'],
  ...['--force-device-scale-factor=1', '--disable-lcd-text', '--allow-file-access-from-files'],
];
const LIMIT_MS = 60_000;

/** A picture of a page in headless Chromium, as the bytes of a PNG. Needs `chromium` in the PATH (apt-get install chromium). */
export function screenshot(html: string, width: number, height: number): Buffer {
  const folder = temporaryFolder('pictures-');
  const at = (file: string): string => path.join(folder, file);
  writeFileSync(at('page.html'), html);
  const flags = [
    `--user-data-dir=${at('profile')}`,
    `--window-size=${width},${height}`,
    `--screenshot=${at('page.png')}`,
  ];
  execFileSync('chromium', [...FLAGS, ...flags, at('page.html')], { stdio: 'ignore', timeout: LIMIT_MS });
  return readFileSync(at('page.png'));
}
