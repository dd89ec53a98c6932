import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AzureDevOps } from '../../../support/azureDevOps/azureDevOps.ts';

interface Page {
  readonly count: number;
  readonly packageChanges: readonly { readonly packageVersionChange: { readonly continuationToken: number } }[];
  readonly nextPackageContinuationToken?: number;
}

test("the stand-in pages through a feed's changes as strictly as the real one", async () => {
  await using azure = await AzureDevOps.start();
  const project = azure.organization.projects[0]!;
  const feed = azure.feeds.add('packages', project);
  const get = async (path: string, pat = azure.pat) => {
    const authorization = `Basic ${Buffer.from(`:${pat}`).toString('base64')}`;
    const response = await fetch(`${azure.url}${path}`, { headers: { authorization } });
    return { status: response.status, text: await response.text() };
  };
  const base = 'Shop/_apis/packaging/Feeds/packages';
  const page = async (query: string) => {
    const { status, text } = await get(`${base}/packagechanges?api-version=7.1${query}`);
    assert.equal(status, 200, text);
    const { packageChanges, nextPackageContinuationToken: next } = JSON.parse(text) as Page;
    return { tokens: packageChanges.map((change) => change.packageVersionChange.continuationToken), next };
  };

  assert.deepEqual(await page(''), { tokens: [], next: undefined });
  const changes = ['1', '2', '3', '4'].map((version) => feed.push('web', version));
  assert.deepEqual(await page('&batchSize=3'), { tokens: [1, 2, 7], next: 7 });
  assert.deepEqual(await page('&batchSize=3&continuationToken=7'), { tokens: [8], next: 8 });
  assert.deepEqual(await page('&continuationToken=8'), { tokens: [], next: 8 });
  feed.delete(changes[0]!);
  assert.deepEqual((await page('')).tokens, [2, 7, 8, 13], 'the page does not hold the newest change of each version');

  assert.equal((JSON.parse((await get(`${base}?api-version=7.1`)).text) as { id: string }).id, feed.id);
  const statuses = [
    [`${base}/packagechanges?api-version=7.2`, 400],
    [`${base}/packagechanges?api-version=7.1&continuationToken=x`, 400],
    ['Shop/_apis/packaging/Feeds/other/packagechanges?api-version=7.1', 404],
    // It belongs to a project, and to no other one.
    ['_apis/packaging/Feeds/packages/packagechanges?api-version=7.1', 404],
    ['Orders%20%26%20Co/_apis/packaging/Feeds/packages/packagechanges?api-version=7.1', 404],
  ] as const;
  for (const [path, status] of statuses) assert.equal((await get(path)).status, status, path);
  assert.equal((await get(`${base}/packagechanges?api-version=7.1`, 'nobody')).status, 203);
  feed.closedTo.add('Ada Example');
  assert.equal((await get(`${base}/packagechanges?api-version=7.1`)).status, 403);
});
