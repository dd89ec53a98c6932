import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { createLocalJWKSet, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { Agent, fetch, type RequestInit } from 'undici';
import { AzureDevOps } from '../../../support/azureDevOps/azureDevOps.ts';
import { AZURE_DEVOPS_RESOURCE, Entra, type EntraApp } from '../../../support/azureDevOps/entra.ts';

const SCOPE = `${AZURE_DEVOPS_RESOURCE}/.default`;

async function get(entra: Entra, path: string, init: RequestInit = {}) {
  const dispatcher = new Agent({ connect: { ca: readFileSync(entra.caFile, 'utf8') } });
  try {
    const response = await fetch(`${entra.authorityHost}${path}`, { dispatcher, ...init });
    return { status: response.status, body: JSON.parse(await response.text()) };
  } finally {
    await dispatcher.close();
  }
}

interface TokenRequest extends Readonly<Record<string, string | undefined>> {
  readonly tenant?: string;
}

function tokenFor(entra: Entra, app: EntraApp, { tenant = entra.tenantId, ...fields }: TokenRequest = {}) {
  const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: app.clientId, scope: SCOPE });
  for (const [name, value] of Object.entries(fields)) form.set(name, value!);
  return get(entra, `/${tenant}/oauth2/v2.0/token`, { method: 'POST', body: form });
}

function assertion(client_assertion: string): Record<string, string> {
  return { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion };
}

async function projectsWith(azure: AzureDevOps, token: string, path = '_apis/projects') {
  const response = await fetch(`${azure.url}${path}`, {
    headers: { authorization: `Bearer ${token}` },
    redirect: 'manual',
  });
  return { status: response.status, text: Buffer.from(await response.arrayBuffer()).toString() };
}

