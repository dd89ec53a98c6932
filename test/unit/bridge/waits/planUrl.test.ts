import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { allowedPlanUrl } from '../../../../bridge/waits/planUrl.ts';
import { Random } from '../../../support/azureDevOps/random.ts';

const CONTOSO = 'https://dev.azure.com/contoso/';
const LOCAL = 'http://127.0.0.1:8088/contoso/';
const LIST = [CONTOSO, LOCAL, 'https://fabrikam.visualstudio.com/'];

const HOSTILE: Readonly<Record<string, readonly string[]>> = {
  'another organization': ['https://dev.azure.com/contoso2/', 'https://dev.azure.com/conto/', 'https://dev.azure.com/'],
  'a look-alike host': [
    ...['https://dev.azure.com.evil.example/contoso/', 'https://evildev.azure.com/contoso/'],
    ...['https://dev-azure.com/contoso/', 'https://dev.azure.co/contoso/', 'https://contoso.dev.azure.com/'],
    ...[
      'https://d\u0435v.azure.com/contoso/',
      'https://xn--dv-mlc.azure.com/contoso/',
      'https://dev。azure。com/contoso/',
    ],
    ...['https://evil.example/dev.azure.com/contoso/', 'https://evil.example/https://dev.azure.com/contoso/'],
  ],
  "an old host that isn't the organization's": [
    ...['https://contoso.visualstudio.com.evil.example/', 'https://x.contoso.visualstudio.com/'],
    ...['https://contoso-visualstudio.com/', 'https://evil.visualstudio.com/', 'https://visualstudio.com/contoso/'],
    ...['https://evil.visualstudio.com/contoso/', 'https://contoso.visualstudio.com/evil/'],
    ...['http://contoso.visualstudio.com/', 'https://contoso.visualstudio.com:8443/'],
  ],
  'a user': ['https://dev.azure.com@evil.example/contoso/', 'https://me:secret@dev.azure.com/contoso/'],
  'another port or scheme': [
    ...['https://dev.azure.com:8443/contoso/', 'http://dev.azure.com/contoso/', 'http://127.0.0.1:8089/contoso/'],
    ...['http://127.0.0.1/contoso/', 'https://127.0.0.1:8088/contoso/', 'ftp://dev.azure.com/contoso/'],
    ...['ws://dev.azure.com/contoso/', '//dev.azure.com/contoso/', 'file:///contoso/', 'javascript:alert(1)'],
    ...['https://dev.azure.com:/contoso/', 'https://dev.azure.com:99999/contoso/'],
  ],
  'an address in disguise': [
    ...['http://2130706433:8088/contoso/', 'http://0x7f.0.0.1:8088/contoso/', 'http://127.1:8088/contoso/'],
    ...['http://0177.0.0.1:8088/contoso/', 'http://[::ffff:127.0.0.1]:8088/contoso/', 'http://[::1]:8088/contoso/'],
    ...['http://[0:0:0:0:0:ffff:7f00:1]:8088/contoso/', 'http://localhost:8088/contoso/'],
    ...['http://169.254.169.254/contoso/', 'https://[fe80::1%25eth0]/contoso/'],
  ],
  'a host with a trailing dot': ['https://dev.azure.com./contoso/', 'https://contoso.visualstudio.com./'],
  'a path that is wrong or ambiguous': [
    ...[
      'https://dev.azure.com/contoso/evil/',
      'https://dev.azure.com/evil/../contoso/',
      'https://dev.azure.com/contoso/..',
    ],
    ...['https://dev.azure.com//contoso/', 'https://dev.azure.com/contoso//', 'https://dev.azure.com/./contoso/'],
    ...[
      'https://dev.azure.com/contoso%2f',
      'https://dev.azure.com/contoso%2fevil/',
      'https://dev.azure.com/%63ontoso/',
    ],
    ...['https://dev.azure.com/contoso%5c', 'https://dev.azure.com\\contoso\\', 'https:\\\\dev.azure.com/contoso/'],
    ...[
      'https://dev.azure.com/contoso;a/',
      'https://dev.azure.com/contoso/_apis/',
      'https://dev.azure.com/contoso.evil/',
    ],
  ],
  'a URL and something else': [
    ...['https://dev.azure.com/contoso/?a=b', 'https://dev.azure.com/contoso/#a', 'https://dev.azure.com/contoso/?'],
    ...[' https://dev.azure.com/contoso/', 'https://dev.azure.com/contoso/\n', 'https://dev.azure.com/con\ttoso/'],
    ...[
      'https://dev.azure.com/contoso/\r\nHost: evil',
      'https://dev.azure.com/contoso/\0',
      'https:dev.azure.com/contoso/',
    ],
    ...['', 'contoso', '$(system.CollectionUri)', `https://dev.azure.com/${'a'.repeat(100_000)}/`],
  ],
};

