import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance } from '../../../../bridge/waits/allowance.ts';

/** An allowance after using this share of the time for `ms`, in pieces of 10 ms. */
function used(share: number, ms: number): Allowance {
  const allowance = new Allowance(0);
  for (let now = 10; now <= ms; now += 10) allowance.spend(10 * share, now);
  return allowance;
}

test('a quarter of the time may be used forever, but half of it for less than two seconds', () => {
  assert.equal(used(0.25, 600_000).isUsedUp, false);
  assert.equal(used(0.5, 1_000).isUsedUp, false);
  assert.equal(used(0.5, 2_000).isUsedUp, true);
});

test('any overuse, however large, is made up for within about two seconds', () => {
  const allowance = used(1, 60_000);
  assert.equal(allowance.isUsedUp, true);
  assert.equal(allowance.isWhole(61_000), false);
  assert.equal(allowance.isWhole(62_001), true);
});
