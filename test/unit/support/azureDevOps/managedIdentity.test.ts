import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AZURE_DEVOPS_RESOURCE, Entra } from '../../../support/azureDevOps/entra.ts';
import { ManagedIdentity } from '../../../support/azureDevOps/managedIdentity.ts';

interface Asked {
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Record<string, string>;
}

async function ask(endpoint: string, version: string, { query = {}, headers = {} }: Asked) {
  const all = new URLSearchParams({ 'api-version': version, resource: AZURE_DEVOPS_RESOURCE, ...query });
  for (const [name, value] of Object.entries(query)) if (value === '') all.delete(name);
  const response = await fetch(`${endpoint}?${all.toString()}`, { headers });
  return { status: response.status, body: (await response.json()) as Record<string, string> };
}

describe('the stand-in for managed identities', { concurrency: 4 }, () => {
  test("issues a token in the metadata service's form, with numbers as strings", async () => {
    await using entra = await Entra.start();
    await using machine = await ManagedIdentity.start(entra);
    const { AZURE_POD_IDENTITY_AUTHORITY_HOST: host } = machine.environment('imds');
    const imds = (asked: Asked) => ask(`${host}/metadata/identity/oauth2/token`, '2018-02-01', asked);
    const metadata = { Metadata: 'true' };
    const { status, body } = await imds({ headers: metadata });
    assert.equal(status, 200);
    assert.equal(entra.appOf(body['access_token']!, AZURE_DEVOPS_RESOURCE), machine.system);
    assert.equal(body['token_type'], 'Bearer');
    assert.ok(Math.abs(Number(body['expires_in']) - 3_600) <= 1);
    assert.equal(typeof body['expires_on'], 'string');
    assert.ok(Math.abs(Number(body['expires_on']) - Date.now() / 1_000 - 3_600) <= 2);

    const refusals = [
      await imds({}),
      await imds({ headers: { ...metadata, 'X-Forwarded-For': '10.0.0.1' } }),
      await imds({ headers: metadata, query: { 'api-version': '2017-01-01' } }),
      await imds({ headers: metadata, query: { resource: '' } }),
      await imds({ headers: metadata, query: { client_id: 'nobody' } }),
    ];
    assert.deepEqual(
      refusals.map((one) => [one.status, one.body['error'], one.body['error_description']]),
      [
        [400, 'invalid_request', 'Required metadata header not specified'],
        [400, 'invalid_request', 'X-Forwarded-For is not allowed'],
        [400, 'invalid_request', 'Invalid or unsupported api-version'],
        [400, 'invalid_request', "Required query variable 'resource' is missing"],
        [400, 'invalid_request', 'Identity not found'],
      ],
    );
  });

  test('issues a token in the App Service form, given its header', async () => {
    await using entra = await Entra.start();
    await using machine = await ManagedIdentity.start(entra);
    const assigned = entra.register('assigned');
    const { IDENTITY_ENDPOINT: endpoint, IDENTITY_HEADER: header } = machine.environment('appService');
    const appService = (asked: Asked) => ask(endpoint!, '2019-08-01', asked);
    const query = { client_id: assigned.clientId };
    const { status, body } = await appService({ headers: { 'X-IDENTITY-HEADER': header! }, query });
    assert.equal(status, 200);
    assert.equal(body['client_id'], assigned.clientId);
    assert.equal(entra.appOf(body['access_token']!, AZURE_DEVOPS_RESOURCE), assigned);
    assert.equal('expires_in' in body, false);
    assert.equal((await appService({ headers: { 'X-IDENTITY-HEADER': 'guessed' } })).status, 401);
  });

  test('returns the same token until it expires', async () => {
    await using entra = await Entra.start();
    await using machine = await ManagedIdentity.start(entra);
    const token = async () => {
      const { AZURE_POD_IDENTITY_AUTHORITY_HOST: host } = machine.environment('imds');
      const answer = await ask(`${host}/metadata/identity/oauth2/token`, '2018-02-01', {
        headers: { Metadata: 'true' },
      });
      return answer.body['access_token'];
    };
    const first = await token();
    assert.equal(await token(), first);
    entra.revokeTokens();
    assert.notEqual(await token(), first);
  });
});
