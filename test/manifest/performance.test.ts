import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { bytesByPackage } from '../../scripts/bench/bundleSizes.ts';
import { measuredWith } from '../../scripts/bench/table.ts';
import { BUILD_FOLDER } from '../../scripts/build/build.ts';
import { ROOT, TASK_NAMES } from '../../scripts/build/manifest.ts';
import { sectionIn } from '../../scripts/docs/section.ts';
import { builtVsix } from '../../localAgent/index.ts';

const DOCUMENT = readFileSync(path.join(ROOT, 'docs', 'performance.md'), 'utf8');
/** How far a stated size may be from that of the build, in kilobytes: code grows a little with each change. */
const tolerance = (kilobytes: number) => Math.max(1, kilobytes * 0.03);

for (const name of ['startup', 'batch', 'wait', 'bridge']) {
  test(`the figures of "${name}" are up to date, and each claim about them is true`, () => {
    const section = sectionIn(DOCUMENT, 'bench', name);
    assert.ok(section.includes(measuredWith()), `stale: run npm run bench -- ${name} --write`);
    const rows = tables(section)[0]?.slice(1) ?? [];
    assert.ok(rows.length > 1);
    for (const [what = '', figure, baseline, ratio, required = ''] of rows) {
      const measured = baseline ? numberIn(figure) / numberIn(baseline) : numberIn(figure);
      if (ratio) assert.ok(Math.abs(measured - numberIn(ratio)) < 0.02, what);
      const above = measured / numberIn(required) - 1;
      // The figures are rounded: at the limit either may be said.
      if (required === '' || Math.abs(above) < 0.01) continue;
      assert.ok(required.endsWith(above > 0 === required.startsWith('≥') ? ' met' : ' MISSED'), what);
    }
  });
}

test('the documented sizes are those of the build', () => {
  const section = sectionIn(DOCUMENT, 'bench', 'startup');
  const stated = new Map(tables(section).flatMap((rows) => rows.map(([what = '', ...cells]) => [what, cells])));
  const about = 'stale: run npm run bench -- startup --write';
  const assertSize = (what: string, column: number, bytes: number) => {
    const [figure, kilobytes] = [numberIn(stated.get(what)?.[column]), bytes / 1_024];
    assert.ok(
      Math.abs(figure - kilobytes) <= tolerance(kilobytes),
      `${what}: ${figure}, not ${kilobytes} KB: ${about}`,
    );
  };
  assertSize('the .vsix', 0, statSync(builtVsix()).size);
  for (const [column, task] of TASK_NAMES.entries()) {
    assertSize(`the code of ${task}`, 0, statSync(path.join(BUILD_FOLDER, task, 'index.js')).size);
    for (const [name, bytes] of bytesByPackage(path.join(BUILD_FOLDER, task, 'meta.json'))) {
      if (bytes >= 1_024) assertSize(name, column, bytes);
    }
  }
});

/** The cells of all tables, by line; the first line of each is its header. */
function tables(markdown: string): string[][][] {
  const blocks = markdown.split(/\n\n+/).filter((block) => block.startsWith('|'));
  return blocks.map((block) =>
    block
      .split('\n')
      .filter((line) => !/^\|[\s|:-]+$/.test(line))
      .map((line) =>
        line
          .slice(1, -1)
          .split('|')
          .map((cell) => cell.trim()),
      ),
  );
}

function numberIn(cell = ''): number {
  return Number(/[\d,]*\d(?:\.\d+)?/.exec(cell)?.[0].replaceAll(',', ''));
}
