import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { createLocalJWKSet, exportJWK, SignJWT } from 'jose';
import { decide } from '../../../../bridge/callout/decide.ts';
import { readPolicy } from '../../../../bridge/callout/policy.ts';

const NOW = Date.UTC(2026, 10, 29, 12);
const SECONDS = NOW / 1_000;
const AZURE_DEVOPS = 'https://vstoken.example/33333333-3333-4333-8333-333333333333';
const TENANT = '11111111-1111-4111-8111-111111111111';
const ENTRA = `https://login.example/${TENANT}/v2.0`;
const ID = '22222222-2222-4222-8222-222222222222';
const OF_ENTRA = { iss: ENTRA, tid: TENANT, ver: '2.0', oid: ID, azp: ID, sub: ID };

const pair = generateKeyPairSync('rsa', { modulusLength: 2_048 });
// Like Microsoft Entra's, it doesn't name its algorithm.
const find = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: '1' }] });

const read = readPolicy(
  JSON.stringify({
    issuers: [
      {
        issuer: AZURE_DEVOPS,
        audience: 'nats',
        rules: [
          { sub: 'sc://contoso/*/own', account: '{project}', publish: ['>'], subscribe: ['>'] },
          { sub: 'sc://contoso/*/nats', account: 'CI', publish: ['ci.{project}.>'], subscribe: [] },
        ],
      },
      {
        issuer: ENTRA,
        audience: 'nats',
        rules: [
          { roles: ['a', 'b'], account: 'CI', publish: ['both'], subscribe: [] },
          { sub: ID, roles: ['c'], account: 'CI', publish: ['sub'], subscribe: [] },
          { groups: ['g', 'h'], account: 'CI', publish: ['groups'], subscribe: [] },
          { roles: ['a'], account: 'CI', publish: ['last'], subscribe: [] },
        ],
      },
    ],
  }),
  undefined,
);
const policy = 'policy' in read ? read.policy : assert.fail(read.problems.join('\n'));

/** The decision on a token with these claims. */
async function outcomeOf(claims: Readonly<Record<string, unknown>>, { alg = 'RS256', accounts = [''] } = {}) {
  const all = { iss: AZURE_DEVOPS, aud: 'nats', sub: 'sc://contoso/shop/nats', exp: SECONDS + 60, ...claims };
  const token = await new SignJWT(all).setProtectedHeader({ alg, kid: '1' }).sign(pair.privateKey);
  return decide(token, {
    policy,
    keys: { keyFor: (_, header) => find(header) },
    maxSessionMs: 3_600_000,
    accounts: accounts[0] === '' ? undefined : accounts,
    now: NOW,
  });
}

async function granted(claims: Readonly<Record<string, unknown>>) {
  const decision = await outcomeOf(claims);
  return decision.kind === 'granted' ? decision.grant : assert.fail(decision.refusal.message);
}

describe('A token', () => {
  for (const [what, claims, reason] of [
    ['of an issuer that is not listed', { iss: `${AZURE_DEVOPS}/` }, /does not list the issuer/],
    ['of an issuer in upper case', { iss: AZURE_DEVOPS.toUpperCase() }, /does not list the issuer/],
    ['for another audience', { aud: 'other' }, /for someone else/],
    ['that ends now', { exp: SECONDS }, /has expired/],
    ['that ended a second ago', { exp: SECONDS - 1 }, /has expired/],
    ['that begins in 31 s', { nbf: SECONDS + 31 }, /not valid yet/],
    ['of another tenant', { ...OF_ENTRA, tid: ID, roles: ['a'] }, /tid is not the tenant/],
    ['with one role of two', { ...OF_ENTRA, roles: ['b'] }, /no rule/],
    ['with the role, but another sub', { ...OF_ENTRA, sub: TENANT, roles: ['c'] }, /no rule/],
    ['with one group of two', { ...OF_ENTRA, groups: ['g'] }, /no rule/],
    [
      'that has more groups than it lists',
      { ...OF_ENTRA, hasgroups: true, roles: ['a'] },
      /rules\[2\] can't be decided/,
    ],
    [
      "of a project with the name of the callout's account",
      { sub: 'sc://contoso/AUTH/own' },
      /an account that belongs to the servers$/,
    ],
    [
      'of a project with the name of the system account',
      { sub: 'sc://contoso/SYS/own' },
      /an account that belongs to the servers$/,
    ],
  ] as const)
    test(`${what} gets nothing`, async () => {
      const decision = await outcomeOf(claims);
      assert.match(decision.kind === 'refused' ? decision.refusal.message : 'granted', reason);
    });

  for (const alg of ['RS384', 'RS512'])
    test(`signed by its issuer with ${alg} gets nothing`, async () => {
      const decision = await outcomeOf({}, { alg });
      assert.match(
        decision.kind === 'refused' ? decision.refusal.message : 'granted',
        /not signed with RS256 or ES256/,
      );
    });

  for (const [what, claims, subject] of [
    ['of a project', {}, 'ci.shop.>'],
    ['of a project with a dot', { sub: 'sc://contoso/shop.>/nats' }, /^ci\.shop--~[0-9a-f]{24}\.>$/],
    ['that begins in 30 s', { nbf: SECONDS + 30 }, 'ci.shop.>'],
    ['with all roles', { ...OF_ENTRA, roles: ['b', 'a'] }, 'both'],
    ['with role and sub', { ...OF_ENTRA, roles: ['c'] }, 'sub'],
    ['with all groups', { ...OF_ENTRA, groups: ['h', 'g'] }, 'groups'],
    ['with one role', { ...OF_ENTRA, roles: ['a'] }, 'last'],
    [
      'that has more groups than it lists, if an earlier rule without groups matches',
      { ...OF_ENTRA, hasgroups: true, roles: ['a', 'b'] },
      'both',
    ],
  ] as const)
    test(`${what} gets its rule's permissions`, async () => {
      const { publish } = await granted(claims);
      if (typeof subject === 'string') assert.deepEqual(publish, [subject]);
      else assert.match(publish.join(' '), subject);
    });

  test('allows a session until it expires, at most maxSession', async () => {
    assert.equal((await granted({})).expiresAt, SECONDS + 60);
    assert.equal((await granted({ exp: SECONDS + 7_200 })).expiresAt, SECONDS + 3_600);
  });

  test('of a project without an account gets nothing in operator mode; the reason names the account', async () => {
    const decision = await outcomeOf({ sub: 'sc://contoso/mars/own' }, { accounts: ['CI', 'shop'] });
    assert.equal(
      decision.kind === 'refused' && decision.refusal.message,
      'callout.accounts does not list the account mars of issuers[0].rules[0]',
    );
    const shop = await outcomeOf({ sub: 'sc://contoso/shop/own' }, { accounts: ['CI', 'shop'] });
    assert.equal(shop.kind === 'granted' && shop.grant.account, 'shop');
  });
});
