import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { temporaryFolder } from '../../../../localAgent/index.ts';
import { Identity } from '../../../../bridge/azureDevOps/identity.ts';
import type { IdentitySettings } from '../../../../bridge/settings.ts';
import { TIMING } from '../../../../bridge/timing.ts';
import { json, startFakeServer, type Got } from '../../../support/bridge/fakeServer.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';

const authority = await createAuthority();
const certificate = await authority.server({ names: ['localhost'] });
const TENANT = '11111111-2222-3333-4444-555555555555';
const CLIENT = '66666666-7777-8888-9999-000000000000';

/** An authority that issues tokens by number, as Microsoft Entra does. */
async function startAuthority(t: TestContext, tokens: { expiresIn?: number; refuse?: boolean } = {}) {
  let issued = 0;
  const { port, got } = await startFakeServer(
    t,
    ({ url, method }, response) => {
      const base = `https://localhost:${port}/${TENANT}`;
      if (method === 'GET') {
        json(response, 200, {
          token_endpoint: `${base}/oauth2/v2.0/token`,
          authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
          issuer: `${base}/v2.0`,
          jwks_uri: `${base}/keys`,
        });
      } else if (tokens.refuse === true) {
        json(response, 401, {
          error: 'invalid_client',
          error_description: 'AADSTS7000215: Invalid client secret provided.',
        });
      } else {
        const expires = tokens.expiresIn ?? 3_600;
        json(response, 200, {
          token_type: 'Bearer',
          expires_in: expires,
          ext_expires_in: expires,
          access_token: `token-${++issued}`,
        });
      }
      assert.ok(url.startsWith(`/${TENANT}/`), url);
    },
    certificate,
  );
  const asked = () => got.filter(({ method }) => method === 'POST').map(({ body }) => new URLSearchParams(body));
  return { authorityHost: `https://localhost:${port}`, asked, tokens };
}

function identityOf(identity: IdentitySettings, more: { now?: () => number; proxy?: string } = {}) {
  const expiries: number[] = [];
  const one = new Identity({
    identity,
    connection: { proxy: more.proxy ?? '', ca: authority.cert },
    timing: { ...TIMING, azureDevOps: 10_000 },
    now: more.now ?? Date.now,
    onToken: (expiresAt) => expiries.push(expiresAt),
  });
  return { identity: one, expiries };
}

const clientSecret = (authorityHost: string, secret: { value: string }): IdentitySettings => ({
  kind: 'clientSecret',
  tenantId: TENANT,
  clientId: CLIENT,
  clientSecret: {
    label: 'secret',
    get value() {
      return secret.value;
    },
  },
  authorityHost,
});