describe('the stand-in for Entra', { concurrency: 4 }, () => {
  test('signs its tokens with the key it publishes', async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const { body } = await get(entra, `/${entra.tenantId}/v2.0/.well-known/openid-configuration`);
    assert.equal(body.token_endpoint, `${entra.authorityHost}/${entra.tenantId}/oauth2/v2.0/token`);
    const keys = await get(entra, new URL(body.jwks_uri).pathname);
    const { payload } = await jwtVerify(await entra.issue(app), createLocalJWKSet(keys.body), {
      audience: AZURE_DEVOPS_RESOURCE,
    });
    assert.deepEqual(
      [payload.iss, payload['appid'], payload['oid'], payload['tid']],
      [`https://sts.windows.net/${entra.tenantId}/`, app.clientId, app.objectId, entra.tenantId],
    );
  });

  test('answers a wrong secret with AADSTS7000215 and 401, in the documented shape', async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const { status, body } = await tokenFor(entra, app, { client_secret: 'wrong' });
    assert.equal(status, 401);
    const { error, error_description, error_codes, timestamp, trace_id, correlation_id, error_uri } = body;
    assert.deepEqual([error, error_codes], ['invalid_client', [7000215]]);
    assert.ok(error_description.startsWith('AADSTS7000215: Invalid client secret provided. '));
    assert.ok(error_description.includes(`added to app '${app.clientId}'.`));
    assert.ok(error_description.endsWith(`Correlation ID: ${correlation_id} Timestamp: ${timestamp}`));
    assert.match(trace_id, /^[\da-f-]{36}$/);
    assert.equal(error_uri, 'https://login.microsoftonline.com/error?code=7000215');
  });

  test('refuses a removed secret, and accepts two during a rotation', async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    app.secrets.add('the-next-one');
    const statusWith = async (client_secret: string) => (await tokenFor(entra, app, { client_secret })).status;
    assert.deepEqual([await statusWith(app.secret), await statusWith('the-next-one')], [200, 200]);
    app.secrets.delete(app.secret);
    assert.deepEqual([await statusWith(app.secret), await statusWith('the-next-one')], [401, 200]);
  });

  test('names what is wrong with a request', async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const client_secret = app.secret;
    const nobody: EntraApp = { ...app, clientId: '11111111-2222-3333-4444-555555555555' };
    const answers = {
      tenant: await tokenFor(entra, app, { client_secret, tenant: nobody.clientId }),
      grant: await tokenFor(entra, app, { client_secret, grant_type: 'password' }),
      app: await tokenFor(entra, nobody, { client_secret }),
      nothing: await tokenFor(entra, app),
      scope: await tokenFor(entra, app, { client_secret, scope: AZURE_DEVOPS_RESOURCE }),
      resource: await tokenFor(entra, app, { client_secret, scope: 'https://graph.example/.default' }),
    };
    assert.deepEqual(
      Object.entries(answers).map(([name, { status, body }]) => [name, status, body.error_codes[0]]),
      [
        ['tenant', 400, 90002],
        ['grant', 400, 70003],
        ['app', 400, 700016],
        ['nothing', 401, 7000216],
        ['scope', 400, 1002012],
        ['resource', 400, 500011],
      ],
    );
  });

  test("accepts a cluster's token only if the application trusts that cluster", async () => {
    await using entra = await Entra.start();
    const app = entra.register();
    const token = await entra.serviceAccountToken(app);
    const { status, body } = await tokenFor(entra, app, assertion(token));
    assert.equal(status, 200);
    assert.equal(entra.appOf(body.access_token, AZURE_DEVOPS_RESOURCE), app);

    const { issuer, subject, publicKey } = app.federated[0]!;
    const stranger = await generateKeyPair('ES256');
    const forged = await new SignJWT({ iss: issuer, sub: subject, aud: 'api://AzureADTokenExchange' })
      .setProtectedHeader({ alg: 'ES256' })
      .setExpirationTime('1h')
      .sign(stranger.privateKey);
    const other = entra.register('other');
    const elsewhere = entra.register('elsewhere');
    elsewhere.federated.push({ issuer, subject: 'system:serviceaccount:bridge:someone', publicKey });
    const codeOf = async (one: EntraApp, text: string) => {
      const answer = await tokenFor(entra, one, assertion(text));
      return [answer.status, answer.body.error_codes[0]];
    };
    assert.deepEqual(
      {
        forged: await codeOf(app, forged),
        expired: await codeOf(app, await entra.serviceAccountToken(app, { lifetimeMs: -60_000 })),
        audience: await codeOf(app, await entra.serviceAccountToken(app, { audience: 'api://something' })),
        subject: await codeOf(elsewhere, token),
        issuer: await codeOf(other, token),
        garbage: await codeOf(app, 'not a token'),
      },
      {
        forged: [401, 50013],
        expired: [401, 700024],
        audience: [401, 700212],
        subject: [401, 700213],
        issuer: [401, 700211],
        garbage: [400, 50027],
      },
    );
  });

  test('revokes all its tokens at once', async () => {
    await using entra = await Entra.start();
    await using azure = await AzureDevOps.start({ entra });
    const token = await entra.issue(entra.register());
    assert.equal((await projectsWith(azure, token)).status, 200);
    entra.revokeTokens();
    assert.equal((await projectsWith(azure, token)).status, 203);
  });

  test('issues tokens for other resources, which Azure DevOps refuses', async () => {
    await using entra = await Entra.start();
    await using azure = await AzureDevOps.start({ entra });
    const token = await entra.issue(entra.register(), 'https://graph.example');
    assert.equal((await projectsWith(azure, token)).status, 203);
  });

  test('knows applications outside the organization: 401 with a byte order mark', async () => {
    await using entra = await Entra.start();
    await using azure = await AzureDevOps.start({ entra });
    const app = entra.register();
    azure.signIn.removeMember(app.objectId);
    const { status, text } = await projectsWith(azure, await entra.issue(app));
    assert.equal(status, 401);
    assert.throws(() => JSON.parse(text), SyntaxError);
    assert.equal(JSON.parse(text.slice(1)).typeKey, 'InvalidIdentityException');
  });
});

// On its own: nothing else may see its clock.
test("the Entra stand-in's tokens expire after the lifetime set when each was issued", async (t) => {
  await using entra = await Entra.start();
  await using azure = await AzureDevOps.start({ entra });
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const app = entra.register();
  const lasting = await entra.issue(app);
  entra.lifetimeMs = 60_000;
  const { body } = await tokenFor(entra, app, { client_secret: app.secret });
  assert.equal(body.expires_in, 60);
  const statuses = async () => [
    (await projectsWith(azure, lasting)).status,
    (await projectsWith(azure, body.access_token)).status,
  ];
  assert.deepEqual(await statuses(), [200, 200]);
  t.mock.timers.tick(59_000);
  assert.deepEqual(await statuses(), [200, 200]);
  t.mock.timers.tick(1_000);
  assert.deepEqual(await statuses(), [200, 203]);
});
