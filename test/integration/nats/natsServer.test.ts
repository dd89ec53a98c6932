import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, Events, type ConnectionOptions, type NatsConnection, type Status } from 'nats';
import { natsServerBinary, startNatsCluster, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';

describe('a test server', { concurrency: 2 }, () => {
  test('starts on a free port, says its version, and leaves nothing behind when it stops', async () => {
    const server = await startNatsServer();
    const connection = await connect({ servers: server.url });
    const { server_name, version } = connection.info ?? {};
    assert.deepEqual({ server_name, version }, { server_name: server.name, version: server.version });
    await connection.close();

    await server.stop();
    await server.stop();
    assert.equal(existsSync(server.storeDir), false);
    await assert.rejects(connect({ servers: server.url }), { code: 'CONNECTION_REFUSED' });
  });

  test('keeps its port and its messages over a restart and over a crash', async () => {
    await using server = await startNatsServer();
    const { url } = server;
    await withConnection(server, {}, async (connection) => {
      const manager = await connection.jetstreamManager();
      await manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
      await connection.jetstream().publish('ci.built', 'before');
    });
    await server.restart();
    assert.equal(server.url, url);
    assert.equal(await messagesIn(server, 'CI'), 1);
    await server.kill();
    await assert.rejects(connect({ servers: url }), { code: 'CONNECTION_REFUSED' });
    await server.restart();
    assert.equal(await messagesIn(server, 'CI'), 1);
  });

  test('answers nothing while it is paused, and everything when it is resumed', async () => {
    await using server = await startNatsServer();
    await withConnection(server, {}, async (connection) => {
      await server.pause();
      const answer = connection.rtt();
      assert.equal(await Promise.race([answer, delay(150, 'silence')]), 'silence');
      server.resume();
      assert.ok((await answer) > 100);
    });
  });

  test('tells its clients to leave when it becomes a lame duck', async () => {
    await using server = await startNatsServer();
    await withConnection(server, { reconnect: false }, async (connection) => {
      const told = firstStatus(connection, Events.LDM);
      await server.lameDuck();
      await told;
    });
  });

  test('takes a new configuration without a restart, and says why it refuses a wrong one', async () => {
    await using server = await startNatsServer();
    await server.reload('max_payload: 1000');
    await withConnection(server, {}, async ({ info }) => assert.equal(info?.max_payload, 1000));
    await assert.rejects(server.reload('max_payload: many'), /refused its new configuration.*max_payload/s);
  });

  test('that cannot start says why, with its log', async () => {
    await using other = await startNatsServer();
    await assert.rejects(startNatsServer({ port: other.port }), /taken/);
    await assert.rejects(startNatsServer({ config: 'max_payload: many' }), /ended\. Its log:\n.*nats\.conf/s);
  });

  test('that is missing says how to get one', () => {
    const saved = { ...process.env };
    process.env['NATS_SERVER_BINARY'] = '/nowhere/nats-server';
    process.env['NATS_SERVER_2_10'] = '/nowhere/nats-server';
    try {
      assert.throws(() => natsServerBinary(), /\/nowhere\/nats-server.*apt-get install nats-server/);
      assert.throws(() => natsServerBinary('2.10'), /npm run nats-servers.*NATS_SERVER_2_10/);
    } finally {
      process.env = saved;
    }
  });

  for (const [how, signal] of [
    ['ends without stopping it', undefined],
    ['is told to end', 'SIGTERM'],
    ['is killed', 'SIGKILL'],
  ] as const) {
    test(`does not outlive a test process that ${how}`, async (t) => {
      const TMPDIR = mkdtempSync(join(tmpdir(), 'outlived-'));
      t.after(() => rmSync(TMPDIR, { recursive: true }));
      const module = new URL('../../support/nats/natsServer.ts', import.meta.url).href;
      const program = `const { startNatsServer } = await import('${module}');
        process.stdout.write(String((await startNatsServer()).port));
        ${signal ? 'setInterval(() => {}, 1000);' : ''}`;
      const owner = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, TMPDIR },
      });
      const ended = once(owner, 'exit');
      const port = Number((await once(owner.stdout, 'data'))[0]);
      assert.ok(port > 0);
      if (signal) {
        assert.equal(await accepts(port), true);
        owner.kill(signal);
      }
      await ended;
      for (const deadline = Date.now() + 5000; Date.now() < deadline && (await accepts(port));) await delay(20);
      assert.equal(await accepts(port), false);
    });
  }
});

test('a cluster of three keeps a stream through the death and the return of its leader', async () => {
  await using cluster = await startNatsCluster();
  assert.equal(cluster.servers.length, 3);
  const connection = await connect({ servers: cluster.urls, reconnectTimeWait: 100 });
  const manager = await connection.jetstreamManager();
  await manager.streams.add({ name: 'CI', subjects: ['ci.>'], num_replicas: 3 });
  await connection.jetstream().publish('ci.built', 'before');

  const leader = await cluster.leaderOf('CI');
  await leader.kill();
  const heir = await cluster.leaderOf('CI');
  assert.notEqual(heir.name, leader.name);
  const receipt = await connection.jetstream().publish('ci.built', 'after');
  assert.equal(receipt.seq, 2);

  await leader.restart();
  assert.equal((await manager.streams.info('CI')).state.messages, 2);
  await connection.close();
});

async function withConnection(
  server: NatsServer,
  options: ConnectionOptions,
  use: (connection: NatsConnection) => Promise<void>,
): Promise<void> {
  const connection = await connect({ ...options, servers: server.url });
  try {
    await use(connection);
  } finally {
    await connection.close();
  }
}

async function messagesIn(server: NatsServer, stream: string): Promise<number> {
  const connection = await connect({ servers: server.url });
  const { state } = await (await connection.jetstreamManager()).streams.info(stream);
  await connection.close();
  return state.messages;
}

async function firstStatus(connection: NatsConnection, type: Events): Promise<Status> {
  for await (const status of connection.status()) if (status.type === type) return status;
  throw new Error(`The connection ended without the status ${type}.`);
}

async function accepts(port: number): Promise<boolean> {
  const socket = createConnection({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
