import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifecycle } from '../../../bridge/lifecycle.ts';
import { EventLog } from '../../../bridge/log.ts';

function newLifecycle() {
  const lines: string[] = [];
  return { lines, lifecycle: new Lifecycle(new EventLog((line) => lines.push(line), Date.now)) };
}

test("the part opened last ends first, and one that fails doesn't stop the others from ending", async () => {
  const { lifecycle, lines } = newLifecycle();
  const ended: string[] = [];
  for (const name of ['admin', 'public', 'nats', 'functions'])
    lifecycle.opened(name, async () => {
      ended.push(name);
      if (name === 'nats') throw new Error('it is gone');
    });
  await lifecycle.end(1_000);
  assert.deepEqual(ended, ['functions', 'nats', 'public', 'admin']);
  assert.match(lines.join(''), /"event":"endFailed","part":"nats","reason":"it is gone"/);
  await lifecycle.end(1_000);
  assert.equal(ended.length, 4);
});

test('the bridge stops once, and says why', async () => {
  const { lifecycle, lines } = newLifecycle();
  assert.equal(lifecycle.isStopping(), false);
  lifecycle.stop('SIGTERM');
  lifecycle.stop('SIGINT');
  assert.equal(lifecycle.stopping.aborted, true);
  assert.equal(lifecycle.isStopping(), true);
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { reason: string }).reason),
    ['SIGTERM'],
  );
});

test('work in progress gets a signal when its time is over', async () => {
  const { lifecycle } = newLifecycle();
  let heard = false;
  lifecycle.opened('work', async (drained) => {
    await new Promise<void>((resolve) => drained.addEventListener('abort', () => resolve(), { once: true }));
    heard = true;
  });
  // The signal's timer alone doesn't keep the process alive.
  const alive = setInterval(() => {}, 1_000);
  await lifecycle.end(50);
  clearInterval(alive);
  assert.equal(heard, true);
});