describe('A client secret', () => {
  test('gets one token for Azure DevOps, shared by all who ask at once', async (t) => {
    const { authorityHost, asked } = await startAuthority(t);
    const { identity, expiries } = identityOf(clientSecret(authorityHost, { value: 'a secret' }));
    const answers = await Promise.all([identity.authorization(), identity.authorization(), identity.authorization()]);
    assert.deepEqual(answers, ['Bearer token-1', 'Bearer token-1', 'Bearer token-1']);
    assert.equal(await identity.authorization(), 'Bearer token-1');
    const [form, ...more] = asked();
    assert.deepEqual(more, []);
    assert.deepEqual(
      [form?.get('grant_type'), form?.get('client_id'), form?.get('client_secret')],
      ['client_credentials', CLIENT, 'a secret'],
    );
    assert.match(form?.get('scope') ?? '', /^499b84ac-1321-427f-aa17-267ca6975798\/\.default/);
    assert.equal(expiries.length, 1);
  });

  test('renews a token early, without making anyone wait', async (t) => {
    const { authorityHost } = await startAuthority(t);
    let ahead = 0;
    const { identity, expiries } = identityOf(clientSecret(authorityHost, { value: 's' }), {
      now: () => Date.now() + ahead,
    });
    assert.equal(await identity.authorization(), 'Bearer token-1');
    ahead = 3_600_000 - TIMING.tokenRenewal + 5_000;
    assert.equal(await identity.authorization(), 'Bearer token-1');
    while (expiries.length < 2) await setImmediate();
    assert.equal(await identity.authorization(), 'Bearer token-2');
  });

  test('gets another token if Azure DevOps rejects the last one', async (t) => {
    const { authorityHost } = await startAuthority(t);
    const { identity } = identityOf(clientSecret(authorityHost, { value: 's' }));
    const first = await identity.authorization();
    identity.refused('Bearer some other');
    assert.equal(await identity.authorization(), first);
    identity.refused(first);
    assert.equal(await identity.authorization(), 'Bearer token-2');
  });

  test('that has changed is used from the next token on', async (t) => {
    const { authorityHost, asked, tokens } = await startAuthority(t, { refuse: true });
    const secret = { value: 'old' };
    const { identity } = identityOf(clientSecret(authorityHost, secret));
    await assert.rejects(identity.authorization(), { code: 'Denied' });
    secret.value = 'new';
    tokens.refuse = false;
    assert.equal(await identity.authorization(), 'Bearer token-1');
    assert.deepEqual(
      asked().map((form) => form.get('client_secret')),
      ['old', 'new'],
    );
  });

  test("that is refused is Denied, with the authority's message and without the secret", async (t) => {
    const { authorityHost } = await startAuthority(t, { refuse: true });
    const { identity } = identityOf(clientSecret(authorityHost, { value: 'identity-test-secret' }));
    await assert.rejects(identity.authorization(), (error: Error & { code: string }) => {
      assert.equal(error.code, 'Denied');
      assert.match(error.message, /There is no token for Azure DevOps \(clientSecret\): .*AADSTS7000215/);
      assert.doesNotMatch(error.message, /identity-test-secret/);
      return true;
    });
  });

  test("whose authority can't be reached is Unreachable", async () => {
    const { identity } = identityOf(clientSecret('https://localhost:1', { value: 's' }));
    await assert.rejects(identity.authorization(), { code: 'Unreachable' });
  });
});

test('a workload identity proves itself by the token in its file', async (t) => {
  const { authorityHost, asked } = await startAuthority(t);
  const tokenFile = path.join(temporaryFolder('workload-'), 'token');
  writeFileSync(tokenFile, 'federated-token\n');
  const { identity } = identityOf({
    kind: 'workloadIdentity',
    tenantId: TENANT,
    clientId: CLIENT,
    tokenFile,
    authorityHost,
  });
  assert.equal(await identity.authorization(), 'Bearer token-1');
  const [form] = asked();
  assert.deepEqual(
    [form?.get('client_assertion'), form?.get('client_assertion_type')],
    ['federated-token', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'],
  );
});

describe('A managed identity', () => {
  const before = process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'];
  after(() => {
    if (before === undefined) delete process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'];
    else process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = before;
  });

  test('asks this machine, never a proxy', async (t) => {
    const { port, got }: { port: number; got: Got[] } = await startFakeServer(t, (_, response) =>
      json(response, 200, {
        access_token: 'token-of-machine',
        expires_in: '3600',
        expires_on: String(Math.floor(Date.now() / 1_000) + 3_600),
        token_type: 'Bearer',
        resource: 'x',
      }),
    );
    process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = `http://127.0.0.1:${port}`;
    const { identity } = identityOf({ kind: 'managedIdentity', clientId: CLIENT }, { proxy: 'http://127.0.0.1:1/' });
    assert.equal(await identity.authorization(), 'Bearer token-of-machine');
    const { searchParams } = new URL(got[0]?.url ?? '', 'http://machine');
    assert.equal(searchParams.get('client_id'), CLIENT);
    assert.match(searchParams.get('resource') ?? '', /^499b84ac-1321-427f-aa17-267ca6975798/);
    assert.equal(got[0]?.headers['metadata'], 'true');
  });
});

test('a personal access token is read again each time', async () => {
  let value = 'one';
  const pat = {
    label: 'pat',
    get value() {
      return value;
    },
  };
  const { identity } = identityOf({ kind: 'pat', pat });
  const encoded = (text: string) => `Basic ${Buffer.from(`:${text}`).toString('base64')}`;
  assert.equal(await identity.authorization(), encoded('one'));
  value = 'two';
  assert.equal(await identity.authorization(), encoded('two'));
});
