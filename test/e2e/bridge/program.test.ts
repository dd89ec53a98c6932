import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { NOT_ASKED } from '../../../bridge/azureDevOps/client.ts';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { BridgeProcess, NODE_VERSIONS, runBridge, runBundle } from '../../support/bridge/bridgeProcess.ts';
import { setUp } from '../../support/bridge/commandsHere.ts';
import { BUILD, hookBody, SHOP } from '../../support/bridge/hookPosts.ts';
import { basic, SECRET, signedIn } from '../../support/bridge/hookReceiver.ts';
import { json, startFakeServer } from '../../support/bridge/fakeServer.ts';
import { BRIDGE_FOLDER, readJson } from '../../../scripts/build/manifest.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { tokenConfig, usersConfig } from '../../support/nats/natsAccounts.ts';

const USER = { authenticatedUser: { id: '11111111-2222-3333-4444-555555555555' } };

/** A configuration with free ports and frequent looks at what may change. */
function configuration(nats: string, organization = 'http://127.0.0.1:1/contoso', more = ''): string {
  return `nats:
  servers: [${nats}]
azureDevOps:
  organization: ${organization}
  identity: { kind: pat, patEnv: PAT }
http: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }
timing: { configuration: 50ms, secretFile: 50ms, readiness: 10ms, selfCheck: 300ms }
${more}`;
}

const env = { PAT: 'program-test-pat' };

