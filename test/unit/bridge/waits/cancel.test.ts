import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TOMBSTONE_MS } from '../../../../bridge/waits/accept.ts';
import type { WaitState } from '../../../../bridge/waits/record.ts';
import { messageIn, STORED_KEY, taskHeaders, WaitsReceiver } from '../../../support/bridge/waitsReceiver.ts';

const DONE = { status: 200, body: { key: STORED_KEY } };

describe('POST /v1/waits/cancel', () => {
  test('ends a wait, which keeps its counts and gets the newest token', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute({ distinctBy: 'data.region', expect: 'eu\nus' });
    const counts = { seen: 4, matched: 1 };
    await receiver.put(
      (state) => ({ ...state, progress: { sequence: 44, keys: ['eu'], counts } }) as unknown as WaitState,
    );
    receiver.now += 1_000;
    assert.deepEqual(await receiver.cancel(taskHeaders({ 'x-job-token': 'newer', 'x-run-start': undefined })), DONE);
    const state = await receiver.state();
    assert.ok(state?.state === 'decided');
    assert.deepEqual([state.call.token, state.decidedAt], ['newer', receiver.now]);
    const reason = 'The task was cancelled before its wait was over';
    assert.deepEqual(state.ending, {
      verdict: 'cancelled',
      reason,
      counts,
      missing: ['us'],
      outputs: {},
      code: 'Cancelled',
    });
    assert.deepEqual(receiver.counted, ['accepted', 'cancelled']);
    assert.deepEqual(
      receiver.decisions.map(({ name, decision }) => `${name} ${decision}`),
      ['rule-0 accepted', 'rule-0 cancelled'],
    );
  });

  test('leaves a decided wait alone, and answers 200', async () => {
    const receiver = new WaitsReceiver();
    await receiver.execute({ count: '3' });
    await receiver.cancel();
    const decided = await receiver.state();
    assert.equal(decided?.state === 'decided' && decided.ending.missing, 3);
    receiver.now += 1_000;
    assert.deepEqual(await receiver.cancel(), DONE);
    assert.deepEqual(await receiver.state(), decided);
  });

  test('that comes before its wait ends the wait when it comes', async () => {
    const receiver = new WaitsReceiver();
    assert.deepEqual(await receiver.cancel(), DONE);
    assert.deepEqual(await receiver.state(), { state: 'tombstone', at: receiver.now });
    receiver.now += TOMBSTONE_MS - 1;
    assert.deepEqual(await receiver.execute(), DONE);
    const state = await receiver.state();
    assert.equal(state?.state === 'decided' && state.ending.verdict, 'cancelled');
    assert.deepEqual(receiver.counted, ['tombstone', 'cancelled']);
    assert.deepEqual(await receiver.execute(), DONE, 'the second cancel had another result');
  });

  test('that comes an hour before its wait is forgotten', async () => {
    const receiver = new WaitsReceiver();
    await receiver.cancel();
    receiver.now += TOMBSTONE_MS;
    assert.deepEqual(await receiver.execute(), DONE);
    assert.equal((await receiver.state())?.state, 'waiting');
  });

  test('that is repeated starts the hour again', async () => {
    const receiver = new WaitsReceiver();
    await receiver.cancel();
    receiver.now += TOMBSTONE_MS - 1;
    await receiver.cancel();
    receiver.now += TOMBSTONE_MS - 1;
    await receiver.execute();
    assert.equal((await receiver.state())?.state, 'decided');
  });

  test('that comes together with its wait ends it', async () => {
    for (let round = 0; round < 20; round++) {
      const receiver = new WaitsReceiver();
      // Each plan is returned after a different number of turns.
      receiver.plan = async () => {
        for (let turn = 0; turn < (receiver.asked.length * 7 * (round + 1)) % 11; turn++) await Promise.resolve();
        return new WaitsReceiver().plan();
      };
      const answers = await Promise.all([receiver.execute(), receiver.cancel()]);
      assert.deepEqual(answers, [DONE, DONE]);
      assert.equal((await receiver.state())?.state, 'decided', `round ${round}`);
    }
  });

  test('needs no rule, but does need proof of the plan', async () => {
    const receiver = new WaitsReceiver({ rules: [] });
    assert.deepEqual(await receiver.cancel(), DONE);
    receiver.plan = () => ({ kind: 'refused', reason: 'status 404' });
    const answer = await receiver.cancel();
    assert.equal(answer.status, 403);
    assert.match(messageIn(answer), /^X-Job-Token: /);
    assert.equal((await receiver.cancel(taskHeaders({ authorization: 'Bearer x' }))).status, 401);
    assert.equal((await receiver.cancel(taskHeaders({ 'x-plan-url': 'https://evil.example/' }))).status, 403);
    assert.equal((await receiver.cancel(taskHeaders({ 'x-job-id': 'x' }))).status, 400);
  });

  test('is answered with 503 while NATS is down', async () => {
    const receiver = new WaitsReceiver();
    receiver.bucket.failure = new Error('away');
    assert.equal((await receiver.cancel()).status, 503);
  });
});
