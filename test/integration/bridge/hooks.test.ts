import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deadLetters, type DeadLettersCommand } from '../../../bridge/commands/deadLetters.ts';
import { setup } from '../../../bridge/commands/setup.ts';
import { grantNeeds } from '../../../bridge/jetStream/needs.ts';
import { configurationFile, readFile } from '../../support/bridge/configurationFile.ts';
import { BUILD, buildBody, hookBody, SHOP } from '../../support/bridge/hookPosts.ts';
import { ENV, HooksBridge, hooksConfiguration, TestWorld } from '../../support/bridge/hooksBridge.ts';
import { usersConfig } from '../../support/nats/natsAccounts.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { until } from '../../support/nats/openService.ts';
import { Admin } from '../../support/nats/testStream.ts';

const ALL = "[{ event: build.complete, project: '*' }, { event: git.push, project: Shop }]";
const BUILDS = '[{ event: build.complete }]';

/** A configuration file with its streams in the server. */
async function setUp(server: NatsServer, events = ALL): Promise<string> {
  const file = configurationFile(hooksConfiguration(server.url, events));
  const world = new TestWorld();
  assert.equal(await setup(file, { apply: true, streams: [] }, world), 0, world.stderr);
  return file;
}

async function command(file: string, what: DeadLettersCommand) {
  const world = new TestWorld();
  const status = await deadLetters(what, file, world);
  return { status, stdout: world.stdout, stderr: world.stderr };
}

