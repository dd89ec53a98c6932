import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rest } from '../../../../bridge/waits/turn.ts';

test('long work is followed by an equally long rest', async () => {
  let now = 0;
  const pauses: number[] = [];
  const pause = (ms: number) => {
    pauses.push(ms);
    now += ms;
    return Promise.resolve();
  };
  const rest = new Rest({ now: () => now, pause }, new AbortController().signal);
  const work = async (ms: number) => {
    await rest.over();
    now += ms;
    rest.worked(ms);
  };
  // Pieces too short for a rest are added up.
  await work(4);
  await work(4);
  await work(4);
  await work(300);
  await work(1);
  assert.deepEqual(pauses, [12, 300]);
});
