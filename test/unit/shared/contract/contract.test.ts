import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { describeProblems, describeWarnings } from '../../../../shared/contract/contract.ts';
import { loadContract } from '../../../../shared/contract/load.ts';
import type { Contract, SchemaProblem } from '../../../../shared/contract/contract.ts';
import type { ErrorCode, TaskError } from '../../../../shared/errors.ts';
import { canonicalize, parseLargeIntegers } from '../../../../shared/text/json.ts';

const DRAFT_07 = 'http://json-schema.org/draft-07/schema#';
const DRAFT_2019 = 'https://json-schema.org/draft/2019-09/schema';
const DRAFT_2020 = 'https://json-schema.org/draft/2020-12/schema';

const scratch = await realpath(await mkdtemp(path.join(tmpdir(), 'contract-')));
after(() => rm(scratch, { recursive: true }));
let folders = 0;

/** Writes schema files (text, bytes, or JSON) into a new folder. Returns the folder. */
async function folderOf(files: Record<string, unknown>): Promise<string> {
  const folder = path.join(scratch, String(++folders), 'contracts');
  await mkdir(folder, { recursive: true });
  const writes = Object.entries(files).map(async ([name, content]) => {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    const isRaw = typeof content === 'string' || content instanceof Uint8Array;
    await writeFile(file, isRaw ? content : JSON.stringify(content));
  });
  await Promise.all(writes);
  return folder;
}

/** Loads `root.json` of such a folder. */
async function contractOf(files: Record<string, unknown>, options?: { checkLimitMs: number }): Promise<Contract> {
  return await loadContract(path.join(await folderOf(files), 'root.json'), options);
}

function problems(contract: Contract, value: unknown): readonly SchemaProblem[] {
  const result = contract.check(value);
  return result.outcome === 'violated' ? result.problems : assert.fail(`the check is ${result.outcome}`);
}

function assertValid(contract: Contract, ...values: unknown[]): void {
  for (const value of values) assert.deepEqual(contract.check(value), { outcome: 'valid' }, inspect(value));
}

function assertViolated(contract: Contract, ...values: unknown[]): void {
  for (const value of values) assert.equal(contract.check(value).outcome, 'violated', inspect(value));
}

async function assertRefused(
  loading: Promise<Contract>,
  code: ErrorCode,
  ...texts: (string | RegExp)[]
): Promise<void> {
  const error = await loading.then(
    () => assert.fail('the schema was accepted'),
    (reason: unknown) => reason as TaskError,
  );
  assert.equal(error.code, code, String(error));
  for (const text of texts) assert.match(error.message, typeof text === 'string' ? literal(text) : text);
}

function literal(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}

describe('the draft', () => {
  for (const [name, $schema] of [
    ['draft-07', DRAFT_07],
    ['draft-07 over https without #', 'https://json-schema.org/draft-07/schema'],
    ['2019-09', DRAFT_2019],
    ['2019-09 over http with #', 'http://json-schema.org/draft/2019-09/schema#'],
    ['2020-12', DRAFT_2020],
    ['2020-12 over http with #', 'http://json-schema.org/draft/2020-12/schema#'],
  ]) {
    test(`${name} is read`, async () => {
      const contract = await contractOf({ 'root.json': { $schema, type: 'object', required: ['id'] } });
      assertValid(contract, { id: 1 });
      assertViolated(contract, {}, []);
    });
  }

  test('defaults to 2020-12', async () => {
    const contract = await contractOf({ 'root.json': { prefixItems: [{ type: 'string' }], items: false } });
    assertValid(contract, ['a'], []);
    assertViolated(contract, [1], ['a', 'b']);
  });

  for (const $schema of ['http://json-schema.org/draft-04/schema#', 'https://example.com/mine', '', 7, null]) {
    test(`${JSON.stringify($schema)} is refused, naming the supported ones`, async () => {
      const loading = contractOf({ 'root.json': { $schema } });
      await assertRefused(
        loading,
        'InvalidSchema',
        JSON.stringify($schema),
        DRAFT_07.slice(0, -1),
        DRAFT_2019,
        DRAFT_2020,
      );
    });
  }

  test('must be the same in all files', async () => {
    const loading = contractOf({
      'root.json': { $schema: DRAFT_2020, $ref: 'part.json' },
      'part.json': { $schema: DRAFT_07, items: [true] },
    });
    await assertRefused(loading, 'InvalidSchema', 'part.json', DRAFT_07, '2020-12', 'one draft');
    const agreeing = { 'root.json': { $ref: 'part.json' }, 'part.json': { $schema: DRAFT_2020, type: 'string' } };
    assertViolated(await contractOf(agreeing), 1);
  });
});

