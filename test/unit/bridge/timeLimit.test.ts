import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { describe, test } from 'node:test';
import { TimeLimit } from '../../../bridge/timeLimit.ts';

const LONG_MS = 60_000;

describe('A time limit', () => {
  test('aborts with its reason once the time is over', async () => {
    const limit = new TimeLimit(1, undefined, () => new RangeError('late'));
    // The limit's own timer doesn't keep the process alive.
    const alive = setTimeout(() => {}, LONG_MS);
    await once(limit.signal, 'abort');
    clearTimeout(alive);
    assert.deepEqual([limit.isOver, limit.signal.reason], [true, new RangeError('late')]);
  });

  test('aborts with an outer signal, even one that aborted earlier', () => {
    const outer = new AbortController();
    const before = new TimeLimit(LONG_MS, outer.signal);
    outer.abort('over');
    const after = new TimeLimit(LONG_MS, outer.signal);
    for (const { signal, isOver } of [before, after]) assert.deepEqual([signal.reason, isOver], ['over', false]);
    before.end();
    after.end();
  });

  test('leaves no listener on a signal that outlives it', () => {
    const outer = new AbortController();
    for (let count = 0; count < 100; count++) new TimeLimit(LONG_MS, outer.signal).end();
    assert.equal(getEventListeners(outer.signal, 'abort').length, 0);
    const ended = new TimeLimit(LONG_MS, outer.signal);
    ended.end();
    outer.abort();
    assert.equal(ended.signal.aborted, false);
  });
});
