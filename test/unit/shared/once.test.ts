import assert from 'node:assert/strict';
import { test } from 'node:test';
import { once } from '../../../shared/once.ts';

test('runs a function only on the first call, even if it returns undefined', () => {
  let runs = 0;
  const value = once((): string | undefined => {
    runs += 1;
    return undefined;
  });
  assert.equal(runs, 0);
  assert.deepEqual([value(), value()], [undefined, undefined]);
  assert.equal(runs, 1);
});
