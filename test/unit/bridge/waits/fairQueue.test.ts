import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from '../../../../bridge/waits/fairQueue.ts';

test("owners take turns, and each one's items stay in order", () => {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.push(item.charAt(0), item);
  const taken: (string | undefined)[] = [queue.shift(), queue.shift()];
  queue.push('b', 'b2');
  for (let count = 0; count < 6; count++) taken.push(queue.shift());
  assert.deepEqual(taken, ['a1', 'b1', 'c1', 'a2', 'b2', 'c2', 'a3', undefined]);
});
