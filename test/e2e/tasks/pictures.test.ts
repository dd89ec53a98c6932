import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { readExtension, ROOT } from '../../../scripts/build/manifest.ts';
import { ICONS, sourceOf } from '../../../scripts/pictures/icons.ts';
import { HEIGHT, WIDTH } from '../../../scripts/pictures/page.ts';
import { digestOf, sourceDigest } from '../../../scripts/pictures/png.ts';
import { picturedRuns, type PicturedRuns } from '../../../scripts/pictures/runs.ts';
import { pageDigest, SCREENSHOTS } from '../../../scripts/pictures/screenshots.ts';

const STALE = 'is stale: it is not what is to be seen now. Run: npm run pictures';

test('each icon was made from its drawing', () => {
  for (const icon of Object.keys(ICONS) as (keyof typeof ICONS)[]) {
    assert.equal(sourceDigest(path.join(ROOT, icon)), digestOf(sourceOf(icon)), `${icon} ${STALE}`);
  }
});

describe('The pictures of the listing', () => {
  let runs: PicturedRuns;
  before(async () => {
    runs = await picturedRuns();
  });

  for (const [picture, pageOf] of Object.entries(SCREENSHOTS)) {
    test(`${picture} shows what the tasks show now`, () => {
      assert.equal(sourceDigest(path.join(ROOT, picture)), pageDigest(pageOf(runs)), `${picture} ${STALE}`);
    });
  }

  test('have the size that the Marketplace requires, and are small files', () => {
    for (const picture of Object.keys(SCREENSHOTS)) {
      const bytes = readFileSync(path.join(ROOT, picture));
      assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [WIDTH, HEIGHT], picture);
      assert.ok(bytes.length < 24 * 1024, `${picture}: ${bytes.length} bytes`);
    }
    for (const { path: packed } of readExtension().screenshots) assert.ok(packed in SCREENSHOTS, packed);
  });

  test("show neither test names nor local addresses, and don't claim to come from a real agent", () => {
    for (const [picture, pageOf] of Object.entries(SCREENSHOTS)) {
      const html = pageOf(runs);
      assert.doesNotMatch(html, /127\.0\.0\.1|localhost|\btest\b|\/tmp\//i, picture);
      assert.doesNotMatch(html, /\bagent printed\b|real agent/, picture);
      assert.match(html, /From a local run; addresses are made up/, picture);
    }
  });

  test('are the only files in images/ besides icons and drawings', () => {
    const made = [...Object.keys(SCREENSHOTS), ...Object.keys(ICONS)];
    const found = readdirSync(path.join(ROOT, 'images')).map((file) => `images/${file}`);
    const drawings = Object.values(ICONS).map(({ drawing }) => drawing as string);
    const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
    // A diagram of the README is drawn by hand, and packed as the PNG of its drawing.
    const isUsed = (file: string) => readme.includes(file.replace(/\.(svg|png)$/, ''));
    assert.deepEqual(
      found.filter((file) => !made.includes(file) && !drawings.includes(file) && !isUsed(file)),
      [],
    );
  });

  test('are stale if any word changes, but not with another time, latency or server', () => {
    const html = SCREENSHOTS['images/failed-wait.png']!(runs);
    for (const [shown, other] of [
      ['latencyMs=', 'latency='],
      [' breaks the schema', ' broke the schema'],
      ['Missing: apac', 'Missing: eu'],
      ['matched=1', 'matched=2'],
    ] as const) {
      assert.ok(html.includes(shown), shown);
      assert.notEqual(pageDigest(html.replace(shown, other)), pageDigest(html), shown);
    }
    for (const [shown, other] of [
      [/latencyMs=\d+/, 'latencyMs=123'],
      [/>\d\d:\d\d:\d\d /, '>00:00:00 '],
      [/ version=[\d.]+/, ' version=9.9.9'],
    ] as const) {
      assert.match(html, shown);
      assert.equal(pageDigest(html.replace(shown, other)), pageDigest(html), other);
    }
  });
});
