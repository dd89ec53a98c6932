import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { META_SCHEMAS, type Draft } from '../../../../shared/contract/drafts.ts';
import { loadContract } from '../../../../shared/contract/load.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { exactJson, isObject, parseLargeIntegers } from '../../../../shared/text/json.ts';
import { temporaryFolder } from '../../../../localAgent/index.ts';

/** The required tests of the JSON Schema Test Suite. */
const SUITE = fileURLToPath(new URL('../../../support/jsonSchemaTestSuite', import.meta.url));
/** Where the suite's schemas expect the ones in `remotes`. */
const REMOTES = 'http://localhost:1234/';
const FOLDERS: Readonly<Record<Draft, string>> = {
  'draft-07': 'draft7',
  '2019-09': 'draft2019-09',
  '2020-12': 'draft2020-12',
};
/** How many tests of a draft there are at least. */
const LEAST_TESTS: Readonly<Record<Draft, number>> = { 'draft-07': 900, '2019-09': 1_250, '2020-12': 1_280 };

/** By draft and file the groups whose schema is refused: as `InvalidSchema`, with its place. */
const REFUSED: Readonly<Record<string, { readonly groups: readonly string[]; readonly reason: RegExp }>> = {
  // A format of this draft asserts, and these have no test here.
  'draft7/format': {
    groups: ['idn-email format', 'idn-hostname format', 'iri format', 'iri-reference format'],
    reason: /root\.json" has at \/format the format ".*", which is unknown/,
  },
  // Meta-schemas other than the drafts' own aren't read, so what they leave out can't be known.
  ...Object.fromEntries(
    ['draft2019-09/vocabulary', 'draft2020-12/vocabulary'].map((file) => [
      file,
      {
        groups: [
          'schema that uses custom metaschema with with no validation vocabulary',
          'ignore unrecognized optional vocabulary',
        ],
        reason: /root\.json" declares the \$schema "http:\/\/localhost:1234\/.*", which is not supported/,
      },
    ]),
  ),
};

/** By draft and file the tests that have another verdict: by design, formats are asserted in every draft. */
const ASSERTED: Readonly<Record<string, readonly string[]>> = {
  'draft2020-12/format': (
    'email regex ipv4 ipv6 hostname date date-time time json-pointer relative-json-pointer uri uri-reference ' +
    'uri-template uuid duration'
  )
    .split(' ')
    .map((format) => `${format} format: invalid ${format} string is only an annotation by default`),
};

interface Group {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[];
}

/** A folder with the schemas that the suite's own refer to, each with the `$id` it is served by. */
function remotesOf(draft: Draft): string {
  const folder = temporaryFolder('suite-');
  const remotes = path.join(SUITE, 'remotes');
  for (const name of readdirSync(remotes, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.json') || (name.startsWith('draft') && !name.startsWith(FOLDERS[draft]))) continue;
    const schema = JSON.parse(readFileSync(path.join(remotes, name), 'utf8')) as object;
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify({ $id: new URL(name, REMOTES).href, ...schema }));
  }
  return folder;
}

/** A folder with a group's schema as `root.json`, of the draft, and where it needs them with the remotes. */
function folderOf(schema: unknown, draft: Draft, remotes: string): string {
  const text = exactJson(schema);
  const folder = temporaryFolder('suite-');
  const needsRemotes = text.includes(REMOTES);
  if (needsRemotes) cpSync(remotes, folder, { recursive: true });
  else mkdirSync(folder, { recursive: true });
  const $id = needsRemotes ? { $id: `${REMOTES}root.json` } : {};
  const root = isObject(schema) ? { $schema: META_SCHEMAS[draft], ...$id, ...schema } : schema;
  writeFileSync(path.join(folder, 'root.json'), exactJson(root));
  return path.join(folder, 'root.json');
}

for (const draft of Object.keys(META_SCHEMAS) as Draft[]) {
  describe(`The official tests of ${draft} get the expected verdicts:`, () => {
    const remotes = remotesOf(draft);
    const files = readdirSync(path.join(SUITE, 'tests', FOLDERS[draft]));
    let judged = 0;

    for (const name of files) {
      const file = path.join(SUITE, 'tests', FOLDERS[draft], name);
      const id = `${FOLDERS[draft]}/${path.basename(name, '.json')}`;
      test(id, async () => {
        const text = readFileSync(file, 'utf8');
        const groups = JSON.parse(text) as readonly Group[];
        const exact = (parseLargeIntegers(text)?.value ?? groups) as readonly Group[];
        const refused: string[] = [];
        const wrong: string[] = [];
        for (const [index, { description, tests }] of groups.entries()) {
          const contract = await loadContract(folderOf(exact[index]?.schema, draft, remotes)).catch(
            (error: unknown) => {
              assert.ok(error instanceof TaskError && error.code === 'InvalidSchema', String(error));
              assert.match(error.problem, REFUSED[id]?.reason ?? /^$/);
              refused.push(description);
            },
          );
          for (const [number, { description: what, data, valid }] of tests.entries()) {
            judged++;
            const readExactly = () => ({ value: exact[index]?.tests[number]?.data });
            const outcome = contract?.checkUnlimited(data, readExactly).outcome;
            if (contract && outcome !== (valid ? 'valid' : 'violated')) wrong.push(`${description}: ${what}`);
          }
        }
        assert.deepEqual(refused, REFUSED[id]?.groups ?? []);
        assert.deepEqual(wrong, ASSERTED[id] ?? []);
      });
    }

    test('none is left out', () => {
      assert.ok(judged >= LEAST_TESTS[draft], String(judged));
      assert.ok(statSync(path.join(SUITE, 'LICENSE')).size > 0);
    });
  });
}
