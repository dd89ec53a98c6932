import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHasCallout } from '../../../../bridge/jetStream/serverVersion.ts';

test('a callout on a server before 2.10, which would never call it, is an error', async () => {
  const of = (version: string) => checkHasCallout({ serverVersion: async () => version });
  const finding = await of('2.9.10');
  assert.deepEqual([finding?.level, finding?.about], ['error', 'callout']);
  assert.match(finding?.problem ?? '', /^nats-server 2\.9\.10 has no auth callout/);
  for (const version of ['2.10.0', '2.10.27', '2.15.1', '3.0.0']) assert.equal(await of(version), undefined);
  // Another check reports that NATS can't be reached.
  assert.equal(await checkHasCallout({ serverVersion: () => Promise.reject(new Error('no link')) }), undefined);
});
