import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AzureDevOps } from '../../../support/azureDevOps/azureDevOps.ts';

const LIST = '_apis/hooks/subscriptions';

async function ask(azure: AzureDevOps, method: string, path: string, body?: unknown, pat = azure.pat) {
  const authorization = `Basic ${Buffer.from(`:${pat}`).toString('base64')}`;
  const init = { method, headers: { authorization }, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const response = await fetch(new URL(`${path}?api-version=7.1`, azure.url), { redirect: 'manual', ...init });
  const text = await response.text();
  return { status: response.status, body: JSON.parse(text === '' ? '{}' : text) };
}

function wanted(azure: AzureDevOps, consumer: object = {}) {
  return {
    ...{ publisherId: 'tfs', eventType: 'build.complete', resourceVersion: '2.0' },
    ...{ consumerId: 'webHooks', consumerActionId: 'httpRequest' },
    publisherInputs: { projectId: azure.organization.projects[0]!.id, definitionName: 'web' },
    consumerInputs: { url: 'https://bridge.example.com/hooks', basicAuthPassword: 'geheim', ...consumer },
  };
}

test('a subscription is stored with what Azure DevOps adds, and its secret is never shown', async () => {
  await using azure = await AzureDevOps.start();
  const made = await ask(azure, 'POST', LIST, wanted(azure));
  assert.equal(made.status, 200);
  const { id, status, publisherInputs, consumerInputs } = made.body;
  assert.deepEqual([status, consumerInputs.basicAuthPassword], ['enabled', '********']);
  assert.deepEqual([publisherInputs.definitionName, publisherInputs.buildStatus], ['web', '']);
  assert.ok(publisherInputs.tfsSubscriptionId);
  for (const path of [LIST, `${LIST}/${id}`])
    assert.ok(!JSON.stringify((await ask(azure, 'GET', path)).body).includes('geheim'));

  const changed = wanted(azure, { basicAuthPassword: '********', messagesToSend: 'none' });
  assert.equal((await ask(azure, 'PUT', `${LIST}/${id}`, changed)).status, 200);
  const stored = azure.subscriptions.all.get(id)!;
  assert.deepEqual(azure.subscriptions.inputsOf(stored), {
    ...{ url: 'https://bridge.example.com/hooks', basicAuthPassword: 'geheim', messagesToSend: 'none' },
  });
  stored.status = 'disabledBySystem';
  assert.equal((await ask(azure, 'PUT', `${LIST}/${id}`, changed)).status, 400);
  assert.equal((await ask(azure, 'DELETE', `${LIST}/${id}`)).status, 204);
  assert.equal((await ask(azure, 'DELETE', `${LIST}/${id}`)).status, 404);
});

test('a subscription that its publisher or consumer would not take is refused', async () => {
  await using azure = await AzureDevOps.start();
  const good = wanted(azure);
  for (const change of [
    { publisherId: 'pipelines' },
    { eventType: 'build.completed' },
    { resourceVersion: '3.0' },
    { consumerId: 'slack' },
    { consumerActionId: 'post' },
    { colour: 'red' },
    { publisherInputs: { ...good.publisherInputs, colour: 'red' } },
    { publisherInputs: { ...good.publisherInputs, buildStatus: 'red' } },
    { publisherInputs: { ...good.publisherInputs, definitionName: 7 } },
    { publisherInputs: {} },
    { publisherInputs: { projectId: '00000000-0000-0000-0000-000000000000' } },
    { publisherInputs: undefined },
    { consumerInputs: { url: 'http://bridge.example.com/hooks' } },
    { consumerInputs: { ...good.consumerInputs, colour: 'red' } },
    { consumerInputs: { ...good.consumerInputs, resourceDetailsToSend: 'some' } },
    { consumerInputs: { ...good.consumerInputs, basicAuthPassword: '********' } },
    { consumerInputs: { ...good.consumerInputs, basicAuthPassword: 'x'.repeat(257) } },
  ])
    assert.equal((await ask(azure, 'POST', LIST, { ...good, ...change })).status, 400, JSON.stringify(change));
  assert.equal(azure.subscriptions.all.size, 0);
});

test('a user who sees only some projects sees only their subscriptions', async () => {
  await using azure = await AzureDevOps.start();
  const { id } = (await ask(azure, 'POST', LIST, wanted(azure))).body;
  const other = azure.signIn.addPat({ name: 'Other', projects: ['Orders & Co'] });
  assert.deepEqual((await ask(azure, 'GET', LIST, undefined, other)).body.value, []);
  assert.equal((await ask(azure, 'GET', `${LIST}/${id}`, undefined, other)).status, 404);
  assert.equal((await ask(azure, 'POST', LIST, wanted(azure), other)).status, 400);
});
