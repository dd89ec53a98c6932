import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { StorageType } from 'nats';
import { casesOf } from '../../support/form.ts';
import { WaitStep } from '../../support/agent/waitStep.ts';
import { natsServerBinary, startNatsCluster, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { NOWHERE, openBus } from '../../support/nats/openBus.ts';
import { TcpProxy } from '../../support/nats/tcpProxy.ts';
import { Admin } from '../../support/nats/testStream.ts';

/** A link that is open but dead is noticed within this time. */
const NOTICED_MS = 30_000;

describe('faults of the link and the server', { concurrency: 6 }, () => {
  for (const line of ['2.9', '2.15'] as const) {
    test(`nats-server ${line} is killed and restarted: the events of the meantime arrive`, async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openBus([proxy.url]);
      const stream = await admin.stream('CI');
      await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'now' } });
      await stream.publish('a', 'before');
      await reading.seen.count(1);

      proxy.cut();
      await server.kill();
      await server.restart();
      await stream.publish('a', 'gap1', 'gap2');
      proxy.mend();
      await reading.seen.count(3);
      await stream.publish('a', 'after');
      await reading.seen.count(4);
      assert.deepEqual(reading.seen.payloads, ['before', 'gap1', 'gap2', 'after']);
      assert.equal(reading.seen.downs.length, 1);
      assert.equal(reading.seen.ups.length, 1);
      assert.deepEqual(reading.seen.notices, []);
    });
  }

  // What is lost with the link is the same on both lines.
  for (const line of casesOf(['2.9', '2.15'] as const, (one) => one === '2.15')) {
    test(`nats-server ${line} hangs for longer than a link may: it is noticed in time, and nothing is lost or duplicated`, async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await using streamStep = await openBus([server.url]);
      await using coreStep = await openBus([server.url]);
      await using publishStep = await openBus([server.url]);
      const stream = await admin.stream('CI');
      await using reading = await streamStep.read({ subjects: ['CI.a'], start: { from: 'now' } });
      await using core = await coreStep.subscribe(['core.a']);

      await server.pause();
      const pausedAt = Date.now();
      const published = publishStep.publishToStream('CI.a', 'the-one');
      await Promise.all([
        reading.seen.until(() => reading.seen.downs.length > 0, 'the stream notices', NOTICED_MS + 1_000),
        core.seen.until(() => core.seen.downs.length > 0, 'the subscription notices', NOTICED_MS + 1_000),
      ]);
      const noticedMs = Date.now() - pausedAt;
      assert.ok(noticedMs < NOTICED_MS + 500, `noticed after ${noticedMs} ms`);

      server.resume();
      assert.equal((await published).stream, 'CI');
      assert.equal(await stream.messages(), 1);
      await reading.seen.count(1);
      await stream.publish('a', 'after');
      await reading.seen.count(2);
      assert.deepEqual(reading.seen.payloads, ['payload', 'after']);
      await core.seen.until(() => core.seen.ups.length > 0, 'the subscription is back');
      admin.connection.publish('core.a', 'after');
      await core.seen.count(1);
    });

    test(`a stream of nats-server ${line} that is deleted and recreated is read from its first event`, async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await using open = await openBus([server.url]);
      const stream = await admin.stream('CI');
      await stream.publish('a', '1', '2', '3');
      await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'sequence', after: 2 } });
      const { seen } = reading;
      await seen.count(1);
      await stream.delete();
      await seen.until(() => seen.notices.length > 0, 'a notice', 20_000);
      await admin.stream('CI');
      await stream.publish('a', 'new 1', 'new 2');
      await seen.count(3);
      assert.deepEqual(seen.payloads, ['3', 'new 1', 'new 2']);
      assert.deepEqual(seen.sequences, [3, 1, 2]);
      assert.deepEqual(seen.notices, [
        'The stream "CI" was deleted; waiting for it to be created again.',
        'The stream "CI" was created again; it is read from its first event.',
      ]);
      assert.deepEqual(seen.downs, []);
    });
  }

  test('a consumer that is deleted in the middle of a backlog is replaced, and each event arrives once', async () => {
    await using server = await startNatsServer({ binary: natsServerBinary('2.9') });
    await using admin = await Admin.connect([server.url]);
    await using open = await openBus([server.url]);
    const stream = await admin.stream('CI');
    await stream.fill(20_000, () => 'a');
    await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'all' } });
    let deleted: Promise<void> | undefined;
    reading.seen.onMessage = ({ place: { sequence } = NOWHERE }) => {
      if (sequence === 1_000) deleted = stream.deleteConsumers();
    };
    // This server does not always tell that a consumer is gone: then its missing heartbeats do.
    await reading.seen.count(20_000, 25_000);
    await deleted;
    await stream.publish('a', 'end');
    await reading.seen.count(20_001, 25_000);
    assert.deepEqual(
      reading.seen.sequences,
      Array.from({ length: 20_001 }, (_, index) => index + 1),
    );
  });

  test("an in-memory stream that a restart lost is read from its first event once it's recreated", async () => {
    await using server = await startNatsServer();
    await using admin = await Admin.connect([server.url]);
    await using open = await openBus([server.url]);
    const stream = await admin.stream('CI', { storage: StorageType.Memory });
    await stream.publish('a', 'old');
    await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'all' } });
    const { seen } = reading;
    await seen.count(1);
    await server.kill();
    await server.restart();
    await seen.until(() => seen.notices.length > 0, 'a notice');
    await seen.until(() => seen.ups.length > 0, 'the link is back, though the stream is not');
    await admin.stream('CI', { storage: StorageType.Memory });
    await stream.publish('a', 'new');
    await seen.count(2);
    assert.deepEqual(seen.payloads, ['old', 'new']);
    assert.match(seen.notices.join(), /was deleted; waiting.*was created again/);
  });

  test('a core subscription says after a restart that events were lost, and for how long', async () => {
    await using server = await startNatsServer({ jetStream: false });
    await using open = await openBus([server.url]);
    await using reading = await open.subscribe(['core.>']);
    const { seen } = reading;
    const downAt = Date.now();
    await server.kill();
    await seen.until(() => seen.downs.length > 0, 'the link is down');
    await delay(500);
    await server.restart();
    await seen.until(() => seen.notices.length > 0, 'the notice');
    const upMs = Date.now() - downAt;
    assert.equal(seen.ups.length, 1);
    const [, ms] = /^Events published while the link was down \((\d+) ms\) are lost/.exec(seen.notices[0]!) ?? [];
    assert.ok(Number(ms) >= 500 && Number(ms) <= upMs, `${ms} of ${upMs} ms`);
    await using other = await openBus([server.url]);
    await other.publishCore('core.a.b');
    await seen.count(1);
    assert.deepEqual(seen.payloads, ['payload']);
  });

  for (const line of casesOf(['2.9', '2.15'] as const, (one) => one === '2.15')) {
    test(`an event whose ack is lost in a crash of nats-server ${line} is stored exactly once`, async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await using proxy = await TcpProxy.start(server.port);
      await using open = await openBus([proxy.url]);
      const stream = await admin.stream('CI');
      proxy.mute();
      const published = open.publishToStream('CI.a', 'the-one', 'CI');
      while ((await stream.messages()) === 0) await delay(10);
      proxy.cut();
      await server.kill();
      await server.restart();
      proxy.mend();
      assert.deepEqual(await published, { stream: 'CI', sequence: 1, duplicate: true });
      assert.equal(await stream.messages(), 1);
    });
  }

  for (const delivery of ['jetStream', 'core'] as const) {
    test(`a deadline while the link of a ${delivery} wait is down is a lost connection`, async () => {
      await using server = await startNatsServer();
      await using admin = await Admin.connect([server.url]);
      await admin.stream('CI');
      const wait = waiting(server, { delivery, timeout: '3s' });
      await wait.armed();
      await server.kill();
      const outcome = await wait.outcome;
      assert.equal(outcome.verdict, 'connectionLost');
      assert.equal(outcome.error?.code, 'ConnectionLost');
      assert.equal(outcome.linkBreaks.count, 1);
      assert.ok(outcome.linkBreaks.totalMs > 500, String(outcome.linkBreaks.totalMs));
    });

    test(`a deadline of a ${delivery} wait whose link breaks before it starts is a lost connection`, async () => {
      await using server = await startNatsServer();
      await using proxy = await TcpProxy.start(server.port);
      const wait = waiting(proxy, { delivery, timeout: '3s' }, () => proxy.cut());
      const outcome = await wait.outcome;
      assert.equal(outcome.verdict, 'connectionLost');
      assert.equal(outcome.error?.code, 'ConnectionLost');
    });

    test(`a deadline after the link of a ${delivery} wait is back is a timeout`, async () => {
      await using server = await startNatsServer();
      await using admin = await Admin.connect([server.url]);
      await admin.stream('CI');
      const wait = waiting(server, { delivery, timeout: '6s' });
      await wait.armed();
      await server.kill();
      await server.restart();
      const outcome = await wait.outcome;
      assert.equal(outcome.verdict, 'timedOut');
      assert.equal(outcome.linkBreaks.count, 1);
      assert.ok(outcome.linkBreaks.totalMs < 5_000, String(outcome.linkBreaks.totalMs));
      assert.match(outcome.error!.message, /No event came at all\. The link broke once\./);
    });
  }

  test('a deadline while the stream is gone but the link is up is a timeout', async () => {
    await using server = await startNatsServer();
    await using admin = await Admin.connect([server.url]);
    await admin.stream('CI', { storage: StorageType.Memory });
    const wait = waiting(server, { timeout: '6s' });
    await wait.armed();
    await server.kill();
    await server.restart();
    assert.equal((await wait.outcome).verdict, 'timedOut');
  });

  test('an event published while the link was down ends the wait once the link is back', async () => {
    await using server = await startNatsServer();
    await using admin = await Admin.connect([server.url]);
    await using proxy = await TcpProxy.start(server.port);
    const stream = await admin.stream('CI');
    const wait = waiting(proxy, { timeout: '20s' });
    await wait.armed();
    proxy.cut();
    await stream.publish('a', 'gap');
    proxy.mend();
    const outcome = await wait.outcome;
    assert.equal(outcome.verdict, 'matched');
    assert.equal(outcome.deciding?.event.place?.sequence, 1);
    assert.equal(outcome.linkBreaks.count, 1);
    assert.deepEqual(await stream.consumers(), []);
  });

  test('a publish whose link is down at the deadline is a lost connection', async () => {
    await using server = await startNatsServer();
    await using open = await openBus([server.url], {}, 3_000);
    await server.kill();
    await assert.rejects(open.publishToStream('CI.a', 'id'), { code: 'ConnectionLost' });
  });

  test('a link leaves a server in lame duck mode at once, and later needs none of the configured servers', async () => {
    await using cluster = await startNatsCluster({ binary: natsServerBinary('2.10') });
    const [first, second, third] = cluster.servers as [NatsServer, NatsServer, NatsServer];
    await using admin = await Admin.connect([third.url]);
    await using open = await openBus([first.url, second.url]);
    const stream = await admin.stream('CI', { num_replicas: 3 });
    await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'now' } });
    const { seen } = reading;

    await first.lameDuck();
    await seen.until(() => seen.ups.length === 1, 'another member is found');
    assert.deepEqual(seen.downs, ['the server is shutting down (lame duck mode)']);
    await stream.publish('a', 'after the lame duck');
    await seen.count(1);
    await first.stop();

    // Two of three still have a majority; the third was never configured.
    await second.kill();
    await second.restart();
    await cluster.leaderOf('CI');
    await seen.until(() => seen.ups.length === 2, 'a member is found', 20_000);
    await stream.publish('a', 'after the crash');
    await seen.count(2, 20_000);
    assert.deepEqual(seen.payloads, ['after the lame duck', 'after the crash']);
  });

  test('the leader of the stream is killed, and then the only server that was configured', async () => {
    await using cluster = await startNatsCluster({ binary: natsServerBinary('2.15') });
    await using admin = await Admin.connect(cluster.urls);
    const stream = await admin.stream('CI', { num_replicas: 3 });
    const leader = await cluster.leaderOf('CI');
    const configured = cluster.servers.find((server) => server !== leader)!;
    await using open = await openBus([configured.url]);
    await using reading = await open.read({ subjects: ['CI.a'], start: { from: 'now' } });
    await stream.publish('a', '1');
    await reading.seen.count(1);

    await leader.kill();
    const published = open.publishToStream('CI.a', 'the-one');
    assert.equal((await published).duplicate, false);
    await reading.seen.count(2, 25_000);
    await leader.restart();
    await admin.inSync('CI', 3);

    await configured.kill();
    await reading.seen.until(() => reading.seen.ups.length > 0, 'a member learnt by gossip is found', 20_000);
    await cluster.leaderOf('CI');
    await open.publishToStream('CI.a', 'the-other');
    await reading.seen.count(3, 25_000);
    assert.deepEqual(reading.seen.sequences, [1, 2, 3]);
    assert.deepEqual(reading.seen.failures, []);
  });
});

/** A waiting step on `CI.a`. */
function waiting({ url }: { readonly url: string }, inputs: Readonly<Record<string, string>>, connected?: () => void) {
  const given = { subject: 'CI.a', startFrom: 'now', ...inputs };
  return new WaitStep([url], { inputs: given, keepsTime: true, ...(connected && { connected }) });
}
