import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import { Gate } from '../../../../bridge/azureDevOps/gate.ts';
import { Pace } from '../../../../bridge/runs/pace.ts';

function gateOf(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const pauses: number[] = [];
  const news: string[] = [];
  let opened = 0;
  const gate = new Gate({
    ...{ firstPause: 1_000, longestPause: 60_000, now: Date.now },
    onPause: (reason, ms, isNews) => {
      pauses.push(ms);
      if (isNews) news.push(reason);
    },
    onOpen: () => {
      opened++;
    },
    onRecovery: () => void news.push('recovered'),
  });
  return { gate, pauses, news, opened: () => opened };
}

test('each failure after a pause doubles the next pause, up to a minute; a success resets it', (t) => {
  const { gate, pauses } = gateOf(t);
  for (let trouble = 0; trouble < 10; trouble++) {
    gate.trouble('503', Date.now());
    t.mock.timers.tick(pauses.at(-1)!);
    assert.equal(gate.isOpen, true);
  }
  const bases = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60].map((seconds) => seconds * 1_000);
  for (const [index, base] of bases.entries())
    assert.ok(pauses[index]! >= base && pauses[index]! <= 1.2 * base + 1, pauses.join());
  gate.success();
  gate.trouble('503', Date.now());
  assert.ok(pauses.at(-1)! <= 1_201);
});

test('calls that fail together count once, and the longest pause they were asked for holds', (t) => {
  const { gate, pauses } = gateOf(t);
  const began = Date.now();
  gate.trouble('429', began, 5_000);
  gate.trouble('429', began, 30_000);
  gate.trouble('429', began, 2_000);
  assert.deepEqual(pauses, [5_000, 30_000]);
  t.mock.timers.tick(29_999);
  assert.equal(gate.isOpen, false);
  t.mock.timers.tick(1);
  assert.equal(gate.isOpen, true);
});

test('callers wait until it opens, and fail when the bridge stops', async (t) => {
  const { gate, opened } = gateOf(t);
  gate.success(1_000);
  const stopping = new AbortController();
  const waits = gate.open(new AbortController().signal);
  const stopped = assert.rejects(gate.open(stopping.signal), /the end/);
  stopping.abort(new Error('the end'));
  await stopped;
  t.mock.timers.tick(1_000);
  await waits;
  assert.equal(opened(), 1);
});

test('trouble is reported when it begins, rarely while it lasts, and when it is over', (t) => {
  const { gate, pauses, news } = gateOf(t);
  const fails = () => {
    gate.trouble('status 401', Date.now());
    t.mock.timers.tick(pauses.at(-1)!);
  };
  for (let call = 0; call < 5; call++) fails();
  assert.deepEqual(news, ['status 401']);
  const began = Date.now();
  // Ten minutes and the longest pause: only after a pause can a call fail.
  while (Date.now() - began < 600_000 + 72_000) fails();
  assert.deepEqual(news, ['status 401', 'status 401']);
  const underWay = Date.now();
  gate.trouble('status 429', underWay, 5_000);
  gate.success();
  t.mock.timers.tick(60_000 * 1.2 + 1);
  assert.deepEqual(news.slice(2), []);
  gate.success();
  gate.success();
  assert.deepEqual(news.slice(2), ['recovered']);
  // A call that succeeds but is asked to pause: once that's over, all is well.
  gate.success(3_000);
  assert.deepEqual(news.slice(3), ['Azure DevOps asks for a pause']);
  t.mock.timers.tick(3_000);
  assert.deepEqual(news.slice(4), ['recovered']);
});

test('no more calls than the limit pass in any minute', () => {
  let now = 0;
  const pace = new Pace(2, 60_000, () => now);
  assert.deepEqual([pace.take(), pace.take(), pace.take()], [0, 0, 60_000]);
  now = 59_999;
  assert.equal(pace.take(), 1);
  now = 60_000;
  assert.deepEqual([pace.take(), pace.take(), pace.take()], [0, 0, 60_000]);
  mock.reset();
});
