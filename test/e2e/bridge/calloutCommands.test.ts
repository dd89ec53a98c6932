import assert from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { runBridge, runBridgeOn, runBundle } from '../../support/bridge/bridgeProcess.ts';
import { runHere } from '../../support/bridge/commandsHere.ts';
import { policyFor } from '../../support/bridge/calloutBridge.ts';
import { startTokenIssuer } from '../../support/identity/tokenIssuer.ts';

const issuer = await startTokenIssuer();
after(() => issuer.stop());

/** A folder with the keys, the policy and the configuration of a callout whose NATS is unreachable. */
async function folderWith(policy: object = policyFor(issuer), more = ''): Promise<string> {
  const folder = temporaryFolder('callout-');
  assert.equal((await runHere(['callout', 'keys', folder], 'none')).status, 0);
  writeFileSync(path.join(folder, 'policy.json'), JSON.stringify(policy));
  writeFileSync(
    path.join(folder, 'bridge.yml'),
    `nats: { servers: ['nats://127.0.0.1:1'], nkeySeedFile: responder.nk }
timing: { connect: 300ms }
callout: { accountKeyFile: issuer.nk, xkeySeedFile: xkey.nk, policyFile: policy.json }
${more}`,
  );
  return folder;
}

async function tryToken(token: string, policy?: object) {
  const folder = await folderWith(policy);
  const file = path.join(folder, 'token.txt');
  writeFileSync(file, `${token}\n`);
  const run = await runBridgeOn(path.join(folder, 'bridge.yml'), ['callout', 'try', '--token-file', file]);
  for (const part of token.split('.')) assert.ok(part === '' || !`${run.stdout}${run.stderr}`.includes(part));
  return { ...run, lines: run.stdout.trimEnd().split('\n') };
}

describe('callout try', () => {
  test('shows what a token would get, and why', async () => {
    const exp = Math.floor(Date.now() / 1_000) + 300;
    const { status, lines, stderr } = await tryToken(
      await issuer.connection('sc://my-organisation/my shop/nats', { exp }),
    );
    assert.equal(status, 0, stderr);
    const project = 'my-shop~20a0fbc1d2d8a47a5aa6a4d1';
    assert.deepEqual(
      lines.map((line) => line.replaceAll(/my-shop~[0-9a-f]{24}/g, project)),
      [
        'allowed: by issuers[0].rules[0]',
        `issuer: ${issuer.issuers.azureDevOps}`,
        'sub: sc://my-organisation/my shop/nats',
        'owner: sc://my-organisation/my shop/nats',
        'roles: none',
        'groups: none',
        'account: CI',
        'user: sc://my-organisation/my shop/nats',
        `until: ${new Date(exp * 1_000).toISOString()}`,
        `publish: ci.${project}.>`,
        `publish: $JS.API.STREAM.INFO.CI_${project}`,
        `publish: $JS.API.CONSUMER.CREATE.CI_${project}.*.ci.${project}.>`,
        `publish: $JS.API.CONSUMER.MSG.NEXT.CI_${project}.*`,
        `publish: $JS.API.CONSUMER.DELETE.CI_${project}.*`,
        `subscribe: _INBOX.${project}.>`,
        'issuers[0].rules[0]: matches',
      ],
    );
  });

  test('says for each rule why it does not match', async () => {
    const { status, lines } = await tryToken(
      await issuer.token('entraV2', { roles: ['nats.read.ci'], name: 'Zoë\u202e' }),
    );
    assert.equal(status, 1);
    assert.equal(lines[0], 'denied: no rule of the policy matches');
    assert.ok(lines.some((line) => line.startsWith('owner: Zoë\\u{202e} (object ')));
    assert.deepEqual(lines.slice(-3), [
      'issuers[1].rules[0]: roles lacks "nats.publish.ci.shop"',
      'issuers[1].rules[1]: roles lacks "nats.publish.ci.shop"',
      'issuers[1].rules[2]: roles lacks "nats.read.ci.shop"',
    ]);
  });

  test('says what keeps a rule that matches from granting anything', async () => {
    const policy = policyFor(issuer, {
      azureDevOps: [{ sub: 'sc://my-organisation/*/nats', account: '{projectId}', publish: [], subscribe: [] }],
    });
    const { status, lines } = await tryToken(await issuer.connection('sc://my-organisation/shop/nats'), policy);
    const reason = 'the token has no value for {projectId} of issuers[0].rules[0]';
    assert.deepEqual(
      [status, lines[0], ...lines.slice(-2)],
      [
        1,
        `denied: ${reason}`,
        `issuers[0].rules[0]: matches, but grants nothing: ${reason}`,
        'issuers[0].rules[1]: matches, but issuers[0].rules[0] comes first',
      ],
    );
  });

  test('says why a token is refused', async () => {
    const { status, lines } = await tryToken(await issuer.connection('sc://a/b/c', { aud: 'another' }));
    assert.equal(status, 1);
    assert.match(lines[0]!, /^denied: the token is for someone else/);
    assert.match((await tryToken('abc')).lines[0]!, /^denied: what the client sent is not a JWT/);
  });

  test("says what a token would get if its issuer's keys can't be fetched, marked as unverified", async () => {
    const away = {
      rules: policyFor(issuer).issuers[0]!.rules,
      audience: 'api://away',
      issuer: 'http://127.0.0.1:1/away',
    };
    const token = await issuer.connection('sc://my-organisation/shop/nats', { iss: away.issuer, aud: away.audience });
    const { status, lines, stderr } = await tryToken(token, { issuers: [away] });
    assert.equal(status, 1);
    assert.match(lines[0]!, /^denied: there are no keys for http:\/\/127\.0\.0\.1:1\/away: .*ECONNREFUSED/);
    const unverified = lines.filter((line) => line.startsWith('unverified: '));
    assert.deepEqual(lines.slice(3), unverified);
    assert.equal(unverified[0], 'unverified: allowed: by issuers[0].rules[0]');
    assert.ok(unverified.includes('unverified: publish: ci.shop.>'), lines.join('\n'));
    assert.match(stderr, /are found at http:\/\/127\.0\.0\.1:1\/away\/\.well-known\/openid-configuration: run this/);
    const expired = await tryToken(
      await issuer.connection('sc://a/b/c', { iss: away.issuer, aud: away.audience, exp: 1 }),
      { issuers: [away] },
    );
    assert.ok(expired.lines.includes('unverified: denied: the token has expired'), expired.stdout);
  });

  test('refuses a missing token file and a missing option', async () => {
    const file = path.join(await folderWith(), 'bridge.yml');
    const missing = await runBridgeOn(file, ['callout', 'try', '--token-file', '/nowhere']);
    assert.deepEqual([missing.status, missing.stdout], [1, '']);
    assert.match(missing.stderr, /The file of --token-file can't be read: it doesn't exist/);
    const usage = await runBridgeOn(file, ['callout', 'try']);
    assert.deepEqual([usage.status, usage.stdout], [2, '']);
  });
});

