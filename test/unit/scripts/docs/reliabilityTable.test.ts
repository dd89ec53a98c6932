import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../../../../scripts/build/manifest.ts';
import { familiesOf, isRecordable, reliabilityTable } from '../../../../scripts/docs/reliabilityTable.ts';
import { sectionIn } from '../../../../scripts/docs/section.ts';

const LINES = [
  '{"family":"fault schedules","cases":20,"failures":0,"seed":"1 to 20","form":"long"}',
  '{"family":"foreign text","cases":500,"failures":0,"seed":7,"form":"short"}',
  '{"family":"killed batches","cases":20,"failures":0,"seed":9,"form":"long"}',
  '{"family":"fault schedules","cases":2000,"failures":0,"seed":"30 to 2029","form":"long"}',
  '{"family":"killed batches","cases":20,"failures":0,"seed":9,"form":"long"}',
  '',
].join('\n');
const RUN = { date: '2026-01-31', commit: 'abc1234', minutes: 12, servers: ['2.9.10', '2.15.0'], node: '20.20.2' };

test("the table sums up each family's long runs and names their seeds", () => {
  assert.equal(
    reliabilityTable(familiesOf(LINES), RUN),
    [
      'Long run of 2026-01-31, commit abc1234, 12 minutes: nats-server 2.9.10, 2.15.0; Node 20.20.2.',
      '',
      '| family | cases tried | failures | seed |',
      '| --- | --: | --: | --: |',
      '| fault schedules | 2,020 | 0 | 1 to 20, 30 to 2029 |',
      '| killed batches | 40 | 0 | 9 |',
    ].join('\n'),
  );
});

test("a run with a failure, or without any cases, isn't recorded", () => {
  assert.ok(isRecordable(familiesOf(LINES)));
  assert.ok(!isRecordable(familiesOf('')));
  assert.ok(!isRecordable(familiesOf('{"family":"a","cases":0,"failures":0,"seed":1,"form":"long"}')));
  assert.ok(!isRecordable(familiesOf(LINES + '{"family":"a","cases":9,"failures":1,"seed":1,"form":"long"}')));
});

test('docs/reliability.md has figures without failures for every current test family', () => {
  const record = sectionIn(readFileSync(path.join(ROOT, 'docs', 'reliability.md'), 'utf8'), 'reliability', 'latest');
  assert.match(
    record,
    /^Long run of \d{4}-\d\d-\d\d, commit \w+, \d+ minutes: nats-server [\d., ]+; Node [\d.]+\.\n\n\| family/,
  );
  const rows = record.split('\n').slice(4);
  for (const row of rows) assert.match(row, /^\| [^|]+ \| +[1-9][\d,]* \| +0 \| +[^| ][^|]* \|$/);
  const recorded = rows.map((row) => row.split('|')[1]?.trim());
  assert.deepEqual(recorded.sort(), familiesInTests().sort(), 'stale: run npm run test:long');
});

function familiesInTests(): string[] {
  const files = ['test/hostile', 'test/long'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder)).map((file) => path.join(ROOT, folder, file)),
  );
  const names = files.flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/\bfamily(?:\(|: )'([^']+)'/g)]);
  return names.map(([, name = '']) => name);
}
