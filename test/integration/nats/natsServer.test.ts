import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';

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

  test("that can't start, or refuses a new configuration, says why and shows its log", async () => {
    await using other = await startNatsServer();
    await assert.rejects(startNatsServer({ port: other.port }), /taken/);
    await assert.rejects(startNatsServer({ config: 'max_payload: many' }), /ended\. Its log:\n.*nats\.conf/s);
    await assert.rejects(other.reload('max_payload: many'), /refused its new configuration.*Failed to reload/s);
  });

  test("that isn't installed says how to get it", () => {
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
