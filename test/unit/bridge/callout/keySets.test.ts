import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PublicDocuments } from '../../../../bridge/azureDevOps/publicDocuments.ts';
import { KeySets, type KeyState } from '../../../../bridge/callout/keySets.ts';
import { TIMING } from '../../../../bridge/timing.ts';
import { startTokenIssuer, type TokenIssuer } from '../../../support/identity/tokenIssuer.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';

/** The keys of an issuer, with a clock that the test moves. */
async function keysOf(issuer: TokenIssuer, ca?: string) {
  const clock = { now: Date.UTC(2026, 10, 29) };
  const changes: KeyState[] = [];
  const documents = new PublicDocuments({ proxy: '', ca }, 20_000);
  const keys = new KeySets({
    documents,
    timing: TIMING,
    now: () => clock.now,
    onChange: (state) => changes.push(state),
  });
  const find = async (kid = issuer.key.kid) =>
    keys.keyFor(issuer.issuers.entraV2, { alg: issuer.key.algorithm, kid }).then(
      () => 'found',
      (error: unknown) => (error as Error).message,
    );
  return { clock, changes, keys, find, [Symbol.asyncDispose]: () => documents.close() };
}

test('keys are found over TLS with a private authority, only if it is trusted', async () => {
  const authority = await createAuthority();
  await using issuer = await startTokenIssuer({ certificate: await authority.server() });
  await using trusting = await keysOf(issuer, authority.cert);
  assert.equal(await trusting.find(), 'found');
  await using distrusting = await keysOf(issuer, (await createAuthority()).cert);
  assert.match(await distrusting.find(), /^there are no keys for https:.*certificate/);
});

test('keys are fetched once, however many ask for them', async () => {
  await using issuer = await startTokenIssuer();
  await using known = await keysOf(issuer);
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, () => known.find())), Array(20).fill('found'));
  assert.equal(issuer.requests.length, 2);
});

test('an unknown key makes the bridge fetch the keys again, but at most once a minute', async () => {
  await using issuer = await startTokenIssuer();
  await using known = await keysOf(issuer);
  assert.equal(await known.find(), 'found');
  await issuer.rotate('ES256', true);
  assert.equal(await known.find(), 'found');
  assert.equal(issuer.requests.length, 4);
  for (const kid of ['1', '2', '3']) assert.match(await known.find(kid), /no key .* less than 60 s ago/);
  assert.equal(issuer.requests.length, 4);
  known.clock.now += TIMING.keysUnknown;
  assert.match(await known.find('4'), /no key that fits the token$/);
  assert.equal(issuer.requests.length, 6);
});

test('during an outage the last keys are good for a day, and the outage is reported once', async () => {
  await using issuer = await startTokenIssuer();
  await using known = await keysOf(issuer);
  assert.equal(await known.find(), 'found');
  issuer.failing = true;
  for (let minutes = 0; minutes < 30; minutes += 5) {
    known.clock.now += 300_000;
    await known.keys.refresh([issuer.issuers.entraV2]);
    assert.equal(await known.find(), 'found');
  }
  assert.deepEqual(
    known.changes.map(({ trouble }) => trouble?.replace(/:\d+/, '')),
    [undefined, '127.0.0.1 answers with status 503'],
  );
  known.clock.now += TIMING.keysKept;
  assert.match(await known.find(), /^there are no keys for/);
  issuer.failing = false;
  known.clock.now += TIMING.keysLook;
  assert.equal(await known.find(), 'found');
  assert.equal(known.changes.at(-1)?.trouble, undefined);
});

test('an issuer that is down is not asked again for each client', async () => {
  await using issuer = await startTokenIssuer();
  issuer.failing = true;
  await using known = await keysOf(issuer);
  for (let client = 0; client < 10; client++) assert.match(await known.find(), /^there are no keys for/);
  assert.equal(issuer.requests.length, 1);
});

for (const [what, path, body, problem] of [
  [
    'another issuer',
    'openid-configuration',
    '{"issuer":"https://other","jwks_uri":"https://other/keys"}',
    /to another issuer/,
  ],
  [
    'an invalid address of its keys',
    'openid-configuration',
    '{"jwks_uri":"keys"}',
    /no place of its keys|another issuer/,
  ],
  ['no JSON', 'openid-configuration', '<html>', /something else than a JSON object/],
  ['keys that are not a list', 'keys', '{"keys":{}}', /not a list of 1 to 100 keys/],
  ['no keys', 'keys', '{"keys":[]}', /not a list of 1 to 100 keys/],
  ['invalid keys', 'keys', '{"keys":[1,null]}', /can not be read|no key/],
  ['half a megabyte', 'keys', `{"keys":["${'x'.repeat(600_000)}"]}`, /larger than 524288 bytes/],
] as const)
  test(`an issuer whose documents contain ${what} has no keys`, async () => {
    await using issuer = await startTokenIssuer();
    await using known = await keysOf(issuer);
    issuer.intercept = (asked) => (asked.endsWith(path) ? { status: 200, body } : undefined);
    assert.match(await known.find(), problem);
  });