describe('a schema file', () => {
  test('may be true or false, even behind a reference', async () => {
    assertValid(await contractOf({ 'root.json': 'true' }), 1);
    assert.deepEqual(problems(await contractOf({ 'root.json': 'false' }), 1), [
      { pointer: '', message: 'is not allowed' },
    ]);
    const contract = await contractOf({
      'root.json': { properties: { a: { $ref: 'yes.json' }, b: { $ref: 'no.json' } } },
      'yes.json': 'true',
      'no.json': 'false',
    });
    assertValid(contract, { a: 1 });
    assertViolated(contract, { b: 1 });
  });

  test('may start with a byte order mark', async () => {
    assertViolated(await contractOf({ 'root.json': '\ufeff{"type":"string"}' }), 1);
  });

  test('that is missing or a directory is an input error', async () => {
    const folder = await folderOf({ 'root.json': {} });
    await assertRefused(loadContract(path.join(folder, 'other.json')), 'InvalidInput', path.join(folder, 'other.json'));
    await assertRefused(loadContract(folder), 'InvalidInput', folder, 'not a file');
  });

  test("that isn't JSON is refused with line and column", async () => {
    const text = '{\n  "type": "string",\n}';
    await assertRefused(
      contractOf({ 'root.json': text }),
      'InvalidSchema',
      'root.json',
      'line 3, column 1: expected a name in double quotes after the comma in line 2',
    );
  });

  test('gets one problem for each mistake, the one that says most of what may be there', async () => {
    const types = '"array", "boolean", "integer", "null", "number", "object", "string"';
    for (const [schema, told] of [
      [{ properties: { amount: { type: 'decimal' } } }, `/properties/amount/type: must be one of ${types}`],
      [{ type: ['strin'] }, `/type/0: must be one of ${types}`],
      [{ type: [] }, '/type: must NOT have fewer than 1 items'],
      [{ $schema: DRAFT_07, items: [{ type: 'strin' }] }, `/items/0/type: must be one of ${types}`],
      [{ $schema: DRAFT_07, items: 5 }, '/items: must be object or boolean'],
    ] as const)
      await assert.rejects(contractOf({ 'root.json': schema }), ({ message }: Error) => {
        assert.equal(message.replace(/^.* schema: /, ''), `${told}.`);
        return true;
      });
  });

  test('that is not UTF-8 is refused', async () => {
    const utf16 = Buffer.from('\ufeff{}', 'utf16le');
    await assertRefused(contractOf({ 'root.json': utf16 }), 'InvalidSchema', 'root.json', 'UTF-8');
    const latin1 = Buffer.from('{"title":"Größe"}', 'latin1');
    await assertRefused(contractOf({ 'root.json': { $ref: 'a.json' }, 'a.json': latin1 }), 'InvalidSchema', 'a.json');
  });

  test("that doesn't hold a schema is refused", async () => {
    await assertRefused(contractOf({ 'root.json': '[]' }), 'InvalidSchema', 'neither an object nor true or false');
  });

  for (const $schema of [DRAFT_07, DRAFT_2019, DRAFT_2020]) {
    test(`that breaks ${$schema} is refused with the place and the reason`, async () => {
      const loading = contractOf({ 'root.json': { $schema, properties: { 'a/b': { type: 'strin' } } } });
      await assertRefused(loading, 'InvalidSchema', 'root.json', '/properties/a~1b/type: must be one of "array"');
      const minimum = contractOf({ 'root.json': { $schema, $ref: 'a.json' }, 'a.json': { minimum: 'x' } });
      await assertRefused(minimum, 'InvalidSchema', 'a.json', '/minimum: must be number');
      const pattern = contractOf({ 'root.json': { $schema, properties: { a: { pattern: '(' } } } });
      await assertRefused(pattern, 'InvalidSchema', 'an invalid regular expression at /properties/a/pattern');
      const names = contractOf({ 'root.json': { $schema, patternProperties: { '[': true } } });
      await assertRefused(names, 'InvalidSchema', 'an invalid regular expression at /patternProperties/[');
    });
  }

  test('may have unknown keywords, which are ignored', async () => {
    for (const $schema of [DRAFT_07, DRAFT_2019, DRAFT_2020]) {
      const contract = await contractOf({
        'root.json': {
          $schema,
          type: 'string',
          nullable: true,
          $async: true,
          id: 'old',
          discriminator: { propertyName: 'x' },
          formatMinimum: 'x',
          constructor: 1,
          toString: { $ref: 'nowhere.json' },
          'x-owner': { $ref: 'nowhere.json', $id: 'https://example.com/same', type: 'number' },
          example: { $ref: '#/nowhere', $id: 'https://example.com/same', format: 'unheard-of' },
        },
      });
      assertValid(contract, 'text');
      assertViolated(contract, null, 1);
    }
  });

  test('whose names are nearly keywords is used, with one warning each that names file, place and keyword', async () => {
    const contract = await contractOf({
      'root.json': {
        tpye: 'object',
        requird: ['x'],
        propertys: { y: { requird: ['z'] } },
        properties: { 'a/b': { $ref: 'part.json' }, tpye: { Type: 'string' } },
      },
      'part.json': { items: { mimimum: 5, maxlength: 3 } },
    });
    assertValid(contract, { x: 1 }, 5, { 'a/b': [1, 'long'] });
    const warnings = describeWarnings(contract);
    const said = warnings.map((it) =>
      /(root|part)\.json" has at (\S+) .*Did you mean "(.*)"\?$/.exec(it)?.slice(1).join(' '),
    );
    const expected = ['root /tpye type', 'root /requird required', 'root /propertys properties'];
    expected.push('root /properties/tpye/Type type', 'part /items/mimimum minimum', 'part /items/maxlength maxLength');
    assert.deepEqual(said, expected);
    assert.match(warnings[1] ?? '', literal('at /requird "requird", which is no keyword, so it checks nothing. Did'));
  });

  for (const $schema of [DRAFT_07, DRAFT_2019, DRAFT_2020]) {
    test(`may have other names without a warning (${$schema})`, async () => {
      const contract = await contractOf({
        'root.json': {
          $schema,
          ...{
            id: 'a',
            note: 'b',
            when: 'c',
            form: 'd',
            count: 5,
            example: {},
            title: 'e',
            titel: 'f',
            nullable: true,
          },
          ...{
            minContains: 1,
            maxContains: 2,
            prefixItem: 5,
            'x-type': 'string',
            $internal: {},
            xml: {},
            errorMessage: '',
          },
          ...{ additionalItems: {}, dependencies: {}, unevaluatedItems: true, $anchor: 'a', tags: [], typeName: '' },
          ...{ constraints: {}, contents: {}, anyRequired: ['a'], oneRequired: ['b'] },
          properties: {
            requird: { $ref: '#/item' },
            b: { enum: [{ requird: [] }], const: { tpye: '' }, default: { tpye: '' } },
          },
          examples: [{ tpye: '' }],
          item: { type: 'string' },
          [`requird${'x'.repeat(1_000)}`]: [],
        },
      });
      assert.deepEqual(describeWarnings(contract), []);
    });
  }

  test('may have any number of names, of which the first 200 are compared with keywords', async () => {
    const names = Array.from({ length: 500 }, (_, index) => [`requir${index.toString(36)}`, []] as const);
    const contract = await contractOf({ 'root.json': Object.fromEntries(names) });
    assert.equal(contract.warnings.length, 200);
  });
});

