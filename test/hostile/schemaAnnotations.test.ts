import '@hyperjump/json-schema/draft-2019-09';
import { registerSchema, unregisterSchema, validate, type SchemaObject } from '@hyperjump/json-schema/draft-2020-12';
import type { Json } from '@hyperjump/json-pointer';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { META_SCHEMAS } from '../../shared/contract/drafts.ts';
import { loadContract } from '../../shared/contract/load.ts';
import { annotatingSchema, smallValue, type AnnotatingDraft } from '../support/hostile/annotatingSchemas.ts';
import { cases, SEED } from '../support/hostile/hostile.ts';
import { temporaryFolder } from '../../localAgent/index.ts';

const SCHEMAS = cases({ short: 80, long: 4_000 });
const VALUES = 10;
/** Schemas per contract, because loading a contract takes much longer than each schema. */
const TOGETHER = 50;
const ADDRESS = 'https://reference.example/schema';

/** The verdicts of another validator, which keeps annotations as the specification says. */
async function expectedOf(schema: object, values: readonly unknown[]): Promise<boolean[]> {
  registerSchema(schema as SchemaObject, ADDRESS);
  try {
    const judge = await validate(ADDRESS);
    return values.map((value) => judge(value as Json).valid);
  } finally {
    unregisterSchema(ADDRESS);
  }
}

for (const draft of ['2019-09', '2020-12'] satisfies AnnotatingDraft[]) {
  it(`${draft}: a second validator agrees about the keywords that depend on what others evaluate`, async () => {
    const $schema = META_SCHEMAS[draft];
    const schemas = fc
      .sample(annotatingSchema(draft), { seed: SEED, numRuns: SCHEMAS })
      .map((schema) => ({ $schema, ...schema }));
    const values = fc.sample(smallValue, { seed: SEED, numRuns: SCHEMAS * VALUES });
    let valid = 0;
    for (let first = 0; first < SCHEMAS; first += TOGETHER) {
      const some = schemas.slice(first, first + TOGETHER);
      const folder = temporaryFolder('annotations-');
      for (const [index, schema] of some.entries())
        writeFileSync(path.join(folder, `${index}.json`), JSON.stringify(schema));
      const properties = Object.fromEntries(some.map((_, index) => [String(index), { $ref: `${index}.json` }]));
      writeFileSync(path.join(folder, 'root.json'), JSON.stringify({ $schema, properties }));
      const contract = await loadContract(path.join(folder, 'root.json'));
      for (const [index, schema] of some.entries()) {
        const own = values.slice((first + index) * VALUES, (first + index + 1) * VALUES);
        const expected = await expectedOf(schema, own);
        for (const [number, value] of own.entries()) {
          const wanted = expected[number] === true ? 'valid' : 'violated';
          // Without a time limit, so that a busy machine doesn't change the verdict.
          const { outcome } = contract.checkUnlimited({ [index]: value });
          assert.equal(outcome, wanted, JSON.stringify({ schema, value }));
          if (wanted === 'valid') valid++;
        }
      }
    }
    // Both verdicts have to be frequent, otherwise most cases prove nothing.
    const share = valid / (SCHEMAS * VALUES);
    assert.ok(share > 0.2 && share < 0.8, String(share));
  });
}