describe('A bridge', () => {
  for (const node of NODE_VERSIONS) {
    test(`starts, becomes ready, and stops on Node ${node}`, async (t) => {
      await using server = await startNatsServer();
      const { port } = await startFakeServer(t, (_, response) => json(response, 200, USER));
      const yaml = configuration(server.url, `http://127.0.0.1:${port}/contoso`);
      const applied = await runBridge(['setup', '--apply'], yaml, { env, node });
      assert.equal(applied.status, 0, applied.stderr);

      await using bridge = await BridgeProcess.start(yaml, { env, node });
      const asked = await bridge.until('an answer of Azure DevOps', async () => {
        const ready = await bridge.ready(200);
        return ready['azureDevOps'] === NOT_ASKED ? undefined : ready;
      });
      assert.deepEqual(asked, {
        status: 'ready',
        nats: 'up',
        streams: { BRIDGE_AUDIT: 'ok', BRIDGE_DEAD: 'ok' },
        azureDevOps: 'ok',
      });
      assert.deepEqual(await bridge.admin('/healthz').then(({ status, text }) => [status, text]), [
        200,
        '{"status":"ok"}',
      ]);
      assert.equal(await bridge.metric('nats_up'), 1);
      assert.equal(await bridge.until('self-check', () => bridge.metric('check_problems')), 0);
      const page = await bridge.admin('/');
      assert.match(page.headers.get('content-security-policy') ?? '', /^default-src 'none'; style-src 'sha256-[^']+';/);
      assert.match(page.text, /<span class="good">ready<\/span>/);
      assert.match(page.text, /<span class="good">personal access token, accepted at the last self-check<\/span>/);
      assert.equal((await bridge.admin('/nothing')).status, 404);
      assert.equal((await fetch(`${bridge.publicUrl}/nothing`)).status, 404);

      bridge.signal('SIGTERM');
      assert.equal(await bridge.ended, 0);
      const { version } = readJson('package.json') as { version: string };
      const checks = bridge.lines.filter(({ event }) => event === 'check');
      // An older server can't tell what its user may do.
      assert.deepEqual(
        [...new Set(checks.map(({ level, about }) => `${level} ${String(about)}`))],
        server.version.startsWith('2.9.') ? ['warning permissions of the user'] : [],
      );
      const others = bridge.lines.filter(({ event }) => event !== 'check');
      assert.deepEqual(
        others.map(({ level, event }) => `${level} ${event}`),
        ['info starting', 'info listening', 'info nats', 'info serving', 'info stopping', 'info stopped'],
      );
      assert.equal(bridge.lines[0]?.['version'], version);
      assert.doesNotMatch(bridge.text + page.text, /program-test-pat/);
    });

    test(`reports the problems of its configuration, and exits with 2 on Node ${node}`, async () => {
      const yaml =
        'nats:\n  servers: [nats://a]\n  tokenFil: x\nazureDevOps:\n  organization: http://contoso.example/c\n';
      const { status, stdout, stderr } = await runBridge(['run'], yaml, { node });
      assert.equal(status, 2);
      assert.equal(stdout, '');
      assert.deepEqual(
        stderr
          .trim()
          .split('\n')
          .map((line) => line.replace(/^.*\/bridge\.yml:/, '')),
        [
          '3:3: nats.tokenFil: is not a key that the bridge knows. The nearest one is "tokenFile".',
          '4:1: azureDevOps.identity.kind: is required.',
          '5:17: azureDevOps.organization: "http://contoso.example/c" is not encrypted. Use https://; only this machine itself may be http://.',
        ],
      );
    });
  }

  test('shows its version and commands, and reports an unknown command', () => {
    const { version } = readJson('package.json') as { version: string };
    assert.deepEqual([runBundle(['--version']).status, runBundle(['--version']).stdout], [0, `${version}\n`]);
    assert.match(runBundle(['--help']).stdout, /^Event Bridge for NATS: [^]*deadLetters show N/);
    const unknown = runBundle(['fly']);
    assert.deepEqual([unknown.status, unknown.stdout], [2, '']);
    assert.match(unknown.stderr, /^There is no command "fly"\.\nSee nats-event-bridge --help\.\n$/);
  });

  test('waits for NATS, and is ready when it comes and when it comes back', async () => {
    await using server = await startNatsServer({ maxPayload: 1_024 * 1_024 });
    const often = configuration(server.url).replace('selfCheck: 300ms', 'selfCheck: 1h, selfCheckRetry: 100ms');
    const yaml = `${often}hooks: { passwordEnvs: [PAT] }\n`;
    await setUp(yaml, { env });
    await server.kill();
    await using bridge = await BridgeProcess.start(yaml, { env });
    assert.equal((await bridge.ready(503))['status'], 'starting');
    // At the first try that failed, not only when the bridge gives up on this round of them.
    assert.match(
      String((await bridge.logged('nats'))['text']),
      /^Cannot connect to NATS yet: 127\.0\.0\.1:\d+ refused the connection \(ECONNREFUSED\)\. Check .* Trying again\.$/,
    );
    const down = /NATS is <span class="bad">down: 127\.0\.0\.1:\d+ refused the connection \(ECONNREFUSED\)</;
    assert.match((await bridge.admin('/')).text, down);
    const refused = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', body: '{}' });
    assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '2']);
    assert.match(await refused.text(), /The bridge is starting, and has no connection to NATS yet\. Send it again\./);
    await server.restart();
    await bridge.ready(200);
    const checks = (from: number) =>
      bridge.lines
        .slice(from)
        .filter(({ event }) => event.startsWith('check'))
        .map(({ event, about }) => `${event} ${String(about)}`);
    await bridge.until('a self-check', () => (checks(0).includes('check max_payload') ? true : undefined));
    const from = bridge.lines.length;
    await server.kill();
    // The loss of a stream may be noticed before that of the link.
    await bridge.until('/readyz without NATS', async () => {
      const { status, text } = await bridge.admin('/readyz');
      const { nats } = JSON.parse(text) as { nats: string };
      return status === 503 && nats === 'down' ? true : undefined;
    });
    await bridge.until('the reason on the page', async () =>
      down.test((await bridge.admin('/')).text) ? true : undefined,
    );
    // It can't know whether anything about NATS has changed.
    await bridge.until('a self-check without NATS', () => (checks(from).length > 0 ? true : undefined));
    assert.match((await bridge.admin('/')).text, /NATS: it can&#39;t be reached, [^]*max_payload: the server takes no/);
    assert.equal(await bridge.metric('check_problems'), 3);
    await server.restart();
    await bridge.ready(200);
    await bridge.until('a self-check', () => (checks(from).length > 1 ? true : undefined));
    assert.deepEqual(checks(from), ['check NATS', 'checkFixed NATS']);
  });

  test('can be stopped while it waits for NATS', async () => {
    await using bridge = await BridgeProcess.start(configuration('nats://127.0.0.1:1'), { env });
    bridge.signal('SIGINT');
    assert.equal(await bridge.ended, 0);
  });

  test('exits with 1 and the reason if NATS refuses its sign-in, or its port is taken', async () => {
    await using server = await startNatsServer({ config: tokenConfig('the right token') });
    await using refused = await BridgeProcess.start(configuration(server.url), { env });
    assert.equal(await refused.ended, 1);
    assert.match(String((await refused.logged('failed'))['reason']), /^Denied: Cannot connect to NATS: /);

    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    await using late = await BridgeProcess.start(
      configuration(server.url).replace('admin: 127.0.0.1:0', `admin: 127.0.0.1:${port}`),
      { env },
    );
    assert.equal(await late.ended, 1);
    assert.match(
      String((await late.logged('failed'))['reason']),
      /^listen EADDRINUSE: .+:\d+\. Stop the program that uses this address, or change http\.admin\.$/,
    );
    holder.close();
  });

  test('is not ready while NATS takes none of its hooks, and says who may not post any', async () => {
    const config = (...deny: string[]) =>
      usersConfig({ user: 'bridge', password: 'pw', permissions: { publish: { deny } } });
    await using server = await startNatsServer({ config: config() });
    const secrets = { ...env, NATS: 'pw', SECRET };
    const yaml = `${configuration(server.url).replace('azureDevOps:', '  user: bridge\n  passwordEnv: NATS\nazureDevOps:')}
hooks: { passwordEnvs: [SECRET], events: [{ event: build.complete }] }
`;
    await setUp(yaml, { env: secrets });
    await using bridge = await BridgeProcess.start(yaml, { env: secrets });
    await bridge.ready(200);
    const body = hookBody('build.complete', BUILD, { resourceContainers: { project: { id: SHOP.id } } });
    const post = async (headers: Record<string, string>) =>
      (await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', headers, body })).status;
    assert.equal(await post(signedIn(SHOP.id)), 200);
    await server.reload(config('azdo.>'));
    await bridge.until('a refused hook', async () => ((await post(signedIn(SHOP.id))) === 503 ? true : undefined));
    const { status, streams } = (await bridge.ready(503)) as { status: string; streams: Record<string, string> };
    const denied = 'no permission to publish to azdo.contoso.Shop.build.completed.v1';
    assert.deepEqual([status, streams['AZDO']], ['unavailable', denied]);
    assert.ok((await bridge.admin('/')).text.includes(denied));
    const { text } = await bridge.admin('/metrics');
    assert.match(text, /hooks_received_total\{event="build.completed",outcome="unavailable"\} [1-9]/);
    await server.reload(config());
    await bridge.ready(200);

    assert.equal(await post(basic('nobody', 'x')), 401);
    await bridge.until('the address of the caller', () =>
      bridge.text.includes('The sign-in of an unknown caller to /hooks from 127.0.0.1 was refused.') ? true : undefined,
    );
  });

  test('is degraded but ready while Azure DevOps refuses its sign-in', async (t) => {
    await using server = await startNatsServer();
    let status = 401;
    const { port } = await startFakeServer(t, (_, response) => json(response, status, USER));
    const yaml = configuration(server.url, `http://127.0.0.1:${port}/contoso`);
    await setUp(yaml, { env });
    await using bridge = await BridgeProcess.start(yaml, { env });
    await bridge.until('degraded', async () => {
      const ready = await bridge.ready(200);
      return ready['status'] === 'degraded' ? ready : undefined;
    });
    assert.equal(
      await bridge.until('problem', async () => ((await bridge.metric('check_problems')) === 1 ? 1 : undefined)),
      1,
    );
    status = 200;
    await bridge.until('ready', async () => ((await bridge.ready(200))['status'] === 'ready' ? true : undefined));
  });
});

