import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { bundleModule } from '../../../../scripts/build/build.ts';
import { ROOT } from '../../../../scripts/build/manifest.ts';
import { META_SCHEMAS, newMetaAjv, type Draft } from '../../../../shared/contract/drafts.ts';
import { metaSchemaOf } from '../../../../shared/contract/metaSchemas.ts';
import { quickCheckOf } from '../../../../shared/contract/quickCheck.ts';
import { temporaryFolder } from '../../../../localAgent/index.ts';

const folder = temporaryFolder('contract-bundle-');

test('the bundled code passes the contract tests, too', async () => {
  await bundleModule('shared/contract/load.ts', folder);
  const bundle = pathToFileURL(path.join(folder, 'load.js')).href;
  const tests = readFileSync(path.join(ROOT, 'test/unit/shared/contract/contract.test.ts'), 'utf8');
  const redirected = tests.replace(
    "loadContract } from '../../../../shared/contract/load.ts'",
    `loadContract } from '${bundle}'`,
  );
  assert.notEqual(redirected, tests);
  const file = path.join(folder, 'contract.test.mts');
  writeFileSync(file, redirected.replaceAll("from '../../../../", `from '${pathToFileURL(ROOT).href}/`));
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { status, stdout } = spawnSync(process.execPath, ['--import', 'tsx', file], {
    cwd: ROOT,
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /^# pass [1-9]/m);
});

/** One value of each kind, and some that are wrong in their own way. */
const VALUES = [
  ...[null, true, false, 0, -1, 1.5, '', 'string', '(', 'a b#', [], ['a', 'a'], ['string', 'null'], [{}], [1]],
  ...[{}, { a: 1 }, { a: {} }, { a: true }, { a: ['b', 'b'] }, { a: { type: 'no such type' } }, { '(': {} }],
];

for (const draft of Object.keys(META_SCHEMAS) as Draft[]) {
  test(`the quick check of ${draft} schemas agrees with the meta-schema on every keyword`, () => {
    const [isSurely, isSchema] = [quickCheckOf(draft), metaSchemaOf(draft)];
    const keywords = Object.keys(newMetaAjv(draft).RULES.keywords);
    assert.ok(keywords.length > 30);
    let refused = 0;
    for (const keyword of [...keywords, '$schema', '$vocabulary', 'definitions', 'unknown']) {
      for (const value of VALUES) {
        const schema = { [keyword]: value };
        for (const place of [
          schema,
          { not: schema },
          { properties: { a: { items: schema } } },
          { $defs: { a: schema } },
        ]) {
          const expected = isSchema(place);
          assert.equal(isSurely(place), expected, JSON.stringify(place));
          if (!expected) refused++;
        }
      }
    }
    assert.ok(refused > 1_000, String(refused));
  });
}
