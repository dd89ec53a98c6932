import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SilenceAlarm } from '../../../../bridge/hooks/silence.ts';
import { MemoryLog } from '../../../support/bridge/memoryNats.ts';

const DAY_MS = 86_400_000;

test('a long silence raises one alarm, which ends with the next hook', async () => {
  const log = new MemoryLog();
  let now = 1_000 * DAY_MS;
  let last: number | undefined = now - DAY_MS / 2;
  const alarm = new SilenceAlarm({ after: DAY_MS, lastStored: () => Promise.resolve(last), now: () => now, log });
  await alarm.check();
  assert.deepEqual(log.lines, []);
  now += DAY_MS;
  await alarm.check();
  await alarm.check();
  assert.equal(log.lines.length, 1);
  assert.match(log.lines[0]!, /^warning No service hook has come for 36h\. Check under Service hooks/);
  last = now;
  await alarm.check();
  assert.equal(log.lines[1], 'info Service hooks are arriving again.');
});

test('with an empty stream, silence counts from the start of the bridge', async () => {
  const log = new MemoryLog();
  let now = 1_000 * DAY_MS;
  const alarm = new SilenceAlarm({ after: DAY_MS, lastStored: () => Promise.resolve(undefined), now: () => now, log });
  now += DAY_MS;
  await alarm.check();
  assert.deepEqual(log.lines, []);
  now += 1;
  await alarm.check();
  assert.equal(log.lines.length, 1);
});

test('a stream that does not answer is reported, but raises no alarm', async () => {
  const log = new MemoryLog();
  const lastStored = () => Promise.reject(new Error('it is away'));
  const alarm = new SilenceAlarm({ after: 1, lastStored, now: () => 0, log });
  await alarm.check();
  assert.equal(log.lines.length, 1);
  assert.match(log.lines[0]!, /Can't tell .*: it is away/);
});
