import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { completesTask, readsPlan } from '../../support/azureDevOps/kinds.ts';
import { broken, reset, throttled, unavailable } from '../../support/azureDevOps/moods.ts';
import { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { WaitsScene } from '../../support/bridge/waitsScene.ts';
import { GateProxy } from '../../support/nats/gateProxy.ts';

const MATCH = { match: 'data.ok' };
const [YES, NO] = [{ ok: true, name: 'web' }, { ok: false }];

/** A subject for one wait, so that several can share a bridge. */
function ownSubject(): string {
  return `ci.${randomUUID()}`;
}

describe('An agentless task', { concurrency: 2 }, () => {
  test('is completed by its event, and leaves nothing behind', async () => {
    await using scene = await WaitsScene.open();
    const bridge = await scene.start();
    assert.equal((await bridge.ready(200))['waits'], 'ok');
    const { task, key } = await scene.wait(bridge, { ...MATCH, outputs: 'name=data.name' });
    await scene.publish(NO);
    const sequence = await scene.publish(YES);
    assert.equal(await scene.ended(task), 'succeeded');
    const { verdict, count, 'event.name': name, sequence: found } = task.outputs;
    assert.deepEqual([verdict, count, name, found], ['matched', '1', 'web', String(sequence)]);
    assert.match(task.logText, /^Verdict: matched\nEvent: ci\.done, CI:2, id e-2, source \/tests, stored /);
    await scene.until('the record is closed', async () => (await scene.record(key))?.state.state === 'ended');
    await scene.until('nobody reads the stream', async () => (await scene.consumers()).length === 0);
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0, bridge.text);
    assert.deepEqual(await scene.consumers('KV_BRIDGE_WAITS'), []);
    assert.deepEqual(scene.azure.plans.brokenRules, []);
  });

  test('finds an event that comes before, while or after the wait is accepted, or during catch-up', async () => {
    await using scene = await WaitsScene.open({ timing: SLOW_LEASE });
    await using proxy = await GateProxy.start(scene.server.port);
    const bridge = await scene.start([proxy.url]);
    const sequenceOf = async (task: Awaited<ReturnType<WaitsScene['wait']>>['task']) => {
      assert.equal(await scene.ended(task), 'succeeded', task.logText);
      return Number(task.outputs['sequence']);
    };

    // Before.
    const before = ownSubject();
    const runStart = new Date().toISOString();
    await scene.publish(NO, { subject: before });
    const first = await scene.publish(YES, { subject: before });
    await scene.publish(YES, { subject: before });
    const early = await scene.wait(bridge, { subject: before, ...MATCH }, { runStart });
    assert.equal(await sequenceOf(early.task), first);

    // After.
    const after = ownSubject();
    const late = await scene.wait(bridge, { subject: after, ...MATCH, startFrom: 'now' });
    await scene.publish(NO, { subject: after });
    const then = await scene.publish(YES, { subject: after });
    assert.equal(await sequenceOf(late.task), then);

    // While the bridge waits for the plan from Azure DevOps.
    const during = ownSubject();
    let goOn = () => {};
    const asked = scene.azure.requests.filter(readsPlan).length + 1;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    scene.azure.feel((_, answer) => held.then(answer), { when: readsPlan, times: 1 });
    const taking = scene.wait(bridge, { subject: during, ...MATCH });
    await scene.azure.asked(asked, readsPlan);
    const meanwhile = await scene.publish(YES, { subject: during });
    await scene.publish(YES, { subject: during });
    goOn();
    assert.equal(await sequenceOf((await taking).task), meanwhile);

    // Between reading the end of the stream and storing the record.
    const between = ownSubject();
    await scene.publish(YES, { subject: between });
    // The next record to be written has to be this wait's.
    await scene.until('the others are closed', async () =>
      [...(await scene.records()).values()].every(({ state }) => state.state === 'ended'),
    );
    const creation = proxy.hold('HPUB $KV.BRIDGE_WAITS.wait.');
    const storing = scene.wait(bridge, { subject: between, ...MATCH, startFrom: 'now' });
    await creation.reached;
    const passed = proxy.delivered('"between"');
    const next = await scene.publish({ ...YES, name: 'between' }, { subject: between });
    await passed;
    creation.open();
    assert.equal(await sequenceOf((await storing).task), next);

    // While the wait is catching up, with the reader ahead of it.
    const behind = ownSubject();
    await scene.publish(NO, { subject: behind });
    await scene.publish(NO, { subject: behind });
    const keeper = await scene.wait(bridge, { subject: ownSubject() });
    const lookup = proxy.hold(`"next_by_subj":"${behind}"`);
    const { task } = await scene.wait(bridge, { subject: behind, ...MATCH, startFrom: 'all' });
    await lookup.reached;
    const seen = proxy.delivered('"caught up"');
    await scene.publish(NO, { subject: behind });
    const wanted = await scene.publish(YES, { subject: behind });
    await scene.publish({ ...YES, name: 'caught up' }, { subject: behind });
    await seen;
    lookup.open();
    assert.equal(await sequenceOf(task), wanted);
    assert.match(task.logText, /Events seen: 4 /);
    await keeper.task.cancel();
    assert.equal(await scene.ended(keeper.task), 'failed');
  });

  test('keeps its count when the bridge is killed, and finds what came meanwhile', async () => {
    await using scene = await WaitsScene.open();
    const killed = await scene.start();
    const [counted, expected, restarted] = [ownSubject(), ownSubject(), ownSubject()];
    const one = await scene.wait(killed, { subject: counted, ...MATCH, count: '3' });
    const other = await scene.wait(killed, { subject: expected, distinctBy: 'data.name', expect: 'a\nb\nc' });
    const third = await scene.wait(killed, { subject: restarted, ...MATCH });
    for (const event of [NO, YES, NO]) await scene.publish(event, { subject: counted });
    for (const name of ['a', 'x', 'a']) await scene.publish({ name }, { subject: expected });
    await scene.until('progress is stored', async () => {
      const records = await scene.records();
      return [one, other].every(({ key }) => {
        const state = records.get(key)?.state;
        return state?.state === 'waiting' && state.progress?.counts.matched === 1;
      });
    });
    await killed[Symbol.asyncDispose]();
    await scene.publish(YES, { subject: counted });
    await scene.publish({ name: 'b' }, { subject: expected });
    const missed = await scene.publish(YES, { subject: restarted });
    const bridge = await scene.start();
    assert.equal(await scene.ended(third.task), 'succeeded');
    assert.equal(third.task.outputs['sequence'], String(missed));
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0, bridge.text);
    const last = await scene.publish(YES, { subject: counted });
    await scene.publish({ name: 'c' }, { subject: expected });
    await scene.start();
    assert.equal(await scene.ended(one.task), 'succeeded');
    assert.equal(await scene.ended(other.task), 'succeeded');
    assert.deepEqual([one.task.outputs['count'], one.task.outputs['sequence']], ['3', String(last)]);
    assert.match(one.task.logText, /Events seen: 5 \(.*3 matched.*\)/);
    assert.match(other.task.logText, /Events seen: 5 \(.*1 repeated.*\)/);
  });

  test('ends once, however often it is repeated, cancelled or answered with errors', async () => {
    await using scene = await WaitsScene.open();
    const [bridge, second] = [await scene.start(), await scene.start()];
    const ends = (task: { readonly task: { readonly instance: string } }) =>
      scene.azure.requests.filter(
        (request) => completesTask(request) && request.body.includes(task.task.instance) && request.status === 204,
      ).length;

    // Repeated: nothing starts again, the newest token is used, and another body is refused.
    const inputs = { subject: ownSubject(), ...MATCH };
    const { task, key } = await scene.wait(bridge, inputs);
    const old = task.token;
    task.token = scene.azure.plans.token(task.plan, task.task);
    task.bridge = second.publicUrl;
    const repeated = await task.execute(inputs);
    assert.deepEqual([repeated.status, repeated.json.key], [200, key]);
    assert.equal((await task.execute({ ...inputs, match: 'data.no' })).status, 409);
    scene.azure.signIn.expireJobToken(old);

    // Azure DevOps fails in every way at first.
    const moods = [throttled({ retryAfter: 0.1 }), unavailable(), broken(), reset(), reset({ done: true }), broken()];
    for (const mood of moods) scene.azure.feel(mood, { times: 1, when: completesTask });
    await scene.publish(YES, { subject: inputs.subject });
    assert.equal(await scene.ended(task), 'succeeded');
    await scene.until('the record is closed', async () => (await scene.record(key))?.state.state === 'ended');

    // Repeated after its end: reported again, which changes nothing.
    assert.equal((await task.execute(inputs)).status, 200);
    assert.equal((await task.execute({ ...inputs, match: 'data.no' })).status, 409);
    await scene.until('the record is closed', async () => (await scene.record(key))?.state.state === 'ended');
    assert.equal((await task.cancel()).status, 200);
    assert.equal((await scene.record(key))?.state.state, 'ended');

    // Cancelled: in time, at the other replica, and before its wait came.
    const late = await scene.wait(bridge, { subject: inputs.subject, match: 'data.never' });
    late.task.bridge = second.publicUrl;
    assert.equal((await late.task.cancel()).status, 200);
    assert.equal(await scene.ended(late.task), 'failed');
    assert.match(late.task.logText, /^Verdict: cancelled/);
    const buried = scene.task(bridge);
    assert.equal((await buried.cancel()).status, 200);
    assert.equal((await buried.execute(inputs)).status, 200);
    assert.equal(await scene.ended(buried), 'failed');
    assert.match(buried.logText, /^Verdict: cancelled/);

    // Ended by its timeout, and by failWhen.
    const [negative, timely] = await Promise.all([
      scene.wait(bridge, { ...inputs, failWhen: "data.name == 'web'" }),
      scene.wait(bridge, { ...inputs, match: 'data.never', timeout: '1s', onTimeout: 'succeed' }),
    ]);
    await scene.publish(YES, { subject: inputs.subject });
    await scene.publish({ ok: true }, { subject: inputs.subject });
    assert.equal(await scene.ended(negative.task), 'failed');
    assert.equal(negative.task.outputs['verdict'], 'negative');
    assert.equal(await scene.ended(timely.task), 'succeeded');
    assert.equal(timely.task.outputs['verdict'], 'timedOut');
    for (const one of [task, late.task, buried, negative.task, timely.task]) assert.ok(ends(one) <= 1);
    assert.deepEqual(scene.azure.plans.brokenRules, []);
  });

  test('is completed when Azure DevOps is back, and the log stays one JSON object per line', async () => {
    await using scene = await WaitsScene.open();
    const bridge = await scene.start();
    const subject = ownSubject();
    const waits = [];
    while (waits.length < 40) waits.push(await scene.wait(bridge, { subject }));
    const isBack = scene.azure.feel(unavailable(), { when: completesTask });
    await scene.publish(YES, { subject });
    await scene.azure.asked(80, completesTask);
    isBack();
    for (const { task } of waits) assert.equal(await scene.ended(task), 'succeeded');
    // A task is completed before its log line is written and read here.
    for (const event of ['waitNotTold', 'waitDecided']) await bridge.logged(event);
  });

  test('that can no longer be completed is logged once', async () => {
    await using scene = await WaitsScene.open();
    const bridge = await scene.start();
    const subject = ownSubject();
    const [expired, deleted, left] = await Promise.all([1, 2, 3].map(() => scene.wait(bridge, { subject })));
    assert.ok(expired && deleted && left);
    scene.azure.signIn.expireJobToken(expired.task.token);
    deleted.task.plan.fate = 'deleted';
    await scene.publish(YES, { subject });
    assert.equal(await scene.ended(left.task), 'succeeded');
    await scene.until(
      'both are given up',
      () => bridge.lines.filter(({ event }) => event === 'abandoned').length === 2,
    );
    const given = bridge.lines.filter(({ event }) => event === 'abandoned').map(({ key }) => String(key));
    assert.deepEqual(given.sort(), [expired.key, deleted.key].sort());
    await scene.until('both are closed', async () => {
      const records = await scene.records();
      return [expired, deleted].every(({ key }) => records.get(key)?.state.state === 'ended');
    });
    const asked = scene.azure.requests.length;
    const again = await scene.wait(bridge, { subject, startFrom: 'all' });
    assert.equal(await scene.ended(again.task), 'succeeded');
    const since = scene.azure.requests.slice(asked).map(({ path }) => path);
    for (const { task } of [expired, deleted]) assert.ok(!since.some((path) => path.includes(task.plan.id)));
  });

  test('is not sent to a replica that does not know all waits yet', async () => {
    await using scene = await WaitsScene.open();
    await using proxy = await GateProxy.start(scene.server.port);
    await scene.admin.connection.jetstream().publish('$KV.BRIDGE_WAITS.something', '{}');
    const gate = proxy.hold('CONSUMER.CREATE.KV_BRIDGE_WAITS');
    await using bridge = await BridgeProcess.start(scene.configuration([proxy.url]), scene.options);
    await gate.reached;
    const readiness = await bridge.admin('/readyz');
    assert.deepEqual([readiness.status, JSON.parse(readiness.text).waits], [503, 'catching up']);
    gate.open();
    assert.equal((await bridge.ready(200))['waits'], 'ok');
  });
});

/** Long enough for the lease to survive while the proxy holds something back. */
const SLOW_LEASE = 'azureDevOps: 2s, takeover: 3s, checkpoint: 100ms, idleStream: 10s, natsRetry: 100ms';
