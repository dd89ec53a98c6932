/**
 * Makes the icons from their drawings in images/, and the pictures of the listing from real runs of the packed tasks and the
 * packed bridge. One that is not stale stays as it is. Needs a package (npm run package) and Chromium (apt-get install
 * chromium fonts-liberation fonts-dejavu fonts-noto-color-emoji).
 * Usage: npm run pictures [-- --listing] [--forms]
 *   (to look at, in dist/pictures: --listing: the packed page of the Marketplace, wide and on a telephone; --forms: the forms of
 *   the tasks and of the service connections, with all their help)
 */
import { strFromU8, unzipSync } from 'fflate';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { builtVsix } from '../localAgent/vsix.ts';
import { AGENTLESS_TASK, connectionTypesOf, readExtension, readTask, ROOT, TASK_NAMES } from './build/manifest.ts';
import { screenshot, wholeScreenshot } from './pictures/chromium.ts';
import { connectionForm, taskForm } from './pictures/formPage.ts';
import { ICONS, sourceOf, writeIcon } from './pictures/icons.ts';
import { listingPage } from './pictures/listingPage.ts';
import { HEIGHT, WIDTH } from './pictures/page.ts';
import { digestOf, sourceDigest, writePng } from './pictures/png.ts';
import { picturedRuns } from './pictures/runs.ts';
import { pageDigest, SCREENSHOTS } from './pictures/screenshots.ts';

/** Few, since the pictures are part of the package, which has to stay small. */
const COLOURS = 12;

const LOOK_AT = path.join(ROOT, 'dist', 'pictures');

const { values } = parseArgs({
  options: { listing: { type: 'boolean', default: false }, forms: { type: 'boolean', default: false } },
});
if (values.listing) lookAtListing();
if (values.forms) lookAtForms();
if (!values.listing && !values.forms) await makeAll();

async function makeAll(): Promise<void> {
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
}

function lookAtListing(): void {
  const packed = unzipSync(readFileSync(builtVsix()));
  const html = listingPage(strFromU8(packed['overview.md'] ?? new Uint8Array()), packed);
  for (const width of [WIDTH, 400]) look(`listing-${width}.png`, html, width);
}

function lookAtForms(): void {
  for (const name of [...TASK_NAMES, AGENTLESS_TASK] as const)
    look(`form-${name}.png`, taskForm(readTask(name), {}), 700);
  for (const type of connectionTypesOf(readExtension())) look(`form-${type.name}.png`, connectionForm(type), 700);
}

function look(name: string, html: string, width: number): void {
  mkdirSync(LOOK_AT, { recursive: true });
  const file = path.join(LOOK_AT, name);
  writeFileSync(file, wholeScreenshot(html, width));
  console.log(path.relative(ROOT, file));
}

async function make(picture: string, digest: string, write: () => Promise<void>): Promise<void> {
  const isFresh = sourceDigest(path.join(ROOT, picture)) === digest;
  if (!isFresh) await write();
  const kilobytes = (statSync(path.join(ROOT, picture)).size / 1024).toFixed(1);
  console.log(`${picture}  ${kilobytes} KB  ${isFresh ? 'as it was' : 'made'}`);
}
