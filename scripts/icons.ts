/**
 * Renders images/logo.svg to the icons that the extension and the tasks carry. Needed only when the logo changes, so the
 * PNGs are committed. Usage: npx tsx scripts/icons.ts (needs Chromium: apt-get install chromium)
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './manifest.ts';

const ICONS = {
  'images/extension-icon.png': 128,
  'images/connection-icon.png': 32,
  'tasks/PublishNatsEvent/icon.png': 32,
  'tasks/WaitForNatsEvent/icon.png': 32,
};

const logo = readFileSync(path.join(ROOT, 'images/logo.svg'), 'utf8');
for (const [file, size] of Object.entries(ICONS)) {
  const page = `<style>body{margin:0}svg{display:block;width:${size}px;height:${size}px}</style>${logo}`;
  execFileSync(
    'chromium',
    [
      '--headless',
      '--no-sandbox',
      '--hide-scrollbars',
      '--force-device-scale-factor=1',
      '--default-background-color=00000000',
      `--window-size=${size},${size}`,
      `--screenshot=${path.join(ROOT, file)}`,
      `data:text/html;base64,${Buffer.from(page).toString('base64')}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], timeout: 60_000 },
  );
  console.log(`${file} ${size}x${size}`);
}
