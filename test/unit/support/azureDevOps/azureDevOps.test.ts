import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { AzureDevOps } from '../../../support/azureDevOps/azureDevOps.ts';
import { throttled } from '../../../support/azureDevOps/moods.ts';
import { json } from '../../../support/azureDevOps/standInServer.ts';

const SHOP = { id: '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c', name: 'Shop' };
const ORDERS = { id: '0b1c4a52-5a0e-4f6c-9a39-1f0f3a6a7b11', name: 'Orders & Co. 2' };

function basic(pat: string, user = ''): string {
  return `Basic ${Buffer.from(`${user}:${pat}`).toString('base64')}`;
}

/** Asks with a good token unless told otherwise; redirects aren't followed. */
async function ask(azure: AzureDevOps, path: string, { authorization = basic(azure.pat), ...init }: AskOptions = {}) {
  const headers = { ...(authorization !== '' && { authorization }), ...init.headers };
  const response = await fetch(new URL(path, azure.url), { redirect: 'manual', ...init, headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

interface AskOptions {
  readonly authorization?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

describe('the stand-in organization', { concurrency: 4 }, () => {
  test('says who has signed in, whatever the user name sent with the token', async () => {
    await using azure = await AzureDevOps.start();
    for (const user of ['', 'anybody']) {
      const authorization = basic(azure.pat, user);
      const { status, headers, text } = await ask(azure, '_apis/connectionData', { authorization });
      assert.equal(status, 200);
      assert.match(headers.get('content-type')!, /^application\/json/);
      const { authenticatedUser, instanceId } = JSON.parse(text);
      assert.equal(authenticatedUser.providerDisplayName, 'Ada Example');
      assert.equal(instanceId, azure.organization.accountId);
      assert.equal(headers.get('x-vss-userdata'), `${authenticatedUser.id}:ada.example@contoso.example`);
    }
  });

  test('offers connectionData only as a preview', async () => {
    await using azure = await AzureDevOps.start();
    const refused = await ask(azure, '_apis/connectionData?api-version=7.1');
    assert.equal(refused.status, 400);
    const { $id, innerException, typeName, typeKey, errorCode, eventId, message } = JSON.parse(refused.text);
    assert.deepEqual(
      { $id, innerException, typeName, typeKey, errorCode, eventId },
      {
        ...{
          $id: '1',
          innerException: null,
          typeKey: 'VssInvalidPreviewVersionException',
          errorCode: 0,
          eventId: 3000,
        },
        typeName:
          'Microsoft.VisualStudio.Services.WebApi.VssInvalidPreviewVersionException, Microsoft.VisualStudio.Services.WebApi',
      },
    );
    assert.match(message, /For example: "7\.1-preview"/);
    for (const version of ['7.1-preview', '7.1-preview.1']) {
      assert.equal((await ask(azure, `_apis/connectionData?api-version=${version}`)).status, 200);
    }
  });

  test("pages its projects by a token in a header, which the last page doesn't have", async () => {
    const projects = Array.from({ length: 205 }, (_, index) => ({ id: `id-${index}`, name: `P${index}` }));
    await using azure = await AzureDevOps.start({ projects });
    const names: string[] = [];
    const tokens: (string | null)[] = [];
    for (const token of ['0', '100', '200']) {
      const { headers, text } = await ask(azure, `_apis/projects?api-version=7.1&continuationToken=${token}`);
      const { count, value } = JSON.parse(text);
      assert.equal(count, value.length);
      names.push(...value.map(({ name }: { name: string }) => name));
      tokens.push(headers.get('x-ms-continuationtoken'));
    }
    assert.deepEqual(
      names,
      projects.map(({ name }) => name),
    );
    assert.deepEqual(tokens, ['100', '200', null]);
    const last = await ask(azure, '_apis/projects?$top=2&$skip=203');
    assert.deepEqual([JSON.parse(last.text).value[1].name, last.headers.get('x-ms-continuationtoken')], ['P204', null]);
  });

  test('finds a project by id or name in any case, and answers alike for hidden and missing ones', async () => {
    await using azure = await AzureDevOps.start({ projects: [SHOP, ORDERS] });
    for (const asked of [ORDERS.id, ORDERS.id.toUpperCase(), encodeURIComponent('orders & co. 2')]) {
      const { status, text } = await ask(azure, `_apis/projects/${asked}?api-version=7.1`);
      assert.equal(status, 200);
      assert.deepEqual({ id: JSON.parse(text).id, name: JSON.parse(text).name }, ORDERS);
    }
    const authorization = basic(azure.signIn.addPat({ projects: ['Shop'] }));
    const hidden = await ask(azure, `_apis/projects/${ORDERS.id}`, { authorization });
    assert.equal(hidden.status, 404);
    assert.equal(JSON.parse(hidden.text).typeKey, 'ProjectDoesNotExistException');
    assert.equal(JSON.parse((await ask(azure, '_apis/projects', { authorization })).text).count, 1);
    const missing = await ask(azure, '_apis/projects/Nowhere');
    assert.equal(missing.status, 404);
    assert.match(JSON.parse(missing.text).message, /^TF200016: The following project does not exist: Nowhere\./);
  });

  test('answers only for its organization and routes', async () => {
    await using azure = await AzureDevOps.start({ organization: 'Contoso Ltd' });
    assert.match(azure.url, /^http:\/\/127\.0\.0\.1:\d+\/Contoso%20Ltd\/$/);
    assert.equal((await ask(azure, '/contoso%20ltd/_apis/projects')).status, 200);
    assert.equal((await ask(azure, '/fabrikam/_apis/projects')).status, 404);
    assert.equal(JSON.parse((await ask(azure, '_apis/nothing')).text).typeKey, 'HttpException');
    assert.equal((await ask(azure, '_apis/projects', { method: 'DELETE' })).status, 405);
  });

  test('accepts additional routes, whose POSTs must name an API version', async () => {
    await using azure = await AzureDevOps.start();
    azure.add([
      {
        method: 'POST',
        path: '{project}/_apis/pipelines/{pipeline}/runs',
        answer: ({ parameters, body, identity }) => json(200, { parameters, body, by: identity.name }),
      },
    ]);
    const post = (query: string, headers = {}) =>
      ask(azure, `Orders%20%26%20Co/_apis/Pipelines/42/runs${query}`, { method: 'POST', body: '{}', headers });
    assert.equal(JSON.parse((await post('')).text).typeKey, 'VssVersionNotSpecifiedException');
    assert.equal(JSON.parse((await post('?api-version=9.0')).text).typeKey, 'VssVersionOutOfRangeException');
    assert.equal(JSON.parse((await post('?api-version=7.2')).text).typeKey, 'VssInvalidPreviewVersionException');
    assert.equal(JSON.parse((await post('?api-version=new')).text).typeKey, 'VssInvalidApiResourceVersionException');
    assert.equal((await post('', { accept: 'application/json; api-version=7.1' })).status, 200);
    assert.deepEqual(JSON.parse((await post('?api-version=7.1')).text), {
      ...{ parameters: { project: 'Orders & Co', pipeline: '42' }, body: '{}', by: 'Ada Example' },
    });
  });

  test('records every request and its response', async () => {
    await using azure = await AzureDevOps.start();
    const asked = azure.asked(2, ({ method }) => method === 'POST');
    await ask(azure, '_apis/projects?$top=1', { headers: { 'x-custom': 'one' } });
    const bodies = ['first', 'second'];
    for (const body of bodies) await ask(azure, '_apis/nothing', { method: 'POST', body });
    await asked;
    const [get, ...posts] = azure.requests;
    assert.equal(get!.path, '/contoso/_apis/projects');
    assert.equal(get!.query.get('$top'), '1');
    assert.equal(get!.headers['x-custom'], 'one');
    assert.equal(get!.status, 200);
    assert.deepEqual(
      posts.map(({ method, body, status }) => ({ method, body, status })),
      bodies.map((body) => ({ method: 'POST', body, status: 404 })),
    );
  });

  test('closes its connections when it stops, can stop twice, and restarts on the same port', async () => {
    const azure = await AzureDevOps.start();
    const { url } = azure;
    const socket = connect(Number(new URL(azure.origin).port), '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    await azure.stop();
    await azure.stop();
    await closed;
    await assert.rejects(fetch(azure.url));
    await azure.listen();
    assert.equal(azure.url, url);
    assert.equal((await ask(azure, '_apis/projects')).status, 200);
    await azure.stop();
  });
});

describe('a caller without valid credentials', { concurrency: 4 }, () => {
  const BAD = ['', basic('nobody-issued-this'), 'Bearer nobody.issued.this', 'Basic bm8tY29sb24='];

  for (const authorization of BAD) {
    test(`gets 203 and HTML, 302 or 401, by route and method, with "${authorization}"`, async () => {
      await using azure = await AzureDevOps.start();
      for (const method of ['GET', 'POST']) {
        const { status, headers, text } = await ask(azure, '_apis/projects', { method, authorization });
        assert.equal(status, 203);
        assert.match(headers.get('content-type')!, /^text\/html/);
        assert.match(text, /Sign In/);
      }
      const patch = await ask(azure, '_apis/projects', { method: 'PATCH', authorization });
      assert.equal(patch.status, 401);
      assert.match(JSON.parse(patch.text).message, /^TF400813/);
      assert.equal((await ask(azure, '_apis/connectionData', { authorization })).status, 302);
    });
  }

  test('gets a page with 200 if it follows the redirect', async () => {
    await using azure = await AzureDevOps.start();
    const response = await fetch(`${azure.url}_apis/connectionData`);
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type')!, /^text\/html/);
    assert.match(azure.requests[1]!.path, /^\/_signin$/);
  });

  test('gets 401 without a body for a revoked token', async () => {
    await using azure = await AzureDevOps.start();
    azure.signIn.revokePat(azure.pat);
    const { status, headers, text } = await ask(azure, '_apis/projects');
    assert.deepEqual([status, text, headers.get('content-type')], [401, '', null]);
    assert.match(headers.get('www-authenticate')!, /^Basic realm=/);
  });

  test('is always refused in the same form if a test asks for it', async () => {
    await using azure = await AzureDevOps.start();
    const statuses: Record<string, number> = {};
    for (const form of ['page', 'redirect', 'unauthorized'] as const) {
      azure.refusalForm = form;
      statuses[form] = (await ask(azure, '_apis/projects', { authorization: '' })).status;
    }
    assert.deepEqual(statuses, { page: 203, redirect: 302, unauthorized: 401 });
  });
});

describe('a mood of the stand-in', { concurrency: 4 }, () => {
  test('throttles with 429, Retry-After and the limits', async () => {
    await using azure = await AzureDevOps.start();
    azure.feel(throttled({ retryAfter: 7, delay: 1.5 }), { times: 1 });
    const { status, headers, text } = await ask(azure, '_apis/projects');
    assert.equal(status, 429);
    assert.match(JSON.parse(text).message, /^TF400733/);
    assert.equal(headers.get('retry-after'), '7');
    const limits = ['resource', 'delay', 'limit', 'remaining'].map((name) => headers.get(`x-ratelimit-${name}`));
    assert.deepEqual(limits, ['Concurrency', '1.500', '200', '0']);
    assert.ok(Number(headers.get('x-ratelimit-reset')) > Date.now() / 1_000);
    const { status: then, headers: without } = await ask(azure, '_apis/projects');
    assert.deepEqual([then, without.get('retry-after')], [200, null]);
  });
});
