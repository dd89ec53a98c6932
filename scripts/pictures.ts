/**
 * Makes the icons from their drawings in images/, and the pictures of the listing from real runs of the packed tasks and from
 * the task.json files. One that is not stale stays as it is. Needs a package (npm run package) and Chromium (apt-get install
 * chromium fonts-liberation fonts-dejavu fonts-noto-color-emoji).
 * Usage: npm run pictures
 */
import { statSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { ROOT } from './build/manifest.ts';
import { screenshot } from './pictures/chromium.ts';
import { ICONS, sourceOf, writeIcon } from './pictures/icons.ts';
import { HEIGHT, WIDTH } from './pictures/page.ts';
import { digestOf, sourceDigest, writePng } from './pictures/png.ts';
import { picturedRuns } from './pictures/runs.ts';
import { pageDigest, SCREENSHOTS } from './pictures/screenshots.ts';

/** As few as four bits can tell: the pictures are part of the package, which has to stay small. */
const COLOURS = 16;

for (const icon of Object.keys(ICONS) as (keyof typeof ICONS)[])
  await make(icon, digestOf(sourceOf(icon)), () => writeIcon(icon));
const runs = await picturedRuns();
for (const [picture, pageOf] of Object.entries(SCREENSHOTS)) {
  const html = pageOf(runs);
  const digest = pageDigest(html);
  await make(picture, digest, () =>
    writePng(path.join(ROOT, picture), sharp(screenshot(html, WIDTH, HEIGHT)), COLOURS, digest),
  );
}

async function make(picture: string, digest: string, write: () => Promise<void>): Promise<void> {
  const isFresh = sourceDigest(path.join(ROOT, picture)) === digest;
  if (!isFresh) await write();
  const kilobytes = (statSync(path.join(ROOT, picture)).size / 1024).toFixed(1);
  console.log(`${picture}  ${kilobytes} KB  ${isFresh ? 'as it was' : 'made'}`);
}
