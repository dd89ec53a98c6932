import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { readPolicy } from '../../../../bridge/callout/policy.ts';
import { safeToken } from '../../../../bridge/callout/grant.ts';
import { EXAMPLE_POLICY } from '../../../support/bridge/calloutBridge.ts';

const rule = { sub: 'sc://a/*/c', account: 'CI', publish: ['>'], subscribe: ['>'] };
const entry = { issuer: 'https://issuer.example/1', audience: 'nats', rules: [rule] };

function problemsOf(content: unknown, accounts?: readonly string[]): readonly string[] {
  const read = readPolicy(typeof content === 'string' ? content : JSON.stringify(content), accounts);
  return 'problems' in read ? read.problems : [];
}

function withRule(changes: object): object {
  return { issuers: [{ ...entry, rules: [rule, { ...rule, ...changes }] }] };
}

test("the example's policy is valid", () => {
  assert.deepEqual(problemsOf(readFileSync(EXAMPLE_POLICY, 'utf8'), ['CI']), []);
});

describe('a policy is refused if it has', () => {
  for (const [what, content, problem] of [
    [
      'no JSON',
      '{\n  "issuers": [],\n}',
      /^it is not JSON: line 3, column 1: expected a name in double quotes after the comma in line 2$/,
    ],
    [
      'a misspelt field',
      withRule({ publsih: [], publish: undefined }),
      /^issuers\[0\]\.rules\[1\]: "publsih" is not a field that the bridge knows \(did you mean "publish"\?\)$/,
    ],
    [
      'a misspelt condition',
      withRule({ sub: undefined, role: ['a'] }),
      /^issuers\[0\]\.rules\[1\]: "role" is not a field that the bridge knows \(did you mean "roles"\?\)$/,
    ],
    [
      'an unknown field',
      { issuers: [{ ...entry, keys: [] }] },
      /^issuers\[0\]: "keys" is not a field that the bridge knows; there are issuer, audience, rules$/,
    ],
    ['no list of subjects', withRule({ publish: 'ci.>' }), /^issuers\[0\]\.rules\[1\]\.publish: is not a list$/],
    [
      'a rule without subscribe',
      withRule({ subscribe: undefined }),
      /^issuers\[0\]\.rules\[1\]\.subscribe: is required$/,
    ],
    ['a rule without a condition', withRule({ sub: undefined }), /rules\[1\]: has none of sub, roles and groups/],
    ['a rule for everybody', withRule({ sub: 'sc://*/*/*' }), /rules\[1\]\.sub: .* matches everybody/],
    ['a rule for any sub', withRule({ sub: '*' }), /rules\[1\]\.sub: "\*": its first part can't be \*/],
    ['no roles in the list', withRule({ roles: [] }), /rules\[1\]\.roles: is empty/],
    ['an empty group', withRule({ groups: [''] }), /rules\[1\]\.groups\[0\]: is empty/],
    [
      'a * inside a part of the sub',
      withRule({ sub: 'sc://a/shop-*/c' }),
      /rules\[1\]\.sub: "sc:\/\/a\/shop-\*\/c": \* stands for a whole part/,
    ],
    [
      'a placeholder in the middle of a token',
      withRule({ publish: ['ci.x{project}.>'] }),
      /publish\[0\]: "ci\.x\{project\}\.>": a placeholder is a whole part/,
    ],
    [
      'a placeholder before other text',
      withRule({ publish: ['ci.{project}x.>'] }),
      /publish\[0\]: .*: a placeholder is/,
    ],
    [
      'an unknown placeholder',
      withRule({ publish: ['ci.{team}.>'] }),
      /publish\[0\]: "ci\.\{team\}\.>": \{team\} is not a placeholder; there are \{organisation\}, .* \{object\}$/,
    ],
    [
      'a misspelt placeholder',
      withRule({ publish: ['ci.{clint}.>'] }),
      /^issuers\[0\]\.rules\[1\]\.publish\[0\]: "ci\.\{clint\}\.>": \{clint\} is not a placeholder; write \{client\}$/,
    ],
    [
      'an account with an unknown placeholder',
      withRule({ account: '{clint}' }),
      /account: "\{clint\}": .*; write \{client\}$/,
    ],
    [
      "a placeholder that only another issuer's tokens have",
      withRule({ account: '{object}', subscribe: ['a', 'b.{client}'] }),
      /^(issuers\[0\]\.rules\[1\]\.(account|subscribe\[1\]): "\S+": tokens of service connections \(sc:\/\/\) have no value for \{(object|client)\}; they have \{organisation\}, \{project\}, \{connection\}, \{projectId\}\n?){2}$/,
    ],
    [
      'a placeholder that only connections have',
      withRule({ sub: 'p://a/*/*', publish: ['ci.{connection}'] }),
      /tokens of pipelines \(p:\/\/\) have no value for \{connection\}; they have .*\{pipeline\}, /,
    ],
    [
      'a placeholder of Azure DevOps for a tenant of Entra',
      {
        issuers: [
          {
            issuer: 'https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0',
            audience: 'nats',
            rules: [{ ...rule, sub: undefined, roles: ['a'], publish: ['ci.{object}', 'ci.{project}.>'] }],
          },
        ],
      },
      /^issuers\[0\]\.rules\[0\]\.publish\[1\]: "ci\.\{project\}\.>": tokens of Microsoft Entra have no value for \{project\}; they have \{client\}, \{object\}$/,
    ],
    [
      'a placeholder where the sub has no parts for it',
      withRule({ sub: 'repo:a', publish: ['ci.{project}'] }),
      /tokens with a sub like "repo:a" have no value for \{project\}; they have none$/,
    ],
    ['a subject with a * inside a part', withRule({ publish: ['ci.b*'] }), /publish\[0\]: "ci\.b\*" has a \* or >/],
    ['an empty subject', withRule({ subscribe: [''] }), /subscribe\[0\]: "" is empty/],
    [
      'a subject with an empty token',
      withRule({ publish: ['ci..built'] }),
      /publish\[0\]: "ci\.\.built" has an empty part/,
    ],
    ['an account with two placeholders', withRule({ account: '{project}{client}' }), /account: .* is neither/],
    ['a lifetime of 0', withRule({ maxLifetime: 0 }), /maxLifetime: is 0, not at least 1/],
    ['the same issuer twice', { issuers: [entry, entry] }, /issuers\[1\]\.issuer: .* is listed twice/],
    [
      'an unencrypted issuer',
      { issuers: [{ ...entry, issuer: 'http://issuer.example' }] },
      /issuer: .* is not an https:\/\/ URL/,
    ],
  ] as const)
    test(what, () => {
      assert.match(problemsOf(content).join('\n'), problem);
    });

  test('an account that is not in the configuration, in operator mode', () => {
    assert.match(
      problemsOf(withRule({}), ['OTHER']).join('\n'),
      /rules\[0\]\.account: "CI" is not one of callout\.accounts/,
    );
  });
});

test("each name becomes one token of a subject, unlike any other name's", () => {
  assert.equal(safeToken('Shop_1-a'), 'Shop_1-a');
  const names = [
    'my shop',
    'my-shop',
    'my.shop',
    'MY shop',
    'my  shop',
    'é',
    'e\u0301',
    '*',
    '>',
    '',
    'x'.repeat(65),
    'x'.repeat(66),
  ];
  const tokens = names.map(safeToken);
  assert.equal(new Set(tokens).size, names.length);
  for (const token of tokens) assert.match(token, /^[A-Za-z0-9_~-]{1,65}$/);
  // A token that is itself used as a name becomes a different one.
  assert.notEqual(safeToken(safeToken('my shop')), safeToken('my shop'));
});
