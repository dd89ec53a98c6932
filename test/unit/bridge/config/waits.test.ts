import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { configurationFile, LEAST, problemsOf, read, readFile } from '../../../support/bridge/configurationFile.ts';

const KEY = Buffer.alloc(32, 1).toString('base64');
const FILES = { 'waits-token': 'token-1\n', 'other/token-2': 'token-2', 'sealing-key': `${KEY}\n` };
const RULE = "{ projects: [Shop], pipelines: ['*'], subjects: [ci.shop.>] }";
const LEAST_WAITS: Readonly<Record<string, string>> = {
  organizations: '[https://dev.azure.com/contoso]',
  tokenFiles: '[waits-token, other/token-2]',
  sealingKeyFiles: '[sealing-key]',
  rules: `[${RULE}]`,
};

/** A configuration with minimal waits, and these keys added or replaced. */
function withWaits(given: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ ...LEAST_WAITS, ...given }).map(([key, value]) => `  ${key}: ${value}\n`);
  return `${LEAST}waits:\n${lines.join('')}`;
}

describe('waits', () => {
  test('have the documented defaults', () => {
    const { settings, warnings } = read(withWaits(), { files: FILES });
    const { tokens, sealingKeys, ...others } = settings.waits!;
    assert.deepEqual(warnings, []);
    assert.deepEqual(others, {
      organizations: ['https://dev.azure.com/contoso/'],
      issuers: [],
      rules: [
        { projects: ['Shop'], pipelines: ['*'], subjects: ['ci.shop.>'], tokens: [], proof: 'plan', maxOpen: 200 },
      ],
      maxWaitMs: 86_400_000,
    });
    assert.deepEqual(
      tokens.map(({ name, value }) => [name, value]),
      [
        ['waits-token', 'token-1'],
        ['token-2', 'token-2'],
      ],
    );
    assert.deepEqual(
      sealingKeys.map(({ value }) => Buffer.from(value).toString('base64')),
      [KEY],
    );
    assert.equal(read(LEAST).settings.waits, undefined);
  });

  test('can take tokens and keys from the environment', () => {
    const env = { TOKEN: 'secret-token', KEY };
    const yaml = withWaits({
      tokenEnvs: '[TOKEN]',
      sealingKeyEnvs: '[KEY]',
      rules: `[${RULE.replace(' }', ', tokens: [TOKEN] }')}]`,
    });
    const { waits } = read(yaml, { files: FILES, env }).settings;
    assert.deepEqual(
      waits!.tokens.map(({ name }) => name),
      ['waits-token', 'token-2', 'TOKEN'],
    );
    assert.equal(waits!.sealingKeys.length, 2);
  });

  test('read changed secrets again', () => {
    let now = 0;
    const file = configurationFile(withWaits(), FILES);
    const { waits } = readFile(file, { now: () => now }).settings;
    writeFileSync(path.join(path.dirname(file), 'waits-token'), 'token-of-tomorrow');
    writeFileSync(path.join(path.dirname(file), 'sealing-key'), Buffer.alloc(32, 9).toString('base64'));
    now += 2_000;
    assert.equal(waits!.tokens[0]!.value, 'token-of-tomorrow');
    assert.equal(waits!.sealingKeys[0]!.value[0], 9);
  });
});

describe('Problems of waits are reported with their place and fix', () => {
  const rule = (more: string) => ({ rules: `[${RULE.replace(' }', `, ${more} }`)}]` });
  const cases: Readonly<Record<string, [given: Readonly<Record<string, string>>, problem: string]>> = {
    'no organization': [{ organizations: '[]' }, 'waits.organizations: is empty'],
    'no token': [{ tokenFiles: '[]' }, 'waits.tokenFiles: is required: nobody could sign in without a token.'],
    'no key': [{ sealingKeyFiles: '[]' }, 'waits.sealingKeyFiles: is required: waits are stored sealed only.'],
    'an organization that is not encrypted': [
      { organizations: '[http://dev.azure.com/contoso/]' },
      '7:19: waits.organizations[0]: "http://dev.azure.com/contoso/" is not encrypted.',
    ],
    'an organization with a password': [
      { organizations: '[https://me:pw@dev.azure.com/contoso/]' },
      '7:19: waits.organizations[0]: holds a user or password. Secrets never stand in the configuration.',
    ],
    'a URL without an organization': [
      { organizations: '[https://dev.azure.com/]' },
      'waits.organizations[0]: "https://dev.azure.com/" is not the URL of an organization. Write it like ',
    ],
    'a token that no header can carry': [
      { tokenFiles: '[two-words]' },
      '8:16: waits.tokenFiles[0]: "two-words" holds white space or other characters that no HTTP header can carry.',
    ],
    'two tokens with the same name': [
      { tokenFiles: '[waits-token, ./waits-token]' },
      '8:29: waits.tokenFiles[1]: has the name of tokenFiles[0] (line 8), "waits-token". Rename the newer of the two: the rules name tokens by it.',
    ],
    'a missing file': [
      { tokenFiles: '[nothing]' },
      'waits.tokenFiles[0]: "nothing" can\'t be read: it doesn\'t exist.',
    ],
    'a key of the wrong length': [
      { sealingKeyFiles: '[short]' },
      '9:21: waits.sealingKeyFiles[0]: "short" doesn\'t hold 32 bytes in base64. Make a key: openssl rand -base64 32.',
    ],
    "a key that isn't base64": [{ sealingKeyFiles: '[odd]' }, 'waits.sealingKeyFiles[0]: "odd" doesn\'t hold 32 bytes'],
    "a wait longer than a job token's life": [
      { maxWait: '48h' },
      '11:12: waits.maxWait: "48h" is longer than 47h. Job tokens live no longer.',
    ],
    'an unknown token': [
      rule('tokens: [token-1]'),
      'waits.rules[0].tokens[0]: "token-1" is not the name of a token. There are waits-token, token-2.',
    ],
    'a subject': [
      { rules: '[{ projects: [Shop], pipelines: [web], subjects: [ci..v1] }]' },
      'waits.rules[0].subjects[0]: "ci..v1" has an empty part',
    ],
    'a rule without subjects': [
      { rules: '[{ projects: [Shop], pipelines: [web] }]' },
      'waits.rules[0].subjects: is required.',
    ],
    'a limit': [rule('maxOpen: 0'), 'waits.rules[0].maxOpen: is 0, not at least 1.'],
    'a rule that wants ID tokens without issuers': [
      rule('proof: job'),
      'waits.issuers: is required for rules[0], whose proof is job. Write https://vstoken.dev.azure.com/ and',
    ],
    'an issuer with a trailing slash': [
      { ...rule('proof: job'), issuers: '[https://vstoken.dev.azure.com/0/]' },
      'waits.issuers[0]: "https://vstoken.dev.azure.com/0/" is not an issuer.',
    ],
    'an unknown key': [
      { organisations: '[x]' },
      'waits.organisations: is not a key that the bridge knows. The nearest one is "organizations".',
    ],
  };
  for (const [what, [given, problem]] of Object.entries(cases))
    test(what, () => {
      const files = { ...FILES, 'two-words': 'a b', short: 'AAAA', odd: `!${KEY.slice(1)}` };
      const problems = problemsOf(withWaits(given), { files });
      assert.ok(problems.length === 1 && problems[0]!.includes(problem), problems.join('\n'));
    });
});