describe('A bridge with a changed configuration', () => {
  test('applies it if it is valid, otherwise keeps the last good one, and says what needs a restart', async () => {
    await using server = await startNatsServer();
    const yaml = configuration(server.url).replace('selfCheck: 300ms', 'selfCheck: 1h, selfCheckRetry: 300ms');
    await setUp(yaml, { env });
    await using bridge = await BridgeProcess.start(yaml, { env });
    await bridge.ready(200);
    assert.equal(await bridge.metric('config_reload_failed'), 0);

    bridge.write(yaml.replace('azureDevOps:', 'azureDevop:'));
    await bridge.until('reason', () =>
      bridge.text.includes('bridge.yml:3:1: azureDevop: is not a key') ? true : undefined,
    );
    await bridge.logged('configurationReloadFailed');
    assert.equal(await bridge.metric('config_reload_failed'), 1);
    await bridge.ready(200);
    const { text: page } = await bridge.admin('/');
    assert.match(page, /The changed configuration is not in use<.*<br>.*:3:1: azureDevop: is not a key/);

    // The fix may be in another file than the configuration.
    bridge.write(`${yaml}contracts: { one: one.json }\nsigningKeyFile: signing-key\n`);
    await bridge.until('reason', () => (bridge.text.includes('signing-key\\" can\'t be read') ? true : undefined));
    bridge.write('SUAGIEYODKBBTUMOB666Z5KA4FCWAZV7HWSGRHOD7MK6UM5IYLWLACH7DQ\n', 'signing-key');
    await bridge.until('reason', () => (/there is no file \\".*one\.json/.test(bridge.text) ? true : undefined));
    const from = bridge.lines.length;
    bridge.write('{ "type": "object" }', 'one.json');
    await bridge.logged('configurationReloaded', from);
    assert.equal(await bridge.metric('config_reload_failed'), 0);
    assert.doesNotMatch((await bridge.admin('/')).text, /The changed configuration/);

    // The new configuration needs another stream, so /readyz shows which one is in use.
    bridge.write(`${yaml}hooks: { passwordEnvs: [PAT] }\n`.replace('listen: 127.0.0.1:0', 'listen: 127.0.0.1:1'));
    await bridge.until('stream', async () =>
      (await bridge.admin('/readyz')).text.includes('AZDO') ? true : undefined,
    );
    assert.equal(await bridge.metric('config_reload_failed'), 0);
    const { streams } = (await bridge.ready(503)) as { streams: Record<string, string> };
    assert.equal(streams['AZDO'], 'stream not found');
    // The next self-check is due in an hour, but a new configuration or an error brings it forward.
    const checks = () =>
      bridge.lines.filter(({ event, about }) => event.startsWith('check') && about === 'stream AZDO');
    await bridge.until('a self-check', () => checks()[0]);
    await setUp(`${yaml}hooks: { passwordEnvs: [PAT] }\n`, { env });
    await bridge.until('a self-check without that error', () => checks().find(({ event }) => event === 'checkFixed'));
    assert.deepEqual(
      checks().map(({ level, event }) => `${level} ${event}`),
      ['error check', 'info checkFixed'],
    );
    assert.deepEqual(
      bridge.lines.filter(({ event }) => event === 'restartNeeded').map(({ section, keys }) => [section, keys]),
      [['http', 'http.listen']],
    );
    assert.equal((await fetch(`${bridge.publicUrl}/nothing`)).status, 404);

    // With what it runs with, nothing needs a restart.
    const before = bridge.lines.length;
    bridge.write(`${yaml}hooks: { passwordFiles: [hook-secret] }\n`);
    bridge.write('a secret of some length', 'hook-secret');
    await bridge.logged('configurationReloaded', before);
    assert.ok(bridge.lines.slice(before).every(({ event }) => event !== 'restartNeeded'));
    assert.equal((await bridge.logged('restartNotNeeded', before))['section'], 'http');
    // No hook comes that would use the secret.
    bridge.write('too short', 'hook-secret');
    const reloaded = await bridge.logged('secretReloaded', before);
    assert.match(String(reloaded['secret']), /^hooks\.passwordFiles\[0\] \(.*hook-secret\)$/);
    const short = await bridge.until('a warning', () =>
      bridge.lines.slice(before).find(({ problem }) => problem === 'it has fewer than 16 characters'),
    );
    assert.deepEqual([short.level, short.event, short['about']], ['warning', 'check', reloaded['secret']]);
    bridge.write('', 'hook-secret');
    const failed = await bridge.logged('secretReloadFailed', before);
    assert.match(String(failed['secret']), /^hooks\.passwordFiles\[0\] \(.*hook-secret\)$/);
    assert.equal(await bridge.metric('config_reload_failed'), 1);
    // A configuration without it leaves nothing to fix.
    const gone = bridge.lines.length;
    bridge.write(yaml);
    await bridge.logged('configurationReloaded', gone);
    assert.equal(await bridge.metric('config_reload_failed'), 0);

    // A change of which nothing can be taken isn't called taken.
    const waiting = bridge.lines.length;
    bridge.write(yaml.replace('http: {', 'http: { publicUrl: "https://bridge.example.com/",'));
    assert.equal((await bridge.logged('restartNeeded', waiting))['keys'], 'http.publicUrl');
    assert.match(
      (await bridge.admin('/')).text,
      /Restart needed<\/span>: the bridge still has the earlier http\.publicUrl</,
    );
    bridge.write(yaml);
    await bridge.logged('restartNotNeeded', waiting);
    assert.ok(bridge.lines.slice(waiting).every(({ event }) => event !== 'configurationReloaded'));
    assert.doesNotMatch((await bridge.admin('/')).text, /Restart needed/);
  });

  test('keeps working after an update removed its files, even at what it does for the first time', async () => {
    await using server = await startNatsServer();
    const folder = temporaryFolder('updated-');
    cpSync(BRIDGE_FOLDER, folder, { recursive: true });
    const yaml = configuration(server.url);
    const options = { env, folder };
    assert.equal((await runBridge(['setup', '--apply'], yaml, options)).status, 0);
    await using bridge = await BridgeProcess.start(yaml, options);
    await bridge.logged('serving');
    rmSync(folder, { recursive: true });

    bridge.write('{ "unevaluatedProperties": false }', 'one.json');
    const withToken = yaml.replace('kind: pat, patEnv: PAT', 'kind: managedIdentity');
    bridge.write(`${withToken.replace('timing: {', 'timing: { azureDevOps: 1s,')}contracts: { one: one.json }\n`);
    await bridge.logged('configurationReloaded');
    await bridge.until('attempt to sign in', () => (bridge.text.includes('There is no token') ? true : undefined));
    assert.doesNotMatch(bridge.text, /Cannot find/);
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0);
  });

  test("signs in to NATS with the secret's current value", async () => {
    await using server = await startNatsServer({ config: tokenConfig('first token') });
    const yaml = configuration(server.url).replace('azureDevOps:', '  tokenFile: token\nazureDevOps:');
    const options = { env, files: { token: 'first token\n' } };
    await setUp(yaml, options);
    await using bridge = await BridgeProcess.start(yaml, options);
    await bridge.ready(200);
    await server.reload(tokenConfig('second token'));
    await bridge.ready(503);
    bridge.write('', 'token');
    await bridge.logged('secretReloadFailed');
    assert.equal(await bridge.metric('config_reload_failed'), 1);
    assert.match(
      (await bridge.admin('/')).text,
      /nats\.tokenFile.* is empty\. Its last good content has been used for/,
    );
    bridge.write('second token\n', 'token');
    await bridge.ready(200);
    await bridge.logged('secretReloaded');
    assert.equal(await bridge.metric('config_reload_failed'), 0);
    assert.doesNotMatch(bridge.text, /(first|second) token/);

    // Nobody uses the token while the link holds.
    const from = bridge.lines.length;
    bridge.write('', 'token');
    const { reason } = await bridge.logged('secretReloadFailed', from);
    assert.equal(reason, 'is empty');
    bridge.write('second token\n', 'token');
    await bridge.logged('secretReloaded', from);
    assert.equal(bridge.lines.slice(from).filter(({ event }) => event === 'secretReloadFailed').length, 1);
  });
});
