import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERROR_CODES } from '../../../shared/errors.ts';
import { ajv, problemsOfReceipt, RECEIPT_SCHEMAS, type Json } from '../../support/agent/receipts.ts';
import { jsonFile, publish, Scenario, wait } from '../../support/agent/scenario.ts';

// That receipts fit their schemas, every step of every test looks: `publish` and `wait` of the scenario do.
describe('The schema of a receipt', { concurrency: 2 }, () => {
  const scene = Scenario.shared();

  for (const [task, run] of [
    ['publish', publish],
    ['wait', wait],
  ] as const) {
    it(`of ${task} allows no other members, and lists every error code`, async () => {
      const stream = await scene.stream();
      await stream.put('built', { n: 1 });
      const step = await run(scene.agent(), {
        subject: stream.subject('built'),
        ...(task === 'publish' && { payload: '{}' }),
      });
      const receipt = jsonFile(step, 'receiptFile');
      const objects = objectsIn(receipt);
      assert.ok(objects.length >= 6, 'too few objects: expected the receipt and its parts');
      for (const object of objects) {
        object['payload'] = 'x';
        assert.notEqual(problemsOfReceipt(receipt, task), null, JSON.stringify(object));
        delete object['payload'];
      }
      assert.equal(problemsOfReceipt(receipt, task), null);
      assert.equal(await ajv.validateSchema(RECEIPT_SCHEMAS[task]), true, ajv.errorsText());
      const { errorCode } = RECEIPT_SCHEMAS[task]['$defs'] as { errorCode: Json };
      assert.deepEqual(errorCode, { enum: [...ERROR_CODES] });
    });
  }
});

/** A value's objects, itself included. */
function objectsIn(value: unknown): Json[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.values(value).flatMap(objectsIn);
  return Array.isArray(value) ? inner : [value as Json, ...inner];
}
