import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { runBridge, runBridgeOn } from '../../support/bridge/bridgeProcess.ts';
import { configurationFile, LEAST } from '../../support/bridge/configurationFile.ts';

// Tests of what it finds on servers, and of other mistakes, are in test/integration/bridge.
describe('check', () => {
  test('--offline checks only files', async () => {
    const yaml = `nats: { servers: [nats://127.0.0.1:1], user: bridge, passwordEnv: PASSWORD }
azureDevOps: { organization: "http://127.0.0.1:1/contoso", identity: { kind: pat, patEnv: PAT } }
hooks: { passwordEnvs: [HOOK], events: [{ event: run.completed }, { event: git.pushd }, { event: custom }] }
contracts: { good: good.json, bad: bad.json, gone: gone.json }
`;
    const files = { 'good.json': '{"type":"object"}', 'bad.json': '{"type":"oject"}' };
    const { status, stdout, stderr } = await runBridge(['check', '--offline'], yaml, {
      env: { PAT: 'x', HOOK: 'short', PASSWORD: 'x' },
      files,
    });
    assert.equal(status, 1);
    const [bad = '', gone = '', ...rest] = stdout.split('\n').filter(Boolean);
    assert.match(bad, /^error: contracts\.bad: The schema file ".*bad\.json" /);
    assert.match(gone, /^error: contracts\.gone: there is no file ".*gone\.json"\. Give the path /);
    assert.deepEqual(rest, [
      'warning: hooks.passwordEnvs[0] (HOOK): it has fewer than 16 characters. Use a long random text.',
      'warning: hooks.events[1].event: the bridge knows no event "git.pushd", so it would be stored as other.<event>. Did you mean "git.push"?',
      'warning: hooks.events[2].event: the bridge knows no event "custom", so it would be stored as other.<event>. Check its name.',
    ]);
    assert.equal(stderr, '2 problems, 3 warnings.\n');
  });

  test('--offline needs none of the secrets, and checks all else', async () => {
    const yaml = `nats: { servers: [nats://127.0.0.1:1], credentialsFile: nats.creds }
azureDevOps: { organization: "https://dev.azure.com/contoso/", identity: { kind: pat, patEnv: PAT } }
hooks: { passwordFiles: [hook], events: [{ event: run.completed }] }
`;
    const offline = await runBridge(['check', '--offline'], yaml);
    assert.deepEqual(
      [offline.status, offline.stdout.replaceAll(/: .*bridge\.yml:[\d:]+/g, ':').split('\n')],
      [
        0,
        [
          'warning: nats.credentialsFile: "nats.creds" isn\'t here, so it wasn\'t checked.',
          'warning: azureDevOps.identity.patEnv: "PAT" isn\'t set here, so it wasn\'t checked.',
          'warning: hooks.passwordFiles[0]: "hook" isn\'t here, so it wasn\'t checked.',
          '',
        ],
      ],
    );
    assert.equal(offline.stderr, 'No problems, 3 warnings.\n');
    const online = await runBridge(['check'], yaml);
    assert.deepEqual([online.status, online.stderr], [1, '3 problems.\n']);
  });

  test('reports problems of the configuration itself', async () => {
    const { status, stdout, stderr } = await runBridge(['check'], 'nats: { servers: [nats://a] }\n');
    assert.equal(status, 1);
    assert.match(
      stdout,
      /^error: .*bridge\.yml:1:1: azureDevOps\.organization: is required\.\nerror: .*azureDevOps\.identity\.kind: is required\.\n$/,
    );
    assert.equal(stderr, '2 problems.\n');
  });

  test("reports a secret's file that it may not read", async () => {
    const file = configurationFile(`${LEAST}hooks: { passwordFiles: [hook], events: [{ event: git.push }] }\n`, {
      hook: 'a hook secret of some length',
    });
    chmodSync(path.join(path.dirname(file), 'hook'), 0);
    const { status, stdout } = await runBridgeOn(file, ['check'], { heedsModes: true });
    assert.equal(status, 1);
    assert.equal(
      stdout.replace(file, 'bridge.yml'),
      `error: bridge.yml:6:26: hooks.passwordFiles[0]: "hook" can't be read: this user may not read it. Name a file that the bridge's user may read.\n`,
    );
  });
});
