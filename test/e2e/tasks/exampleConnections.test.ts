import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'nats';
import { CALLOUT_EXAMPLE, startCallout } from '../../support/nats/authCallout.ts';
import { assertRunSucceeded, runExample, stepOf } from '../../support/agent/exampleRun.ts';
import { createNKey, usersConfig } from '../../support/nats/natsAccounts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { startOidcIssuer } from '../../support/agent/oidcIssuer.ts';

describe('The example', { concurrency: 2 }, () => {
  it('key-vault.yml: signs in with the secret that the Key Vault step fetches', async () => {
    const { seed, publicKey } = createNKey();
    const permissions = { publish: { allow: ['ci.shop.>'] } };
    const admin = { user: 'admin', password: 'admin-password' };
    await using server = await startNatsServer({ config: usersConfig({ nkey: publicKey, permissions }, admin) });
    const client = await connect({ servers: server.url, user: admin.user, pass: admin.password });
    await (await client.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
    await client.close();

    // There is no Key Vault here: what its step would set is given as a secret variable, and the step is left out.
    const skipped: string[] = [];
    const run = (secrets: Record<string, string>): ReturnType<typeof runExample> =>
      runExample('key-vault.yml', server.url, '91', {
        connections: { 'nats-key-vault': { url: server.url, scheme: 'None' } },
        skipOtherTasks: true,
        onSkip: ({ task, title }) => skipped.push(`${task} ${title}`),
        secrets,
      });
    const pipeline = await run({ 'nats-ci-seed': seed });
    assertRunSucceeded(pipeline);
    assert.deepEqual(skipped, ['AzureKeyVault@2 Fetch the seed']);
    const step = stepOf(pipeline, 'Say that the build is done');
    assert.equal(step.outputs.get('stream'), 'CI');
    assert.ok(!step.logText.includes(seed));
    assert.equal((await run({ 'nats-ci-seed': createNKey().seed })).result, 'Failed');
  });

  it('oidc.yml: signs in with the token of its run, and no secret', async () => {
    const id = randomUUID();
    await using issuer = await startOidcIssuer({
      organisation: 'my-organisation',
      serviceConnections: { [id]: 'nats' },
    });
    const [example] = JSON.parse(readFileSync(path.join(CALLOUT_EXAMPLE, 'policy.json'), 'utf8')).issuers;
    const admin = { sub: issuer.subject('admin'), account: 'CI', publish: ['>'], subscribe: ['>'] };
    await using callout = await startCallout({
      policy: { issuers: [{ ...example, issuer: issuer.url, rules: [...example.rules, admin] }] },
    });
    const client = await callout.connect(await issuer.token({ sub: issuer.subject('admin') }));
    await (await client.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
    await client.close();

    const url = callout.server.url.replace('nats:', 'tls:');
    const data = { oidc: 'true', caCertificate: callout.ca, inboxPrefix: '_INBOX.shop' };
    const pipeline = await runExample('oidc.yml', url, '92', {
      connections: { nats: { id, url, scheme: 'None', data } },
      variables: { 'System.OidcRequestUri': issuer.requestUri },
      secrets: { 'System.AccessToken': issuer.accessToken },
    });
    assertRunSucceeded(pipeline);
    assert.equal(stepOf(pipeline, 'Wait for the build').outputs.get('verdict'), 'matched');
    assert.equal(issuer.requests.filter((request) => request.endsWith('/oidctoken')).length, 2);
  });
});
