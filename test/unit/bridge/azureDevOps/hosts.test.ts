import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feedsUrlOf } from '../../../../bridge/azureDevOps/hosts.ts';

test('feeds are on a separate host of Azure DevOps, or where everything else is', () => {
  const pairs = [
    ['https://dev.azure.com/contoso/', 'https://feeds.dev.azure.com/contoso/'],
    ['https://contoso.visualstudio.com/', 'https://contoso.feeds.visualstudio.com/'],
    [
      'https://contoso.visualstudio.com/DefaultCollection/',
      'https://contoso.feeds.visualstudio.com/DefaultCollection/',
    ],
    // Servers of other people, and what only looks like Azure DevOps: nothing of theirs goes to another host.
    ...[
      'http://127.0.0.1:4711/contoso/',
      'https://dev.azure.com:8443/contoso/',
      'https://devops.example.com/DefaultCollection/',
      'https://dev.azure.com.example.com/contoso/',
      'https://a.b.visualstudio.com/',
      'https://contoso.visualstudio.com.example.com/',
      'https://visualstudio.com/contoso/',
      'http://localhost/contoso/',
      'http://dev.azure.com/contoso/',
    ].map((url) => [url, url]),
  ];
  for (const [organization, feeds] of pairs) assert.equal(feedsUrlOf(organization!), feeds);
});