test('callout keys writes files that only their owner may read, and never replaces any', () => {
  const folder = temporaryFolder('callout-');
  const { status, stdout } = runBundle(['callout', 'keys', folder]);
  assert.equal(status, 0);
  assert.match(stdout, /^issuer\.nk A[A-Z2-7]{55}\nxkey\.nk X[A-Z2-7]{55}\nresponder\.nk U[A-Z2-7]{55}\n$/);
  assert.deepEqual(readdirSync(folder).sort(), ['issuer.nk', 'responder.nk', 'xkey.nk']);
  for (const file of readdirSync(folder)) assert.equal(statSync(path.join(folder, file)).mode & 0o777, 0o600);
  const again = runBundle(['callout', 'keys', folder]);
  assert.deepEqual([again.status, again.stdout], [1, '']);
  assert.match(again.stderr, /There are keys in .* already\. Name another folder/);
});

describe('check', () => {
  test("checks the policy and each issuer's keys", async () => {
    const dead = { ...policyFor(issuer) } as { issuers: object[] };
    dead.issuers.push({ issuer: 'http://127.0.0.1:1', audience: 'x', rules: [] });
    const folder = await folderWith(dead);
    const offline = await runBridgeOn(path.join(folder, 'bridge.yml'), ['check', '--offline']);
    assert.deepEqual([offline.status, offline.stdout], [0, '']);
    const { status, stdout } = await runBridgeOn(path.join(folder, 'bridge.yml'), ['check']);
    assert.equal(status, 1);
    assert.match(stdout, /error: issuer http:\/\/127\.0\.0\.1:1: its keys can't be fetched: .*ECONNREFUSED/);
    assert.match(stdout, /warning: callout\.policyFile: http:\/\/127\.0\.0\.1:1 has no rules/);
    assert.match(stdout, /error: NATS: /);
  });

  test('reports every problem of a configuration, and shows no key', async () => {
    const policy = {
      issuers: [{ issuer: 'https://a.example', audience: 'x', rules: [{ account: 'CI', publish: [], subscribe: [] }] }],
    };
    const folder = await folderWith(policy, 'hooks: { passwordEnvs: [P] }\n');
    writeFileSync(path.join(folder, 'issuer.nk'), 'SUAM3DCUDWMVFAZ5ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ');
    const { status, stdout } = await runBridgeOn(path.join(folder, 'bridge.yml'), ['check', '--offline'], {
      env: { P: 'p' },
    });
    assert.equal(status, 1);
    assert.match(stdout, /callout\.accountKeyFile: "issuer\.nk" can't be used\. The NKey /);
    assert.match(
      stdout,
      /callout\.policyFile: "policy\.json": issuers\[0\]\.rules\[0\]: has none of sub, roles and groups/,
    );
    assert.match(stdout, /hooks: is on beside callout/);
    assert.doesNotMatch(stdout, /SUAM3D/);
  });

  test('still requires azureDevOps if there is no callout', async () => {
    const { status, stdout } = await runBridge(['check', '--offline'], "nats: { servers: ['nats://127.0.0.1:1'] }\n");
    assert.equal(status, 1);
    assert.match(stdout, /azureDevOps\.organization: is required/);
  });
});
