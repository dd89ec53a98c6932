import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { DiscardPolicy } from 'nats';
import { LocalAgent, unpackVsix } from '../../../localAgent/index.ts';
import { usersConfig } from '../../support/nats/natsAccounts.ts';
import { startNatsCluster, type NatsCluster, type NatsServer } from '../../support/nats/natsServer.ts';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  headerFields,
  publish,
  Scenario,
} from '../../support/agent/scenario.ts';
import { TcpProxy } from '../../support/nats/tcpProxy.ts';
import { Admin, type TestStream } from '../../support/nats/testStream.ts';

/** A TCP server before a NATS server that swallows the first acknowledgement of a stream; calls back when it has done so. */
async function withoutFirstAck(port: number, onSwallowed: () => void = () => {}): Promise<TcpServer> {
  let isSwallowed = false;
  const server = createServer((client) => {
    const target = createConnection(port, '127.0.0.1');
    for (const socket of [client, target]) socket.on('error', () => {});
    client.pipe(target);
    client.on('close', () => target.destroy());
    target.on('close', () => client.destroy());
    target.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      const passed = isSwallowed ? text : text.replace(/MSG \S+ \d+ +\d+\r\n\{"stream":[^\r]*\r\n/, '');
      client.write(passed, 'latin1');
      if (passed === text) return;
      isSwallowed = true;
      onSwallowed();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      await once(server.close(), 'close');
    },
  };
}

interface TcpServer extends AsyncDisposable {
  readonly url: string;
}

describe('An event is sent again with the same message id', { concurrency: 3 }, () => {
  const scene = Scenario.shared();

  it('when its ack is lost: it is stored once', async () => {
    const stream = await scene.stream();
    await using proxy = await withoutFirstAck(scene.server.port);
    const ids = await messageIdsSeen(scene, stream.subject('a'));
    const step = await publish(scene.agent({ connection: { url: proxy.url } }), {
      subject: stream.subject('a'),
      payload: '{}',
      messageId: 'once',
    });
    assertSucceeded(step);
    assert.equal(await stream.lastSequence(), 1);
    assert.deepEqual(ids, ['once', 'once']);
    assertOutputs(step, { sequence: '1', count: '1', messageId: 'once' });
  });

  it('when the link falls silent: over another one, and it is stored once', async () => {
    const stream = await scene.stream();
    await using proxy = await TcpProxy.start(scene.server.port);
    const ids = await messageIdsSeen(scene, stream.subject('a'));
    const step = await publish(
      scene.agent({ connection: { url: proxy.url } }),
      { subject: stream.subject('a'), payload: '{}', messageId: 'silent' },
      {
        onLine: ({ text }) => {
          if (text.startsWith('connected')) proxy.mute();
        },
      },
    );
    assertSucceeded(step);
    assert.equal(await stream.lastSequence(), 1);
    assert.ok(ids.length >= 1 && ids.every((id) => id === 'silent'), ids.join());
  });

  it('when the link breaks before the ack: it is stored once', async () => {
    const stream = await scene.stream();
    await using proxy = await TcpProxy.start(scene.server.port);
    await using filter = await withoutFirstAck(Number(new URL(proxy.url).port), () => {
      proxy.cut();
      proxy.mend();
    });
    const ids = await messageIdsSeen(scene, stream.subject('a'));
    const step = await publish(scene.agent({ connection: { url: filter.url } }), {
      subject: stream.subject('a'),
      payload: '{}',
      messageId: 'broken',
    });
    assertSucceeded(step);
    assert.equal(await stream.lastSequence(), 1);
    assert.deepEqual(ids, ['broken', 'broken']);
    assert.ok(step.durationMs < 5_000, `it took ${step.durationMs} ms`);
  });

  it('but never after a refusal', async () => {
    const stream = await scene.stream({ max_msgs: 1, discard: DiscardPolicy.New });
    await stream.put('a');
    const ids = await messageIdsSeen(scene, stream.subject('a'));
    const step = await publish(scene.agent(), { subject: stream.subject('a'), payload: '{}', messageId: 'refused' });
    assertFailed(step, 'StreamRefused', 'maximum messages exceeded');
    await scene.client.flush();
    assert.deepEqual(ids, ['refused']);
  });
});

/** The message ids of what is published on a subject from now on, as they come. */
async function messageIdsSeen(scene: Scenario, subject: string): Promise<string[]> {
  const ids: string[] = [];
  scene.client.subscribe(subject, {
    callback: (_error, { headers }) => {
      if (headers) ids.push(...headerFields(headers).flatMap(([name, value]) => (name === 'Nats-Msg-Id' ? value : [])));
    },
  });
  await scene.client.flush();
  return ids;
}

describe('In a cluster of three', () => {
  const password = 'pw';
  const admin = { user: 'admin', pass: password };
  let cluster: NatsCluster;
  let client: Admin;
  let replicated: TestStream;
  let single: TestStream;
  before(async () => {
    cluster = await startNatsCluster({
      config: usersConfig(
        { user: 'admin', password },
        { user: 'publisher', password, permissions: { publish: { allow: ['*.v1'] } } },
      ),
    });
    client = await Admin.connect(cluster.urls, admin);
    replicated = await client.stream('three', { num_replicas: 3 });
    single = await client.stream('one', { num_replicas: 1 });
  });
  after(async () => {
    await client[Symbol.asyncDispose]();
    await cluster.stop();
  });

  /** An agent whose service connection knows the servers, these first. */
  function agent(first: NatsServer, username = 'admin'): LocalAgent {
    const servers = [first, ...cluster.servers.filter((server) => server !== first)].map(({ url }) => url);
    return new LocalAgent({
      extension: unpackVsix(),
      connections: {
        nats: {
          url: servers[0]!,
          scheme: 'UsernamePassword',
          parameters: { username, password },
          data: { servers: servers.slice(1).join('\n') },
        },
      },
    });
  }

  it('an event waits until the stream has a leader again', async () => {
    const leader = await cluster.leaderOf('three', admin);
    const follower = cluster.servers.find((server) => server !== leader)!;
    await leader.kill();
    const step = await publish(agent(follower), { subject: 'three.v1', payload: '{}', timeout: '60s' });
    assertSucceeded(step);
    await leader.restart();
    await client.connected();
    assert.equal(await replicated.messages(), 1);
  });

  it('a stream without a leader is distinguished from a missing one if the user may look it up', async () => {
    const leader = await cluster.leaderOf('one', admin);
    const other = cluster.servers.find((server) => server !== leader)!;
    await leader.kill();
    // It may have led the cluster too, which then elects: until that is over, nobody can tell one stream from another.
    await cluster.leaderOf('three', admin);
    const inputs = { payload: '{}', subject: 'one.v1' };
    const patient = publish(agent(other), { ...inputs, timeout: '60s' });
    const [knowing, ignorant, missing] = await Promise.all([
      publish(agent(other), { ...inputs, timeout: '12s' }),
      publish(agent(other, 'publisher'), { ...inputs, timeout: '60s' }),
      publish(agent(other), { ...inputs, subject: 'nothing.v1', timeout: '60s' }),
    ]);
    await leader.restart();
    assertFailed(knowing, 'Timeout', 'the stream "one" did not answer, as one does that has no leader');
    assertFailed(ignorant, 'NoStream', 'no stream captures it, or its stream has no leader', '$JS.API.STREAM.NAMES');
    assertFailed(missing, 'NoStream', 'No stream captures the subject "nothing.v1"');
    // One that had the time to wait.
    assertSucceeded(await patient);
    await client.connected();
    assert.equal(await single.messages(), 1);
  });
});
