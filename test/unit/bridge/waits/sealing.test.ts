import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { bucketKey, type WaitRecord } from '../../../../bridge/waits/record.ts';
import { keyIdOf, seal, unseal } from '../../../../bridge/waits/sealing.ts';
import { JOB_TOKEN, WAIT_KEY } from '../../../support/bridge/waitsReceiver.ts';

const [ONE, OTHER] = [randomBytes(32), randomBytes(32)];
const RECORD = {
  key: WAIT_KEY,
  planUrl: 'https://dev.azure.com/contoso/',
  state: { state: 'tombstone', at: 7, call: { token: JOB_TOKEN } },
} as unknown as WaitRecord;
const PLACE = bucketKey(WAIT_KEY);

/** A sealed record with one member changed. */
function altered(member: string, value: unknown): Uint8Array {
  const record = JSON.parse(Buffer.from(seal(RECORD, [ONE])).toString()) as object;
  return Buffer.from(JSON.stringify({ ...record, [member]: value }));
}

describe('A sealed record', () => {
  test('opens with its key, wherever that is in the list', () => {
    const sealed = seal(RECORD, [ONE, OTHER]);
    assert.deepEqual(unseal(PLACE, sealed, [ONE]), RECORD);
    assert.deepEqual(unseal(PLACE, sealed, [OTHER, ONE]), RECORD);
    assert.equal(unseal(PLACE, sealed, [OTHER]), undefined);
    assert.equal(unseal(PLACE, sealed, []), undefined);
  });

  test('shows whose it is, but neither token nor state, and is different each time', () => {
    const [text, again] = [seal(RECORD, [ONE]), seal(RECORD, [ONE])].map((bytes) => Buffer.from(bytes).toString());
    const { v, key, planUrl, kid } = JSON.parse(text!) as Record<string, unknown>;
    assert.deepEqual([v, key, planUrl, kid], [1, WAIT_KEY, RECORD.planUrl, keyIdOf(ONE)]);
    assert.ok(!text!.includes('tombstone') && !text!.includes('canary'));
    assert.notEqual(text, again);
  });

  test('does not open if any member has changed', () => {
    const { planUrl } = RECORD;
    assert.equal(unseal(PLACE, altered('planUrl', `${planUrl}x`), [ONE]), undefined);
    assert.equal(unseal(PLACE, altered('kid', keyIdOf(OTHER)), [ONE, OTHER]), undefined);
    assert.equal(unseal(PLACE, altered('v', 2), [ONE]), undefined);
    assert.equal(unseal(PLACE, altered('iv', Buffer.alloc(12).toString('base64')), [ONE]), undefined);
    const moved = { ...WAIT_KEY, job: WAIT_KEY.plan };
    assert.equal(unseal(PLACE, altered('key', moved), [ONE]), undefined, 'a record was opened at another place');
    assert.equal(
      unseal(bucketKey(moved), altered('key', moved), [ONE]),
      undefined,
      'a record sealed for another place was opened',
    );
    assert.equal(unseal(bucketKey(moved), seal(RECORD, [ONE]), [ONE]), undefined, 'a copied record was opened');
    assert.deepEqual(unseal(PLACE, altered('planUrl', planUrl), [ONE]), RECORD, 'the record did not survive sealing');
  });

  test('does not open if any byte has changed', () => {
    const { sealed } = JSON.parse(Buffer.from(seal(RECORD, [ONE])).toString()) as { sealed: string };
    const bytes = Buffer.from(sealed, 'base64');
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index]! ^= 1;
      assert.equal(unseal(PLACE, altered('sealed', changed.toString('base64')), [ONE]), undefined);
    }
    assert.equal(unseal(PLACE, altered('sealed', bytes.subarray(0, 10).toString('base64')), [ONE]), undefined);
  });

  test('refuses a text that is no sealed record', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        assert.equal(unseal(PLACE, Buffer.from(text), [ONE]), undefined);
      }),
    );
  });
});
