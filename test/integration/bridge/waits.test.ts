import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setup } from '../../../bridge/commands/setup.ts';
import { grantNeeds } from '../../../bridge/jetStream/needs.ts';
import { unseal } from '../../../bridge/waits/sealing.ts';
import { configurationFile, readFile } from '../../support/bridge/configurationFile.ts';
import { WAITS_ENV, WaitsBridge, waitsConfiguration, WaitsWorld } from '../../support/bridge/waitsBridge.ts';
import { BEARER, JOB_TOKEN, SEALING_KEY, STORED_KEY, taskHeaders } from '../../support/bridge/waitsReceiver.ts';
import { usersConfig } from '../../support/nats/natsAccounts.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { until } from '../../support/nats/openService.ts';
import { Admin } from '../../support/nats/testStream.ts';

const SUBJECT = { subject: 'ci.shop.done.v1' };
const TAKEN = { status: 200, body: { key: STORED_KEY } };

/** A configuration file with its streams in the server, and a stream of events. */
async function setUp(server: NatsServer, admin: Admin): Promise<string> {
  const file = configurationFile(waitsConfiguration(server.url));
  const world = new WaitsWorld();
  assert.equal(await setup(file, { apply: true, streams: [] }, world), 0, world.stderr);
  await admin.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
  return file;
}

/** The one wait in the bucket. */
async function stored(admin: Admin) {
  const { data } = await admin.manager.streams.getMessage('KV_BRIDGE_WAITS', {
    last_by_subj: `$KV.BRIDGE_WAITS.${STORED_KEY}`,
  });
  const record = unseal(STORED_KEY, data, [SEALING_KEY]);
  return { text: Buffer.from(data).toString(), state: record?.state };
}

for (const line of ['2.9', '2.10', '2.15'] as const) {
  describe(`Waits of agentless tasks on nats-server ${line}`, { concurrency: true }, () => {
    test('are stored once and sealed, whichever replica receives them, and end when cancelled', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const file = await setUp(server, admin);
      await using one = await WaitsBridge.start(file);
      await using other = await WaitsBridge.start(file);
      const answers = await Promise.all([one, other, one, other].map((bridge) => bridge.execute(SUBJECT)));
      assert.deepEqual(answers, [TAKEN, TAKEN, TAKEN, TAKEN]);
      const { text, state } = await stored(admin);
      assert.ok(state?.state === 'waiting');
      assert.deepEqual([state.start.stream, state.call.token], ['CI', JOB_TOKEN]);
      assert.ok(!text.includes('canary') && !text.includes('ci.shop'));
      const conflict = await other.execute({ ...SUBJECT, match: 'data.ok' });
      assert.equal(conflict.status, 409);
      assert.deepEqual(await other.post('/v1/waits/cancel'), TAKEN);
      await until(async () => (await stored(admin)).state?.state === 'ended', 'the task was told');
      const { state: over } = await stored(admin);
      assert.ok(over?.state === 'ended' && over.sent && !('token' in over.call));
      assert.equal(over.ending.verdict, 'cancelled');
      const decision = await untilDecided(admin, 'bridge.decisions.waits.rule-0', 'cancelled');
      assert.ok(!`${decision}${one.world.stderr}${other.world.stderr}`.includes('canary'));
    });

    test('are refused over HTTP with the reason', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await using bridge = await WaitsBridge.start(await setUp(server, admin));
      const cases: [Awaited<ReturnType<WaitsBridge['post']>>, number, RegExp][] = [
        [await bridge.execute(SUBJECT, taskHeaders({ authorization: `Bearer ${BEARER}x` })), 401, /missing or wrong/],
        [await bridge.execute({ ...SUBJECT, nothing: 'x' }), 400, /names no input/],
        [await bridge.execute({ subject: 'cd.x' }), 403, /no rule of the bridge lets this pipeline wait on "cd\.x"/],
        [await bridge.execute({ ...SUBJECT, stream: 'CD' }), 400, /there is no stream "CD"/],
        [await bridge.post('/v1/waits', taskHeaders(), Buffer.alloc(2 * 1_024 * 1_024)), 400, /has 2097152 bytes/],
        [await bridge.post('/v1/waits', taskHeaders(), Buffer.alloc(2 * 1_024 * 1_024 + 65_537)), 413, /./],
      ];
      for (const [{ status, body }, expected, message] of cases) {
        assert.equal(status, expected, JSON.stringify(body));
        assert.match(body.error!.message, message);
      }
      assert.equal((await bridge.execute(SUBJECT)).status, 200);
    });

    test('are answered with 503 in time while NATS is down, and stored afterwards', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await using bridge = await WaitsBridge.start(await setUp(server, admin));
      await server.pause();
      const began = performance.now();
      const silent = await Promise.all([bridge.execute(SUBJECT), bridge.post('/v1/waits/cancel')]);
      // Azure DevOps waits 20 seconds for an answer.
      assert.ok(performance.now() - began < 10_000);
      assert.deepEqual(
        silent.map(({ status }) => status),
        [503, 503],
      );
      server.resume();
      await until(() => bridge.isLinkUp, 'the link is back');
      const headers = taskHeaders({ 'x-task-instance-id': '00000000-0000-4000-8000-000000000000' });
      assert.equal((await bridge.execute(SUBJECT, headers)).status, 200);
    });

    test('need no more permissions than setup prints', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      const admin = await Admin.connect([server.url]);
      const file = await setUp(server, admin);
      await admin[Symbol.asyncDispose]();
      const { publish, subscribe } = grantNeeds(readFile(file, { env: WAITS_ENV }).settings);
      const user = { user: 'bridge', password: 'pw' };
      await server.reload(
        usersConfig({ ...user, permissions: { publish: { allow: publish }, subscribe: { allow: subscribe } } }),
      );
      const limited = configurationFile(waitsConfiguration(server.url, ', user: bridge, passwordFile: pw'), {
        pw: 'pw',
      });
      await using bridge = await WaitsBridge.start(limited);
      assert.deepEqual(await bridge.execute({ ...SUBJECT, startFrom: 'now' }), TAKEN);
      assert.deepEqual(await bridge.execute({ ...SUBJECT, startFrom: 'now' }), TAKEN);
      assert.deepEqual(await bridge.post('/v1/waits/cancel'), TAKEN);
      assert.doesNotMatch(bridge.world.stderr, /Denied|not in the audit stream/);
    });
  });
}

/** The text of the newest decision on a subject, once it is this one. */
async function untilDecided(admin: Admin, subject: string, decision: string): Promise<string> {
  let text = '';
  await until(async () => {
    const { data } = await admin.manager.streams.getMessage('BRIDGE_AUDIT', { last_by_subj: subject });
    text = Buffer.from(data).toString();
    return (JSON.parse(text) as { decision: string }).decision === decision;
  }, `the decision ${decision}`);
  return text;
}
