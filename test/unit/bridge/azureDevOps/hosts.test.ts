import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feedsUrlOf } from '../../../../bridge/azureDevOps/hosts.ts';

test("feeds have their own host in Azure DevOps Services, and the organization's elsewhere", () => {
  const pairs = [
    ['https://dev.azure.com/contoso/', 'https://feeds.dev.azure.com/contoso/'],
    ['https://contoso.visualstudio.com/', 'https://contoso.feeds.visualstudio.com/'],
    [
      'https://contoso.visualstudio.com/DefaultCollection/',
      'https://contoso.feeds.visualstudio.com/DefaultCollection/',
    ],
    // Other servers, including look-alikes of Azure DevOps: their feeds stay on the same host.
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