describe('formats', () => {
  for (const $schema of [DRAFT_07, DRAFT_2019, DRAFT_2020]) {
    test(`are checked in ${$schema}`, async () => {
      const contract = await contractOf({
        'root.json': {
          $schema,
          properties: { at: { format: 'date-time' }, id: { format: 'uuid' }, n: { format: 'int32' } },
        },
      });
      assertValid(contract, { at: '2026-01-31T10:00:00Z', id: '123e4567-e89b-12d3-a456-426614174000', n: 5 });
      assertValid(contract, { at: 5 });
      assertViolated(contract, { at: '2026-02-30T10:00:00Z' }, { id: 'x' }, { n: 2 ** 40 });
    });
  }

  for (const format of ['unheard-of', 'iri', 'constructor', '__proto__']) {
    const unused = { unused: { anyOf: [true, { format }, { format }] } };
    const said = `/unused/anyOf/1/format the format "${format}", which is unknown`;

    test(`${format} is unknown and refused in draft-07 wherever it is, with file and place`, async () => {
      const $schema = DRAFT_07;
      const loading = contractOf({
        'root.json': { $schema, $ref: 'part.json' },
        'part.json': { definitions: unused },
      });
      await assertRefused(loading, 'InvalidSchema', 'part.json', said, 'The nearest known one is');
    });

    test(`${format} is unknown and checks nothing from 2019-09 on, with one warning that names file and place`, async () => {
      for (const $schema of [DRAFT_2019, DRAFT_2020]) {
        const contract = await contractOf({
          'root.json': { $schema, $ref: 'part.json', properties: { a: { format } } },
          'part.json': { $defs: unused },
        });
        assertValid(contract, { a: '' }, { a: 'x y' });
        const [warning, ...others] = describeWarnings(contract);
        assert.match(warning ?? '', literal(`root.json" has at /properties/a/format the format "${format}"`));
        assert.match(warning ?? '', /so it isn't checked\. The nearest known one is "[a-z-]+"; docs\/contracts\.md/);
        assert.deepEqual(others, []);
      }
    });
  }

  test('count only where format is a keyword', async () => {
    const contract = await contractOf({
      'root.json': {
        properties: { format: { enum: [{ format: 'a' }] }, other: { const: { format: 'b' } } },
        default: { format: 'c' },
        examples: [{ format: 'd' }],
        'x-ui': { format: 'e' },
        required: ['format'],
      },
    });
    assertValid(contract, { format: { format: 'a' } });
    assertViolated(contract, { format: 'a' }, {});
  });
});

describe('references', () => {
  test('may point to a place outside any keyword, which is then read as a schema', async () => {
    const contract = await contractOf({
      'root.json': {
        properties: { component: { $ref: '#/components/schemas/Region' } },
        components: { schemas: { Region: { enum: ['eu', 'us'], nullable: true } } },
      },
    });
    assertValid(contract, { component: 'eu' });
    assertViolated(contract, { component: null });
  });

  test('find an $id that is an anchor in draft-07, also at the root', async () => {
    const contract = await contractOf({
      'root.json': {
        $schema: DRAFT_07,
        $id: '#top',
        properties: { a: { $ref: '#text' }, b: { $ref: '#top' } },
        definitions: { t: { $id: '#text', type: 'string' } },
      },
    });
    assertValid(contract, { a: 'x', b: { a: 'y' } });
    assertViolated(contract, { a: 1 }, { b: { a: 1 } });
  });

  test('resolve to other files by relative path, in subfolders and in circles', async () => {
    const contract = await contractOf({
      'root.json': { properties: { child: { $ref: 'parts/node file.json' } }, required: ['child'] },
      'parts/node file.json': {
        properties: { next: { $ref: '../root.json' }, tag: { $ref: './tag.json#/$defs/tag' } },
      },
      'parts/tag.json': { $defs: { tag: { type: 'string' } }, $ref: 'node%20file.json' },
    });
    assertValid(contract, { child: { next: { child: {} }, tag: 'x' } });
    assertViolated(contract, {}, { child: { next: {} } }, { child: { tag: 1 } });
  });

  test('by URL find the file at the same relative path from the root', async () => {
    const contract = await contractOf({
      'root.json': {
        $id: 'https://example.com/v1/root.json',
        properties: { a: { $ref: 'common.json' }, b: { $ref: 'https://example.com/v1/deep/other.json#/$defs/x' } },
      },
      'common.json': { type: 'string' },
      'deep/other.json': { $defs: { x: { $ref: '../common.json' } } },
    });
    assertValid(contract, { a: 'x', b: 'y' });
    assertViolated(contract, { a: 1 }, { b: 1 });
  });

  test('by URL or URN find the file with that $id, wherever it is in the folder', async () => {
    const contract = await contractOf({
      'root.json': {
        $id: 'urn:example:root',
        properties: { a: { $ref: 'urn:example:text#/$defs/t' }, b: { $ref: 'https://example.com/elsewhere' } },
      },
      'x/y/text.json': { $id: 'urn:example:text', $defs: { t: { type: 'string' } } },
      'z.JSON': { $id: 'https://example.com/elsewhere#', type: 'integer' },
      'broken.json': '{"$id": ',
    });
    assertValid(contract, { a: 'x', b: 1 });
    assertViolated(contract, { a: 1 }, { b: 'x' });
  });

  test('find a file by its URL and its $id; without an $id, its URL follows from its path', async () => {
    const contract = await contractOf({
      'root.json': {
        $id: 'https://example.com/v1/root.json',
        properties: {
          a: { $ref: 'https://example.com/shared/text' },
          b: { $ref: 'text.json' },
          c: { $ref: 'plain.json' },
          d: { $ref: 'taken.json' },
        },
        $defs: { count: { $id: 'count', type: 'integer' } },
      },
      'text.json': { $id: 'https://example.com/shared/text', type: 'string' },
      'plain.json': { $ref: 'count' },
      'taken.json': { $id: 'https://example.com/v0/taken.json', type: 'string' },
      'x.json': { $id: 'taken.json', type: 'integer' },
    });
    assertValid(contract, { a: 'x', b: 'x', c: 1, d: 1 });
    assertViolated(contract, { a: 1 }, { b: 1 }, { c: 'x' }, { d: 'x' });
  });

  test('find a file even if its URL is spelled differently', async () => {
    const folder = await folderOf({ 'text.json': { type: 'string' } });
    // For Windows, that's also the case of its letters.
    const encoded = (letter: string) => `%${letter.charCodeAt(0).toString(16)}`;
    const $ref = pathToFileURL(path.join(folder, 'text.json')).href.replace(/\w(?=\/text\.json$)/, encoded);
    await writeFile(path.join(folder, 'root.json'), JSON.stringify({ $ref }));
    assertViolated(await loadContract(path.join(folder, 'root.json')), 1);
  });

  test('that are Windows paths with a drive letter are refused', async () => {
    for (const $ref of ['C:\\schemas\\a.json', 'c:/schemas/a.json#/$defs/x'])
      await assertRefused(
        contractOf({ 'root.json': { $ref } }),
        'InvalidSchema',
        'root.json" at /$ref is a Windows path, but a reference must be a URI',
        'Write it relative to the file that contains it, with slashes',
      );
  });

  test('are never fetched: an unknown URL is refused with reference, file, place and fix', async () => {
    for (const $ref of ['https://example.com/nowhere.json', 'nowhere.json', 'http://127.0.0.1:9/x', 'urn:x:y']) {
      const loading = contractOf({ 'root.json': { $ref: 'a.json' }, 'a.json': { items: { $ref } } });
      await assertRefused(
        loading,
        'InvalidSchema',
        `"${$ref}"`,
        'a.json" at /items/$ref',
        'Nothing is downloaded: put',
      );
    }
  });

  test("to a part that the file doesn't have are refused", async () => {
    for (const $ref of [
      '#/$defs/x',
      '#nope',
      'a.json#/$defs/constructor',
      'a.json#/allOf/01',
      'a.json#/title',
      '#%ff',
    ]) {
      const loading = contractOf({
        'root.json': { $defs: { unused: { $ref } } },
        'a.json': { $defs: {}, allOf: [true], title: 'x' },
      });
      await assertRefused(loading, 'InvalidSchema', `"${$ref}"`, 'root.json" at /$defs/unused/$ref');
    }
  });

  test('may not leave the folder, whether by dots or symbolic links', async () => {
    const folder = await folderOf({});
    await writeFile(path.join(folder, '..', 'secret.json'), '{}');
    await symlink(path.join(folder, '..'), path.join(folder, 'linked'), 'junction');
    for (const $ref of ['../secret.json', 'linked/secret.json']) {
      await writeFile(path.join(folder, 'root.json'), JSON.stringify({ $ref }));
      const loading = loadContract(path.join(folder, 'root.json'));
      await assertRefused(loading, 'InvalidSchema', `"${$ref}"`, 'leads outside', folder);
    }
  });

  test('may go through symbolic links that stay inside, and the root may be one', async () => {
    const folder = await folderOf({ 'root.json': { $ref: 'alias.json' }, 'real.json': { type: 'string' } });
    await symlink('real.json', path.join(folder, 'alias.json'));
    const link = path.join(folder, '..', 'link.json');
    await symlink(path.join(folder, 'root.json'), link);
    const contract = await loadContract(link);
    assertViolated(contract, 1);
    assert.equal(contract.schemaFile, link);
    assert.equal(contract.digest, (await loadContract(path.join(folder, 'root.json'))).digest);
  });

  test('to an $id that two files have are refused, naming both', async () => {
    const both = { 'a.json': { $id: 'urn:same' }, 'b.json': { $id: 'urn:same', title: 'b' } };
    const byPath = contractOf({ 'root.json': { allOf: [{ $ref: 'a.json' }, { $ref: 'b.json' }] }, ...both });
    await assertRefused(byPath, 'InvalidSchema', 'a.json', 'b.json', 'urn:same');
    await assertRefused(
      contractOf({ 'root.json': { $ref: 'urn:same' }, ...both }),
      'InvalidSchema',
      'a.json',
      'b.json',
    );
    assertValid(await contractOf({ 'root.json': { $ref: 'a.json' }, ...both }), 1);
  });

  test("ignore node_modules, .git and any file that isn't .json", async () => {
    for (const name of ['node_modules/x.json', '.git/x.json', 'x.txt']) {
      const loading = contractOf({ 'root.json': { $ref: 'urn:x' }, [name]: { $id: 'urn:x' } });
      await assertRefused(loading, 'InvalidSchema', 'urn:x');
    }
  });

  test('are refused in a folder with too many files, and the error says so', async () => {
    const many = Object.fromEntries(Array.from({ length: 2001 }, (_, index) => [`${index}.json`, '{}']));
    const loading = contractOf({ 'root.json': { $ref: 'urn:x' }, ...many });
    await assertRefused(loading, 'InvalidSchema', 'a folder of their own');
  });
});

describe('dynamic references', () => {
  test('compare numbers by their digits on every path', async () => {
    const contract = await contractOf({
      'root.json': '{"$ref":"list.json","$defs":{"t":{"$dynamicAnchor":"item","const":9007199254740993}}}',
      'list.json': { items: { $dynamicRef: '#item' }, $defs: { any: { $dynamicAnchor: 'item' } } },
    });
    for (const [text, outcome] of [
      ['[9007199254740993]', 'valid'],
      ['[9007199254740992]', 'violated'],
    ] as const)
      assert.equal(contract.check(JSON.parse(text), undefined, () => parseLargeIntegers(text)).outcome, outcome);
  });

  test('with too many paths to distinguish are refused', async () => {
    const anchors = Array.from({ length: 12 }, (_, index) => `a${index}`);
    const defs = ['r', 's'].flatMap((kind) =>
      anchors.map((anchor) => [
        kind + anchor,
        {
          $id: `https://example.com/${kind}${anchor}`,
          $defs: { here: { $dynamicAnchor: anchor } },
          anyOf: [...anchors.map((other) => ({ $ref: `r${other}` })), { $dynamicRef: `#${anchor}` }],
        },
      ]),
    );
    const $defs = Object.fromEntries(defs) as object;
    const anyOf = Object.keys($defs).map((name) => ({ $ref: `https://example.com/${name}` }));
    const loading = contractOf({ 'root.json': { anyOf, $defs } });
    await assertRefused(loading, 'InvalidSchema', 'root.json', 'along too many paths', 'Use $ref');
  });

  test('are keywords only in their own draft', async () => {
    const both = { a: { $dynamicRef: '#gone' }, b: { $recursiveRef: '#' } };
    const of2019 = await contractOf({
      'root.json': { $schema: DRAFT_2019, type: 'object', properties: { ...both, a: { $dynamicRef: 7 } } },
    });
    assertValid(of2019, { a: 1, b: {} });
    assertViolated(of2019, { b: 1 });
    const of2020 = { type: 'object', properties: { b: { $recursiveRef: '#' } } };
    assertValid(await contractOf({ 'root.json': of2020 }), { b: 1 });
  });
});

describe('what other keywords evaluate', () => {
  test('counts contains in 2020-12, and not in 2019-09', async () => {
    const schema = { contains: { type: 'string' }, unevaluatedItems: { type: 'integer' } };
    assertValid(await contractOf({ 'root.json': schema }), ['a'], ['a', 1, 'b'], [1, 'a']);
    assertViolated(await contractOf({ 'root.json': { $schema: DRAFT_2019, ...schema } }), ['a'], ['a', 1]);
  });

  test('is reported by its place in the event; a failed branch adds no problem of its own', async () => {
    const contract = await contractOf({
      'root.json': {
        properties: {
          deep: { anyOf: [{ required: ['a'], properties: { a: true } }], unevaluatedProperties: { type: 'integer' } },
          list: { prefixItems: [true], unevaluatedItems: { required: ['x'] } },
        },
        unevaluatedProperties: false,
      },
    });
    assert.deepEqual(problems(contract, { deep: { a: 1, 'b/c': 'x' }, list: [0, {}], more: 1 }), [
      { pointer: '/deep/b~1c', message: 'must be integer' },
      { pointer: '/list/1', message: 'must have property "x"' },
      { pointer: '', message: 'must not have property "more"' },
    ]);
    assert.deepEqual(problems(contract, { deep: { b: 'x' } }), [
      { pointer: '/deep', message: 'must have property "a"' },
      { pointer: '/deep', message: 'must match a schema in anyOf' },
    ]);
  });

  test('is evaluated afresh in each check, even of the same event', async () => {
    const anyOf = '[{"properties":{"a":{"const":9007199254740992}}},true]';
    const contract = await contractOf({ 'root.json': `{"anyOf":${anyOf},"unevaluatedProperties":false}` });
    const text = '{"a":9007199254740993}';
    const value: unknown = JSON.parse(text);
    assert.equal(contract.check(value).outcome, 'valid');
    assert.equal(contract.check(value, undefined, () => parseLargeIntegers(text)).outcome, 'violated');
  });
});

test('contains refuses an empty list, even after one that matches', async () => {
  for (const $schema of [DRAFT_07, DRAFT_2019, DRAFT_2020]) {
    const contract = await contractOf({ 'root.json': { $schema, items: { contains: { const: 1 } } } });
    assertValid(contract, [[1], [0, 1]]);
    assert.deepEqual(problems(contract, [[1], []]), [
      { pointer: '/1', message: 'must contain at least 1 valid item(s)' },
    ]);
  }
  assertValid(await contractOf({ 'root.json': { items: { contains: { const: 1 }, minContains: 0 } } }), [[1], []]);
});

test("not and if apply their whole schema, even if part of it doesn't apply to the value", async () => {
  const parts = { prefixItems: [true, { const: 1 }], contains: { const: 1 }, uniqueItems: true };
  const not = await contractOf({ 'root.json': { not: parts } });
  assertValid(not, [], [2], [1, 1]);
  assertViolated(not, [1], [2, 1], 'no list');
  const branches = await contractOf({ 'root.json': { if: parts, then: { minItems: 2 }, else: { maxItems: 1 } } });
  assertValid(branches, [], [2], [2, 1]);
  assertViolated(branches, [1], [2, 2], [1, 1]);
  const items = { $schema: DRAFT_07, not: { items: [true, { const: 1 }], contains: { const: 1 } } };
  assertValid(await contractOf({ 'root.json': items }), [], [2]);
});

test('an empty enum accepts nothing, and says so', async () => {
  for (const $schema of [DRAFT_07, DRAFT_2019, DRAFT_2020]) {
    const contract = await contractOf({ 'root.json': { $schema, properties: { a: { enum: [] } } } });
    assertValid(contract, {});
    assert.deepEqual(problems(contract, { a: 1 }), [
      { pointer: '/a', message: 'must be one of none: its enum is empty' },
    ]);
  }
});

test('a property __proto__ is described like any other', async () => {
  const text =
    '{"properties":{"__proto__":{"type":"integer"}},"patternProperties":{"^__proto__$":{"minimum":1}},"additionalProperties":false}';
  const contract = await contractOf({ 'root.json': text });
  const value = (json: string): unknown => JSON.parse(json);
  assertValid(contract, {}, value('{"__proto__":1}'));
  assert.deepEqual(problems(contract, value('{"__proto__":"x"}')), [
    { pointer: '/__proto__', message: 'must be integer' },
  ]);
  assertViolated(contract, value('{"__proto__":0}'), { proto: 1 });
});

describe("the drafts' own meta-schemas", () => {
  for (const [$schema, wrong] of [
    [DRAFT_07, { type: 'strin' }],
    [DRAFT_2019, { $defs: { a: { minLength: -1 } } }],
    [DRAFT_2020, { properties: { a: { type: 'strin' } } }],
  ] as const) {
    test(`${$schema} needs no file, and isn't part of the digest`, async () => {
      const contract = await contractOf({ 'root.json': { $schema, properties: { schema: { $ref: $schema } } } });
      assertValid(contract, { schema: { type: 'string' } }, { schema: true });
      assertViolated(contract, { schema: wrong }, { schema: 1 });
      const own = { 'root.json': { $schema, properties: { schema: { $ref: $schema } } } };
      assert.equal(contract.digest, `sha256:${createHash('sha256').update(canonicalize(own)).digest('hex')}`);
    });
  }

  test("can be referenced in part, but only in the contract's draft", async () => {
    const core = await contractOf({
      'root.json': { $ref: 'https://json-schema.org/draft/2020-12/meta/core#/$defs/anchorString' },
    });
    assertValid(core, 'a');
    assertViolated(core, '1');
    const other = contractOf({ 'root.json': { $ref: DRAFT_07 } });
    await assertRefused(other, 'InvalidSchema', 'one draft', DRAFT_07);
    const nowhere = contractOf({ 'root.json': { $ref: 'https://json-schema.org/draft/2020-12/meta/nothing' } });
    await assertRefused(nowhere, 'InvalidSchema', 'Nothing is downloaded');
  });

  test('yield to a file with the same $id', async () => {
    const contract = await contractOf({
      'root.json': { $ref: DRAFT_2020 },
      'mine.json': { $id: DRAFT_2020, const: 1 },
    });
    assertValid(contract, 1);
    assertViolated(contract, {});
  });
});

describe('problems', () => {
  test("name the place and what's allowed there", async () => {
    const contract = await contractOf({
      'root.json': {
        properties: {
          id: true,
          region: { enum: ['eu', 'us', 1] },
          kind: { const: { a: 1 } },
          'a/b~c': { type: ['string', 'null'] },
          list: { items: { pattern: '^x' } },
          price: { multipleOf: 0.01 },
          map: { propertyNames: { maxLength: 2 } },
          never: false,
        },
        required: ['id'],
        additionalProperties: false,
      },
    });
    const value = {
      region: 'x',
      kind: 1,
      'a/b~c': 1,
      list: ['x', 'y'],
      price: 0.001,
      map: { long: 1 },
      never: 1,
      extra: 1,
    };
    assert.deepEqual(
      problems(contract, value)
        .map(({ pointer, message }) => `${pointer}: ${message}`)
        .sort(),
      [
        '/a~1b~0c: must be string or null',
        '/kind: must be {"a":1}',
        '/list/1: must match pattern "^x"',
        '/map: has the property name "long", which is not allowed',
        '/map: property name "long" must NOT have more than 2 characters',
        '/never: is not allowed',
        '/price: must be multiple of 0.01',
        '/region: must be one of "eu", "us", 1',
        ': must have property "id"',
        ': must not have property "extra"',
      ],
    );
    assertValid(contract, { id: 1, price: 19.99 }, { id: 1, price: 4.35 });
  });

  test('are described on one line, at most five of them', () => {
    const many = Array.from({ length: 7 }, (_, index) => ({ pointer: `/${index}`, message: 'must be string' }));
    assert.equal(
      describeProblems(many),
      '/0: must be string; /1: must be string; /2: must be string; /3: must be string; /4: must be string; and 2 more',
    );
    assert.equal(
      describeProblems([
        { pointer: '', message: 'must have property "id"' },
        { pointer: '/a\nb\u2028', message: 'must be null' },
      ]),
      'must have property "id"; /a\\u000ab\\u2028: must be null',
    );
  });

  test('are bounded in number and in length', async () => {
    const contract = await contractOf({
      'root.json': { additionalProperties: false, items: { enum: ['x'.repeat(1000)] } },
    });
    const found = problems(
      contract,
      Array.from({ length: 100_000 }, () => 1),
    );
    assert.ok(found.length > 0 && found.length <= 100);
    const [problem] = problems(contract, { ['k'.repeat(100_000)]: 1 });
    assert.ok((problem?.message ?? '').length < 400);
    assert.ok(describeProblems(found).length < 3000);
  });
});

describe('a hostile value', () => {
  test('that makes a regular expression backtrack is interrupted', async () => {
    const contract = await contractOf({ 'root.json': { items: { pattern: '^(a+)+$' } } }, { checkLimitMs: 100 });
    assert.deepEqual(contract.check([`${'a'.repeat(50)}!`]), { outcome: 'interrupted', afterMs: 100 });
    assertValid(contract, ['aaa']);
    assertViolated(contract, ['b']);
  });

  test('that takes more than a second is interrupted after that second', async () => {
    const contract = await contractOf({ 'root.json': { pattern: '^(a+)+$' } });
    assert.deepEqual(contract.check(`${'a'.repeat(50)}!`), { outcome: 'interrupted', afterMs: 1000 });
  });

  test('of many unique objects is checked in linear time', async () => {
    const contract = await contractOf({ 'root.json': { uniqueItems: true } }, { checkLimitMs: 60_000 });
    const objects = Array.from({ length: 100_000 }, (_, index) => ({ deep: { index } }));
    assertValid(contract, objects);
    assertViolated(contract, [...objects, { deep: { index: 5 } }]);
  });

  test('with members named like inherited JavaScript ones is compared by its own', async () => {
    for (const name of ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']) {
      const [one, same, other] = [`{"${name}":{}}`, `{"${name}":{}}`, `{"${name}":"b"}`].map(
        (it) => JSON.parse(it) as object,
      );
      const unique = await contractOf({ 'root.json': { uniqueItems: true } });
      assertValid(unique, [one, other]);
      assertViolated(unique, [one, same]);
      for (const schema of [`{"const":{"${name}":{}}}`, `{"enum":[1,{"${name}":{}}]}`]) {
        const contract = await contractOf({ 'root.json': schema });
        assertValid(contract, one);
        assertViolated(contract, other);
      }
    }
  });

  test('with no items is still checked against contains', async () => {
    assertViolated(await contractOf({ 'root.json': { prefixItems: [{ not: {} }], contains: {} } }), []);
  });

  test('nested 10,000 levels deep is checked or refused, never an error', async () => {
    const flat = await contractOf({ 'root.json': { type: 'array' } });
    const recursive = await contractOf({ 'root.json': { type: 'array', items: { $ref: '#' } } });
    const constant = await contractOf({ 'root.json': { const: [[[]]] } });
    const unique = await contractOf({ 'root.json': { uniqueItems: true } });
    for (const levels of [10_000, 200_000]) {
      const deep = JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as unknown;
      assertValid(flat, deep);
      assert.notEqual(recursive.check(deep).outcome, 'interrupted');
      assertViolated(constant, deep);
      assert.notEqual(unique.check([deep, deep]).outcome, 'interrupted');
    }
    const tooDeep = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000)) as unknown;
    assert.deepEqual(problems(recursive, tooDeep), [
      { pointer: '', message: 'cannot be checked: it is nested too deeply' },
    ]);
  });

  test('has no inherited properties, such as those of Object.prototype', async () => {
    const contract = await contractOf({
      'root.json': {
        properties: { constructor: { type: 'string' }, toString: { type: 'string' } },
        required: ['hasOwnProperty'],
        additionalProperties: false,
      },
    });
    const value = (text: string): unknown => JSON.parse(text);
    assertViolated(contract, {}, value('{"hasOwnProperty":1}'), value('{"constructor":1}'), value('{"__proto__":1}'));
    const unevaluated = await contractOf({
      'root.json': {
        anyOf: [{ properties: { a: true } }, { patternProperties: { '^b': true } }],
        unevaluatedProperties: false,
      },
    });
    assertValid(unevaluated, { a: 1 }, { b: 1 });
    assertViolated(unevaluated, { c: 1 }, value('{"constructor":1}'), value('{"__proto__":1}'));
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });
});

