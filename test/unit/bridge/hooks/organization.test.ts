import assert from 'node:assert/strict';
import { test } from 'node:test';
import { organizationTest } from '../../../../bridge/hooks/organization.ts';

test('an organization is known by both of its URLs, in any case', () => {
  const same = [
    'https://dev.azure.com/contoso/',
    'https://dev.azure.com/contoso',
    'https://dev.azure.com/Contoso/some/path?x=1',
    'HTTPS://DEV.AZURE.COM:443/CONTOSO/',
    'https://contoso.visualstudio.com/',
    'https://Contoso.VisualStudio.com/DefaultCollection/',
  ];
  const others: readonly unknown[] = [
    'https://dev.azure.com/contoso2/',
    'https://dev.azure.com/',
    'https://dev.azure.com.evil.example/contoso/',
    'https://evil.example/contoso/',
    'https://dev.azure.com:8443/contoso/',
    'http://dev.azure.com/contoso/',
    'http://contoso.visualstudio.com/',
    'https://contoso.visualstudio.com:8443/',
    'https://contoso.visualstudio.com.evil.example/',
    'https://x.contoso.visualstudio.com/',
    'https://fabrikam.visualstudio.com/contoso/',
    'contoso',
    '',
    7,
    {},
    ['https://dev.azure.com/contoso/'],
  ];
  for (const own of ['https://dev.azure.com/contoso/', 'https://contoso.visualstudio.com/']) {
    const isOurs = organizationTest(own);
    for (const url of same) assert.equal(isOurs(url), true, url);
    for (const url of others) assert.equal(isOurs(url), false, String(url));
  }
});

test('a stand-in is known by its port', () => {
  const isOurs = organizationTest('http://127.0.0.1:8081/contoso/');
  assert.equal(isOurs('http://127.0.0.1:8081/contoso/'), true);
  assert.equal(isOurs('http://127.0.0.1:8082/contoso/'), false);
});
