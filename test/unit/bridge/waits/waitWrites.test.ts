import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OpenWait } from '../../../../bridge/waits/openWait.ts';
import type { WaitEnding, WaitState } from '../../../../bridge/waits/record.ts';
import { WaitWrites } from '../../../../bridge/waits/waitWrites.ts';
import { WAIT_KEY } from '../../../support/bridge/waitsReceiver.ts';

const MANY = 1_200;
const ENDING = { verdict: 'matched', reason: '' } as unknown as WaitEnding;

/** A bucket of waits that responds when the test lets it. */
class SlowStore {
  readonly asked: string[] = [];
  readonly #answers: (() => void)[] = [];
  isOpen = false;

  readonly store = {
    at: async (place: string) => {
      this.asked.push(place);
      if (!this.isOpen) await new Promise<void>((resolve) => this.#answers.push(resolve));
      const state = { state: 'waiting', call: {} } as WaitState;
      return { record: { key: WAIT_KEY, planUrl: '', state }, revision: 1 };
    },
    update: () => Promise.resolve(2),
  };

  open(): void {
    this.isOpen = true;
    for (const answer of this.#answers.splice(0)) answer();
  }
}

function setUp() {
  const slow = new SlowStore();
  const stop = new AbortController();
  const decided: OpenWait[] = [];
  const writes = new WaitWrites(
    {
      ...{ store: slow.store, now: Date.now, retryMs: 1, pause: () => Promise.resolve() },
      onDecided: (wait) => decided.push(wait),
      onTrouble: (error) => assert.fail(String(error)),
    },
    stop.signal,
  );
  const end = (number: number) =>
    writes.ended({ known: { place: `wait.${number}` }, stop: () => {} } as unknown as OpenWait, ENDING, number);
  return { slow, stop, decided, writes, end };
}

/** Whether the work has settled once everything without timers is done. */
async function settled(work: Promise<void>): Promise<boolean> {
  let isSettled = false;
  void work.then(() => (isSettled = true));
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  return isSettled;
}

describe('A decision', () => {
  test('is written for at most 64 waits at once', async () => {
    const { slow, decided, writes, end } = setUp();
    for (let number = 1; number <= MANY; number++) end(number);
    assert.equal(slow.asked.length, 64);
    assert.equal(writes.lowest, 1);
    slow.open();
    assert.ok(await settled(writes.room()));
    while (!writes.isEmpty) await new Promise((resolve) => setImmediate(resolve));
    // Each took one read and one write.
    assert.deepEqual([slow.asked.length, decided.length, writes.lowest], [MANY, MANY, Infinity]);
  });

  test('holds up the reader if a thousand are unwritten', async () => {
    const { slow, stop, writes, end } = setUp();
    for (let number = 1; number < 1_000; number++) end(number);
    assert.ok(await settled(writes.room()));
    end(1_000);
    const room = writes.room();
    assert.equal(await settled(room), false);
    slow.open();
    await room;

    const other = setUp();
    for (let number = 1; number <= 1_000; number++) other.end(number);
    const held = other.writes.room();
    assert.equal(await settled(held), false);
    other.stop.abort();
    await held;
    assert.equal(stop.signal.aborted, false);
  });
});
