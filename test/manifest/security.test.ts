import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../scripts/build/manifest.ts';

for (const document of ['SECURITY.md', 'docs/reliability.md']) {
  test(`${document} links to tests that exist, with at least one for each defence or promise`, () => {
    const text = readFileSync(path.join(ROOT, document), 'utf8');
    for (const test of testsIn(text)) assert.ok(existsSync(path.join(ROOT, path.dirname(document), test)), test);

    const tables = [...text.matchAll(/(?:^\|.*\n)+/gm)].map(([table]) => table.trim().split('\n'));
    const rows = tables.flatMap(([heading = '', , ...rows]) => (/(Tests|Shown by) +\|$/.test(heading) ? rows : []));
    assert.ok(rows.length >= 9);
    for (const row of rows) assert.ok(testsIn(row).length > 0, row);
  });
}

function testsIn(text: string): string[] {
  return [...text.matchAll(/\]\(((?:\.\.\/)?test\/[^)]+)\)/g)].map(([, link = '']) => link);
}