describe('The organization of a plan', () => {
  test('is the listed one, however Azure DevOps writes it', () => {
    for (const text of [
      ...[CONTOSO, 'https://dev.azure.com/contoso', 'https://dev.azure.com/Contoso/', 'HTTPS://DEV.AZURE.COM/contoso/'],
      ...[
        'https://dev.azure.com:443/contoso/',
        'https://contoso.visualstudio.com/',
        'https://CONTOSO.VisualStudio.com',
      ],
      'https://contoso.visualstudio.com/DefaultCollection/',
    ])
      assert.deepEqual(allowedPlanUrl(text, LIST), { url: CONTOSO }, text);
    assert.deepEqual(allowedPlanUrl('https://dev.azure.com/fabrikam/', LIST), {
      url: 'https://fabrikam.visualstudio.com/',
    });
    assert.deepEqual(allowedPlanUrl(LOCAL, LIST), { url: LOCAL });
    assert.ok('problem' in allowedPlanUrl(CONTOSO, []));
  });

  for (const [what, texts] of Object.entries(HOSTILE))
    test(`is not taken from ${what}`, () => {
      for (const text of texts) {
        const answer = allowedPlanUrl(text, LIST);
        assert.ok('problem' in answer, text);
        assert.doesNotMatch(answer.problem, /secret/);
        assert.ok(answer.problem.length < 200);
      }
    });

  test('is always a listed one, for 50,000 variations of its URL', () => {
    const random = new Random(20_261_129);
    const pieces = [
      ...[
        'https',
        'http',
        '://',
        ':',
        '/',
        '//',
        '\\',
        '@',
        '.',
        '..',
        '%2f',
        '%00',
        '?',
        '#',
        ' ',
        '\t',
        '[',
        ']',
        ':443',
      ],
      ...[
        'dev.azure.com',
        'contoso',
        'Contoso',
        '.visualstudio.com',
        'fabrikam',
        'evil',
        '127.0.0.1',
        ':8088',
        '\u0435',
      ],
    ];
    let allowed = 0;
    for (let count = 0; count < 50_000; count++) {
      let text = [CONTOSO, LOCAL, 'https://contoso.visualstudio.com/'][random.below(3)]!;
      for (let changes = random.below(4); changes > 0; changes--) {
        const at = random.below(text.length + 1);
        text = text.slice(0, at) + pieces[random.below(pieces.length)]! + text.slice(at + random.below(4));
      }
      const answer = allowedPlanUrl(text, LIST);
      if ('problem' in answer) continue;
      allowed++;
      assert.ok(LIST.includes(answer.url), text);
      // A request to the text itself would go to the same place.
      const { origin, pathname, username, password, search, hash } = new URL(text);
      assert.equal(username + password + search + hash, '', text);
      const [, old] = /^https:\/\/([a-z]+)\.visualstudio\.com$/.exec(origin) ?? [];
      const place = old === undefined ? origin + pathname : `https://dev.azure.com/${old}`;
      const wanted = answer.url === LIST[2] ? 'https://dev.azure.com/fabrikam' : answer.url;
      assert.equal(place.toLowerCase().replace(/\/$/, ''), wanted.replace(/\/$/, ''), text);
    }
    assert.ok(allowed > 1_000, `only ${allowed} were allowed`);
  });
});