describe('a hostile schema', () => {
  test("with a name __proto__ that can't be checked is refused", async () => {
    for (const text of ['{"dependentRequired":{"__proto__":["a"]}}', '{"$defs":{"__proto__":{}}}']) {
      await assertRefused(contractOf({ 'root.json': text }), 'InvalidSchema', '"__proto__"');
    }
    assertValid(await contractOf({ 'root.json': '{"__proto__":{"type":"string"}}' }), 1);
  });

  test('nested too deeply is refused', async () => {
    const text = '{"not":'.repeat(20_000) + '{}' + '}'.repeat(20_000);
    await assertRefused(contractOf({ 'root.json': text }), 'InvalidSchema', 'nested too deeply');
  });

  test('that refers only to itself is refused, or accepts nothing', async () => {
    for (const files of [
      { 'root.json': { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } } },
      { 'root.json': { $ref: 'a.json' }, 'a.json': { $ref: 'root.json' } },
      { 'root.json': { $dynamicRef: '#x', $dynamicAnchor: 'x' } },
    ])
      await assertRefused(contractOf(files), 'InvalidSchema', /root\.json" at \/\$\w*[rR]ef leads to itself/);
    assertViolated(await contractOf({ 'root.json': { allOf: [{ $ref: '#' }] } }), 1);
  });

  test('with code in its names and texts stays plain text', async () => {
    const code = '`${globalThis.polluted=1}`"];globalThis.polluted=1;//\n\u2028';
    const contract = await contractOf({
      'root.json': { title: code, properties: { [code]: { const: code } }, required: [code], $defs: { [code]: true } },
    });
    assertValid(contract, { [code]: code });
    assertViolated(contract, { [code]: 1 }, {});
    assert.equal((globalThis as Record<string, unknown>)['polluted'], undefined);
  });
});

