import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { exportJWK, generateKeyPair, importJWK, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from 'jose';
import { idTokenVerifier } from '../../../../bridge/waits/idToken.ts';
import { Unavailable } from '../../../../bridge/waits/refusal.ts';
import { PROJECT } from '../../../support/bridge/waitsReceiver.ts';

const ISSUER = 'https://vstoken.dev.azure.com/7fcc1b6c-2a0c-4d3a-8f5c-3f0d5f4f0f00';
const KEYS = `${ISSUER}/.well-known/jwks`;
const PLAN = { project: PROJECT, pipeline: { id: 42, name: 'web' }, version: 13 };
const NOW = Date.parse('2026-11-28T10:00:00Z');

let key: CryptoKey;
let otherKey: CryptoKey;
let jwk: JWK;
let privateJwk: JWK;

before(async () => {
  const pair = await generateKeyPair('RS256', { extractable: true });
  key = pair.privateKey;
  jwk = { ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' };
  privateJwk = await exportJWK(key);
  otherKey = (await generateKeyPair('RS256')).privateKey;
});

interface Made {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly by?: CryptoKey;
  readonly alg?: string;
}

function token({ claims = {}, by = key, alg = 'RS256' }: Made = {}): Promise<string> {
  const seconds = NOW / 1_000;
  const all = {
    iss: ISSUER,
    aud: 'api://AzureADTokenExchange',
    iat: seconds,
    exp: seconds + 300,
    prj_id: PROJECT,
    def_id: '42',
  };
  return new SignJWT({ ...all, ...claims }).setProtectedHeader({ alg, kid: 'k1' }).sign(by);
}

function verifier(documents: Readonly<Record<string, unknown>> = {}) {
  const asked: string[] = [];
  const all: Record<string, unknown> = {
    [`${ISSUER}/.well-known/openid-configuration`]: { issuer: ISSUER, jwks_uri: KEYS },
    [KEYS]: { keys: [jwk] },
    ...documents,
  };
  const document = async (url: string): Promise<unknown> => {
    asked.push(url);
    if (all[url] === undefined) throw new Error('status 503');
    return all[url];
  };
  return { asked, verify: idTokenVerifier({ issuers: [ISSUER], document, now: () => NOW }) };
}

async function problemWith(made: Made): Promise<string | undefined> {
  return verifier().verify(await token(made), PLAN);
}

describe('An ID token of a job', () => {
  test('proves its plan, with keys that are fetched once', async () => {
    const { asked, verify } = verifier();
    assert.equal(await verify(await token(), PLAN), undefined);
    assert.equal(await verify(await token({ claims: { def_id: 42, prj_id: PROJECT.toUpperCase() } }), PLAN), undefined);
    assert.equal(asked.length, 2);
  });

  const seconds = NOW / 1_000;
  const cases: Readonly<Record<string, [claims: Readonly<Record<string, unknown>>, problem: RegExp]>> = {
    'of another audience': [{ aud: 'api://nats' }, /"aud"/],
    'that has expired': [{ exp: seconds - 61 }, /"exp"/],
    'that never expires': [{ exp: undefined }, /"exp"/],
    'that is not valid yet': [{ nbf: seconds + 120 }, /"nbf"/],
    'of another project': [{ prj_id: '00000000-0000-4000-8000-000000000000' }, /^it belongs to another project$/],
    'of no project': [{ prj_id: undefined }, /another project/],
    'of another pipeline': [{ def_id: '43' }, /^it belongs to another pipeline$/],
    'of no pipeline': [{ def_id: undefined }, /another pipeline/],
    'of an empty pipeline': [{ def_id: '' }, /another pipeline/],
  };
  for (const [what, [claims, problem]] of Object.entries(cases))
    test(`${what} proves nothing`, async () => assert.match((await problemWith({ claims })) ?? '', problem));

  test('signed by someone else proves nothing, nor does an unsigned one', async () => {
    assert.match((await problemWith({ by: otherKey })) ?? '', /signature verification failed/);
    const unsigned = new UnsecuredJWT({ iss: ISSUER, prj_id: PROJECT, def_id: '42' }).encode();
    assert.match((await verifier().verify(unsigned, PLAN)) ?? '', /"alg"/);
    assert.match((await verifier().verify('x.y.z', PLAN)) ?? '', /its issuer "" is not one of/);
  });

  test('with another algorithm proves nothing, even with the right key', async () => {
    const anyUse = { ...jwk, alg: undefined };
    const by = (await importJWK({ ...privateJwk, alg: 'PS256' }, 'PS256')) as CryptoKey;
    const { verify } = verifier({ [KEYS]: { keys: [anyUse] } });
    assert.match((await verify(await token({ by, alg: 'PS256' }), PLAN)) ?? '', /"alg"/);
  });

  test("of another issuer proves nothing, and that issuer's keys are not fetched", async () => {
    for (const iss of ['https://evil.example', `${ISSUER}/`, ISSUER.toUpperCase(), undefined]) {
      const { asked, verify } = verifier();
      assert.match(
        (await verify(await token({ claims: { iss } }), PLAN)) ?? '',
        /its issuer ".*" is not one of waits\.issuers/,
      );
      assert.deepEqual(asked, []);
    }
  });

  test("can't be judged if the keys can't be fetched, or belong to someone else", async () => {
    const discovery = `${ISSUER}/.well-known/openid-configuration`;
    const others: Readonly<Record<string, unknown>>[] = [
      { [KEYS]: undefined },
      { [discovery]: { issuer: 'https://evil.example', jwks_uri: KEYS } },
      {
        [discovery]: { issuer: ISSUER, jwks_uri: 'http://evil.example/keys' },
        'http://evil.example/keys': { keys: [jwk] },
      },
      { [discovery]: 'x' },
    ];
    for (const documents of others)
      await assert.rejects(verifier(documents).verify(await token(), PLAN), Unavailable, JSON.stringify(documents));
  });
});
