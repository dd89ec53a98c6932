import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
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

  test('have the size that the marketplace wants, and are small', () => {
    for (const picture of Object.keys(SCREENSHOTS)) {
      const bytes = readFileSync(path.join(ROOT, picture));
      assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [WIDTH, HEIGHT], picture);
      assert.ok(bytes.length < 32 * 1024, `${picture}: ${bytes.length} bytes`);
    }
    for (const { path: packed } of readExtension().screenshots) assert.ok(packed in SCREENSHOTS, packed);
  });

  test('are stale with each other word, and not with another time, latency or server', () => {
    const html = SCREENSHOTS['images/log-matched.png']!(runs);
    for (const [shown, other] of [
      ['latencyMs=', 'latency='],
      [' was false ', ' is false '],
      ['Task         : ', 'Task: '],
      ['matched=1', 'matched=2'],
    ] as const) {
      assert.ok(html.includes(shown), shown);
      assert.notEqual(pageDigest(html.replace(shown, other)), pageDigest(html), shown);
    }
    for (const [shown, other] of [
      [/latencyMs=\d+/, 'latencyMs=123'],
      [/\d\d:\d\d:\d\d\.\d{3}</, '00:00:00.000<'],
      [/127\.0\.0\.1:\d+/, '127.0.0.1:1'],
      [/ version=[\d.]+/, ' version=9.9.9'],
    ] as const) {
      assert.match(html, shown);
      assert.equal(pageDigest(html.replace(shown, other)), pageDigest(html), other);
    }
  });
});