test('nothing is written to the console', async (t) => {
  const written: string[] = [];
  for (const name of ['log', 'warn', 'error', 'info'] as const) {
    t.mock.method(console, name, (...texts: unknown[]) => void written.push(texts.join(' ')));
  }
  const contract = await contractOf({
    'root.json': {
      'x-a': 1,
      properties: { a: { minimum: 1, pattern: 'x' } },
      required: ['b'],
      items: { type: ['string', 'null'] },
    },
  });
  contract.check({ a: 0 });
  await contractOf({ 'root.json': { format: 'unheard-of' } });
  assert.deepEqual(written, []);
});

describe('numbers that JavaScript rounds are judged by their digits', async () => {
  const [id, next] = ['9007199254740993', '9007199254740992'];
  for (const [schema, valid, violated] of [
    [`{"const":${next}}`, [next, '9007199254740992.0', '900719925474099200e-2'], [id]],
    [`{"const":${id}}`, [id], [next, '9007199254740994']],
    ['{"const":1e16}', ['1e16', '10000000000000000'], ['10000000000000001']],
    [`{"const":{"a":[${id},{"b":1,"c":2}]}}`, [`{"a":[${id},{"c":2,"b":1}]}`], [`{"a":[${next},{"b":1,"c":2}]}`]],
    ['{"enum":[9007199254740991,9007199254740992,9007199254740994]}', ['9007199254740994', next], [id]],
    ['{"anyOf":[{"maximum":9007199254740992},{"minimum":9007199254740994}]}', [next, '9007199254740994'], [id]],
    [`{"maximum":${next}}`, [next, '1', '-1e30'], [id, `${id}.0`, '900719925474099300e-2', '1e400']],
    [`{"exclusiveMinimum":${next}}`, [id, '1e400'], [next, '0.5']],
    ['{"maximum":9223372036854775807}', ['9223372036854775807'], ['9223372036854775808']],
    ['{"multipleOf":2}', ['18014398509481984', '1e400'], ['18014398509481985', '-18014398509481985']],
    ['{"multipleOf":5}', ['36028797018963965'], ['36028797018963969']],
    ['{"multipleOf":3}', [id, '9007199254740990'], ['9007199254740994']],
    ['{"multipleOf":0.01}', ['19.99', '4.35', id, '0', '-0.07'], ['0.001', '19.995']],
    ['{"multipleOf":1e-8}', ['12391239123', '0.00000001'], ['1.5e-8']],
    ['{"multipleOf":0.123456789}', ['0.123456789'], ['1e308']],
    ['{"multipleOf":1.5e-300}', ['3e-300', '3'], ['1e-300']],
    ['{"contains":{"multipleOf":2}}', [`[${id},4]`], ['[18014398509481985]']],
    ['{"uniqueItems":true}', [`[${id},${next}]`, '[1234567890123456789,1234567890123456790]'], [`[${id},1,${id}]`]],
    ['{"uniqueItems":true}', [`[{"a":${id}},{"a":${next}}]`], [`[{"a":${id},"b":1},{"b":1,"a":${id}}]`]],
    ['{"not":{"uniqueItems":true}}', [`[${id},${id}]`], [`[${id},${next}]`]],
    [`{"propertyNames":{"enum":["x"]},"properties":{"x":{"propertyNames":{"const":"x"}}}}`, [`{"x":{"x":${id}}}`], []],
    [`{"properties":{"a":{"$ref":"#/$defs/id"}},"$defs":{"id":{"const":${id}}}}`, [`{"a":${id}}`], [`{"a":${next}}`]],
    [`{"additionalProperties":{"const":${id}}}`, [`{"b":${id}}`], [`{"b":${next}}`]],
    [
      '{"type":"integer","minimum":0}',
      [id, '1e400', '1.0'],
      ['9007199254740993.5', '4503599627370497.5', '1e999999999'],
    ],
  ] as const) {
    test(schema, async () => {
      const contract = await contractOf({ 'root.json': schema });
      const verdict = (text: string) =>
        contract.check(JSON.parse(text), undefined, () => parseLargeIntegers(text)).outcome;
      for (const text of valid) assert.equal(verdict(text), 'valid', text);
      for (const text of violated) assert.equal(verdict(text), 'violated', text);
    });
  }

  test('problems with them are described as usual', async () => {
    const schema = '{"properties":{"a":{"maximum":9},"b":{"const":5},"c":{"uniqueItems":true},"d":{"multipleOf":2}}}';
    const text = `{"a":${id},"b":${id},"c":[${id},${id}],"d":${id}}`;
    const contract = await contractOf({ 'root.json': schema });
    const result = contract.check(JSON.parse(text), undefined, () => parseLargeIntegers(text));
    assert.ok(result.outcome === 'violated');
    assert.equal(
      describeProblems(result.problems),
      '/a: must be <= 9; /b: must be 5; /c: must NOT have duplicate items; /d: must be multiple of 2',
    );
  });
});