for (const line of ['2.9', '2.10', '2.15'] as const) {
  describe(`Service hooks on nats-server ${line}`, { concurrency: true }, () => {
    test('are stored once, whichever replica receives them', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const file = await setUp(server);
      await using one = await HooksBridge.start(file);
      await using other = await HooksBridge.start(file);
      const answers = await Promise.all([one, other, one, other].map((bridge) => bridge.post(buildBody())));
      assert.deepEqual(
        answers.map(({ status }) => status),
        [200, 200, 200, 200],
      );
      const firsts = answers.filter(({ body }) => !(body as { duplicate: boolean }).duplicate);
      assert.deepEqual(firsts, [{ status: 200, body: { stream: 'AZDO', sequence: 1, duplicate: false } }]);
      const stored = await admin.manager.streams.getMessage('AZDO', { seq: 1 });
      assert.equal(stored.subject, 'azdo.contoso.Shop.build.completed.v1');
      assert.deepEqual(Buffer.from(stored.data), buildBody());
      assert.equal(stored.header.get('ce-azprequester'), 'Zo%C3%AB%20%22Z%22%20Example');
    });

    test('are refused for a retry while NATS is down, and stored afterwards', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      const file = await setUp(server);
      await using bridge = await HooksBridge.start(file);
      assert.equal((await bridge.post(buildBody('1'))).status, 200);
      await server.pause();
      const begin = Date.now();
      const answers = await Promise.all([bridge.post(buildBody('2')), bridge.post(Buffer.from('x'))]);
      assert.ok(Date.now() - begin < 3_000);
      for (const { status, headers } of answers) assert.deepEqual([status, headers?.['retry-after']], [503, '5']);
      server.resume();
      await server.kill();
      await until(() => !bridge.isLinkUp, 'the link is down');
      const away = await bridge.post(buildBody('3'));
      assert.equal(away.status, 503);
      assert.match(JSON.stringify(away.body), /the bridge has no connection to NATS/);
      await server.restart();
      await until(() => bridge.isLinkUp, 'the link is back');
      for (const id of ['1', '2', '3']) {
        const { status, body } = await bridge.post(buildBody(id));
        assert.equal(status, 200);
        assert.equal(id !== '1' || (body as { duplicate: boolean }).duplicate, true);
      }
      assert.doesNotMatch(bridge.world.stderr, /"level":"error"/);
    });

    test('need no more permissions than setup prints', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      const file = await setUp(server);
      const { publish, subscribe, optional = [] } = grantNeeds(readFile(file, { env: ENV }).settings);
      const user = { user: 'bridge', password: 'pw' };
      const grants = (withOptional: boolean) => {
        const allow = [...publish, ...(withOptional ? optional.map(({ subject }) => subject) : [])];
        return usersConfig({ ...user, permissions: { publish: { allow }, subscribe: { allow: subscribe } } });
      };
      await server.reload(grants(false));
      const limited = configurationFile(hooksConfiguration(server.url, ALL, ', user: bridge, passwordFile: pw'), {
        pw: 'pw',
      });
      await using bridge = await HooksBridge.start(limited);
      assert.deepEqual((await bridge.post(buildBody())).body, { stream: 'AZDO', sequence: 1, duplicate: false });
      assert.deepEqual((await bridge.post(Buffer.from('x'))).body, { deadLetter: 1 });
      await server.reload(grants(true));
      assert.match((await command(limited, { kind: 'list' })).stdout, /^1\t\S+\thooks\tunusable\t/m);
      assert.doesNotMatch(bridge.world.stderr, /Denied/);
    });

    test('that exceed the message limit are recorded with their size and digest', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      const file = await setUp(server);
      await using bridge = await HooksBridge.start(file);
      const body = hookBody('build.complete', { ...BUILD, text: 'x'.repeat(1_200_000) });
      assert.deepEqual(await bridge.post(body), { status: 200, body: { deadLetter: 1 } });
      const shown = await command(file, { kind: 'show', sequence: 1 });
      assert.match(shown.stdout, /^bridge-size: 120\d{4}$/m);
      assert.match(shown.stdout, /^bridge-sha-256: [0-9a-f]{64}$/m);
      const replayed = await command(file, { kind: 'replay', letters: { sequence: 1 }, reason: 'why not' });
      assert.equal(replayed.status, 1);
      assert.match(replayed.stdout, /^1\trefused\tnotReplayable\tits 120\d{4} bytes/);
    });

    test('that were dead letters are stored on request once the configuration accepts them', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const before = await setUp(server, BUILDS);
      await using bridge = await HooksBridge.start(before);
      const push = hookBody('git.push', { repository: { id: 'r-1', project: SHOP }, pushId: 7 });
      assert.deepEqual(await bridge.post(push), { status: 200, body: { deadLetter: 1 } });
      assert.deepEqual(await bridge.post(Buffer.from('{}')), { status: 200, body: { deadLetter: 2 } });
      assert.equal((await bridge.metrics.deadLetters.get()).values.length, 2);

      const listed = await command(before, { kind: 'list' });
      assert.match(listed.stdout, /^1\t\S+\thooks\tnotConfigured\t\d+\tnotConfigured: hooks\.events has no entry/m);
      assert.match(listed.stdout, /^2\t\S+\thooks\tunusable\t2\tunusable: The post isn't a service hook/m);
      assert.equal(listed.stderr, '2 dead letters.\n');

      const order = { kind: 'replay', letters: { route: 'notConfigured' }, reason: 'pushes are wanted now' } as const;
      const refused = await command(before, order);
      assert.equal(refused.status, 1);
      assert.match(refused.stdout, /^1\trefused\tnotConfigured\t/);
      const after = configurationFile(hooksConfiguration(server.url, ALL));
      const done = await command(after, order);
      assert.deepEqual([done.status, done.stdout], [0, '1\tdone\tstream=AZDO\tsequence=1\n']);
      const stored = await admin.manager.streams.getMessage('AZDO', { seq: 1 });
      assert.equal(stored.subject, 'azdo.contoso.Shop.git.pushed.v1');
      assert.deepEqual(Buffer.from(stored.data), push);
      const all = await command(after, { kind: 'replay', letters: { sequence: 2 }, reason: 'all of them' });
      assert.match(all.stdout, /^2\trefused\tunusable\t/);
      await assert.rejects(command(after, { kind: 'replay', letters: { sequence: 3 }, reason: 'x' }), {
        message: /There is no dead letter 3/,
      });
      await assert.rejects(command(after, { kind: 'replay', letters: { route: 'none' }, reason: 'x' }), {
        message: /There are no dead letters of "none"/,
      });

      const { state } = await admin.manager.streams.info('BRIDGE_AUDIT', { subjects_filter: '>' });
      assert.deepEqual(state.subjects, {
        'bridge.decisions.hooks.notConfigured': 1,
        'bridge.decisions.hooks.unusable': 1,
        'bridge.decisions.orders.deadLetters-replay': 6,
        'bridge.decisions.orders.setup-apply': 1,
      });
      const last = await admin.manager.streams.getMessage('BRIDGE_AUDIT', {
        last_by_subj: 'bridge.decisions.orders.*',
      });
      const decision = last.json<Record<string, unknown>>();
      assert.equal(decision['decision'], 'refused');
      assert.deepEqual(decision['event'], { place: { stream: 'BRIDGE_DEAD', sequence: 2 } });
      assert.ok(decision['user']);
    });
  });
}
