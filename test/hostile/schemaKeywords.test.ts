import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { Contract } from '../../shared/contract/contract.ts';
import { loadContract } from '../../shared/contract/load.ts';
import { META_SCHEMAS, type Draft } from '../../shared/contract/drafts.ts';
import { family } from '../support/hostile/hostile.ts';
import { KEYWORD_CASES, type KeywordCase } from '../support/hostile/keywordCases.ts';
import { temporaryFolder } from '../../localAgent/index.ts';

const { tried } = family('Schemas: keywords');
const DRAFTS = Object.keys(META_SCHEMAS) as Draft[];

/** A place for a schema, and the value that brings a value there: the verdict stays what it is. */
interface Place {
  readonly around: (schema: unknown) => unknown;
  readonly value?: (value: unknown) => unknown;
  /** Whether references inside the schema still mean the same. */
  readonly keepsRoot?: true;
}

const PLACES: Readonly<Record<string, Place>> = {
  'a file of its own': { around: (schema) => schema, keepsRoot: true },
  'a resource of its own': {
    around: (schema) => (typeof schema === 'object' ? { $id: 'https://x.example/part.json', ...schema } : schema),
    keepsRoot: true,
  },
  anyOf: { around: (schema) => ({ anyOf: [false, schema] }) },
  'not, twice': { around: (schema) => ({ not: { not: schema } }) },
  properties: { around: (schema) => ({ properties: { p: schema } }), value: (p) => ({ p }) },
  items: { around: (schema) => ({ items: schema }), value: (item) => [item, item] },
};

/** One contract of a draft with a file for each case, in that place. */
async function contractOf(draft: Draft, place: Place, cases: readonly KeywordCase[]): Promise<Contract> {
  const folder = temporaryFolder('keywords-');
  mkdirSync(folder, { recursive: true });
  cases.forEach(([, schema], index) => {
    const file = { $schema: META_SCHEMAS[draft], ...(place.around(schema) as object) };
    const text = JSON.stringify(file).replaceAll('x.example/', `x.example/${index}/`);
    writeFileSync(path.join(folder, `${index}.json`), text);
  });
  const properties = Object.fromEntries(cases.map((_, index) => [String(index), { $ref: idOf(cases, index, place) }]));
  writeFileSync(path.join(folder, 'root.json'), JSON.stringify({ $schema: META_SCHEMAS[draft], properties }));
  return loadContract(path.join(folder, 'root.json'));
}

/** A file is known by its name beside the root, unless it has an `$id`. */
function idOf(cases: readonly KeywordCase[], index: number, place: Place): string {
  const around = place.around(cases[index]?.[1]) as { readonly $id?: string };
  return around.$id?.replace('x.example/', `x.example/${index}/`) ?? `${index}.json`;
}

function casesOf(draft: Draft, cases = KEYWORD_CASES): KeywordCase[] {
  return cases.filter(([, , , , drafts]) => drafts?.includes(draft) ?? true);
}

async function assertVerdicts(draft: Draft, place: Place, cases: readonly KeywordCase[]): Promise<void> {
  const contract = await contractOf(draft, place, cases);
  for (const [index, [, schema, valid, invalid]] of cases.entries()) {
    for (const value of [...valid, ...invalid]) {
      const outcome = valid.includes(value) ? 'valid' : 'violated';
      const given = { [index]: place.value?.(value) ?? value };
      assert.equal(contract.check(given).outcome, outcome, JSON.stringify({ schema, value }));
      tried();
    }
  }
}

describe('Each keyword accepts and refuses what JSON Schema says, wherever it stands:', () => {
  for (const draft of DRAFTS) {
    for (const [name, place] of Object.entries(PLACES)) {
      it(`${draft}, in ${name}`, () => {
        const isMovable = ([, schema]: KeywordCase): boolean => !/"\$(?!comment|defs)/.test(JSON.stringify(schema));
        return assertVerdicts(draft, place, casesOf(draft).filter(place.keepsRoot ? () => true : isMovable));
      });
    }

    it(`${draft}: no keyword is without a case`, () => {
      const tested = new Set(casesOf(draft).map(([keyword]) => keyword));
      assert.deepEqual(
        keywordsOf(draft).filter((keyword) => !tested.has(keyword)),
        [],
      );
      // Otherwise a keyword that checks something could be listed as one that says something only.
      assert.equal(KEYWORD_CASES.filter(([, , , invalid]) => invalid.length === 0).length, 14);
    });
  }
});

/** `$schema` and `$vocabulary` tell about the schema; the others are left over from older drafts. */
const NOT_CHECKED = /^(\$schema|\$vocabulary)$/;
const LEFT_OVER = /^(definitions|dependencies|\$recursiveAnchor|\$recursiveRef)$/;

/** The keywords that the meta-schema of a draft describes. */
function keywordsOf(draft: Draft): string[] {
  const require = createRequire(import.meta.url);
  if (draft === 'draft-07') {
    const { properties } = require('ajv/dist/refs/json-schema-draft-07.json') as { properties: object };
    return Object.keys(properties).filter((name) => !NOT_CHECKED.test(name));
  }
  const parts = ['core', 'applicator', 'validation', 'meta-data', 'content'];
  const names = [...parts, ...(draft === '2019-09' ? ['format'] : ['unevaluated', 'format-annotation'])].flatMap(
    (part) => {
      const { properties } = require(`ajv/dist/refs/json-schema-${draft}/meta/${part}.json`) as { properties: object };
      return Object.keys(properties);
    },
  );
  return names.filter((name) => !NOT_CHECKED.test(name) && (draft === '2019-09' || !LEFT_OVER.test(name)));
}
