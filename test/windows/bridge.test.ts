import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { BridgeProcess, NODE_VERSIONS, runBridgeOn, type BridgeOptions } from '../support/bridge/bridgeProcess.ts';
import { BUILD, hookBody, SHOP } from '../support/bridge/hookPosts.ts';
import { startNatsServer } from '../support/nats/natsServer.ts';
import { Admin } from '../support/nats/testStream.ts';
import { Windows } from '../support/windows/windows.ts';

const windows = new Windows();
const HOOK_SECRET = 'a hook secret of some length';

/** The configuration of a bridge that takes hooks, in a folder on `C:` with its secrets in files. */
function configured(nats: string): string {
  const folder = windows.newFolder('bridge-');
  mkdirSync(path.join(folder, 'secrets'));
  writeFileSync(path.join(folder, 'secrets', 'pat'), 'bridge-test-pat\r\n');
  writeFileSync(path.join(folder, 'secrets', 'hook'), `${HOOK_SECRET}\r\n`);
  const file = path.join(folder, 'bridge.yml');
  const yaml = `nats: { servers: [${nats}] }
azureDevOps:
  organization: http://127.0.0.1:1/contoso
  identity: { kind: pat, patFile: 'secrets\\pat' }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
hooks: { passwordFiles: ['${windows.pathOf(path.join(folder, 'secrets', 'hook'))}'], sharedSecret: true, events: [{ event: build.complete }] }
timing: { configuration: 50ms, secretFile: 50ms }
`;
  writeFileSync(file, yaml.replaceAll('\n', '\r\n'));
  return file;
}

async function post(bridge: BridgeProcess, id: string, secret = HOOK_SECRET): Promise<Response> {
  const authorization = `Basic ${Buffer.from(`hooks:${secret}`).toString('base64')}`;
  const body = hookBody('build.complete', BUILD, { id, resourceContainers: { project: { id: SHOP.id } } });
  return fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', body, headers: { authorization } });
}

for (const node of NODE_VERSIONS) {
  test(`a bridge on Windows starts, stores a hook, and stops on Ctrl+C, on Node ${node}`, async () => {
    await using server = await startNatsServer();
    const options: BridgeOptions = { node, windows };
    const file = configured(server.url);
    const applied = await runBridgeOn(file, ['setup', '--apply'], options);
    assert.equal(applied.status, 0, applied.stderr);
    await using bridge = await BridgeProcess.startOn(file, options);
    await bridge.ready(200);
    assert.equal((await bridge.logged('starting'))['configuration'], windows.pathOf(file));
    assert.equal((await post(bridge, 'one', 'another secret')).status, 401);
    const answer = await post(bridge, 'one');
    assert.deepEqual([answer.status, ((await answer.json()) as { sequence: number }).sequence], [200, 1]);
    // A secret is read again after its file has changed.
    const newer = 'a newer secret of some length';
    bridge.write(`${newer}\r\n`, 'secrets/hook');
    await bridge.until('sign-in by the newer secret', async () =>
      (await post(bridge, 'two', newer)).status === 200 ? true : undefined,
    );

    bridge.signal('SIGINT');
    await bridge.logged('stopped');
    assert.equal(await bridge.ended, 0);
    const [stopping, stopped] = bridge.lines.slice(-2);
    assert.deepEqual([stopping?.event, stopping?.['reason'], stopped?.event], ['stopping', 'SIGINT', 'stopped']);
    assert.doesNotMatch(bridge.text, /bridge-test-pat|hook secret of/);

    await using admin = await Admin.connect([server.url]);
    for (const [index, id] of ['one', 'two'].entries()) {
      const { header } = await admin.manager.streams.getMessage('AZDO', { seq: index + 1 });
      assert.equal(header.get('ce-id'), id);
    }
  });

  test(`a bridge on Windows reports the problems of its configuration, on Node ${node}`, async () => {
    const file = configured('nats://127.0.0.1:1');
    const secret = path.join(path.dirname(file), 'secrets', 'hook');
    rmSync(secret);
    const { status, stderr } = await runBridgeOn(file, ['run'], { node, windows });
    assert.equal(status, 2);
    const place = `${windows.pathOf(file)}:6:`;
    assert.ok(stderr.startsWith(place) && stderr.includes(JSON.stringify(windows.pathOf(secret))), stderr);
  });
}

// Wine has no Ctrl+Break and can't close a console like Windows, so a preloaded module emits the signal.
for (const signal of ['SIGBREAK', 'SIGHUP']) {
  test(`a bridge on Windows stops on ${signal}`, async () => {
    const file = configured('nats://127.0.0.1:1');
    const folder = path.dirname(file);
    const come = JSON.stringify(windows.pathOf(path.join(folder, 'come')));
    const look = `if (require('fs').existsSync(${come})) process.emit('${signal}', '${signal}')`;
    writeFileSync(path.join(folder, 'signal.cjs'), `setInterval(() => { ${look} }, 50).unref();`);
    const env = { NODE_OPTIONS: `--require ./signal.cjs` };
    await using bridge = await BridgeProcess.startOn(file, { windows, env });
    bridge.write('', 'come');
    assert.equal((await bridge.logged('stopping'))['reason'], signal);
    assert.equal(await bridge.ended, 0);
  });
}
