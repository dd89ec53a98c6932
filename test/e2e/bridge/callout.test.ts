import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import {
  calloutServers,
  mayPublish,
  maySubscribe,
  policyFor,
  problemsOf,
  startCallout,
  type Callout,
} from '../../support/bridge/calloutBridge.ts';
import { startTokenIssuer } from '../../support/identity/tokenIssuer.ts';

const issuer = await startTokenIssuer();
const stranger = await startTokenIssuer();
after(() => Promise.all([issuer.stop(), stranger.stop()]));

const everything = { account: 'CI', publish: ['>'], subscribe: ['>'] };

const POLICY = policyFor(issuer, {
  azureDevOps: [
    { sub: 'sc://my-organisation/shop/admin', ...everything },
    { sub: 'sc://my-organisation/shop/brief', ...everything, maxLifetime: 2 },
    { sub: 'sc://my-organisation/shop/mute', account: 'CI', publish: [], subscribe: [] },
  ],
  entraV2: [{ groups: ['deployers'], ...everything }],
});

const foreignKeys = await generateKeyPair('RS256');

/** Tokens that must be refused, and the reason in the log. */
const REFUSED: readonly [whose: string, token: () => Promise<string> | string, reason: RegExp][] = [
  ['an unlisted sub', () => connection('other'), /no rule/],
  ['the sub of a pipeline', () => issuer.connection('p://my-organisation/shop/nats'), /no rule/],
  ['a sub with an extra part', () => issuer.connection('sc://my-organisation/shop/x/nats'), /sub is not sc:/],
  ['a sub without a project', () => issuer.connection('sc://my-organisation//nats'), /sub is not sc:/],
  ['a sub in another case', () => issuer.connection('sc://my-organisation/shop/NATS'), /no rule/],
  ['no sub', () => azure({ sub: undefined }), /no sub/],
  ['another audience', () => azure({ aud: 'api://other' }), /for someone else/],
  ['no audience', () => azure({ aud: undefined }), /no aud/],
  ['an unlisted issuer', () => stranger.token('azureDevOps'), /does not list the issuer/],
  ['no issuer', () => azure({ iss: undefined }), /does not list the issuer/],
  ['an expired token', () => azure({ exp: seconds() - 1 }), /expired/],
  ['a token that never expires', () => azure({ exp: undefined }), /no exp/],
  ['a token from the future', () => azure({ nbf: seconds() + 90 }), /not valid yet/],
  [
    'a signature by another key',
    () => signed({ alg: 'RS256', kid: issuer.key.kid }, foreignKeys.privateKey),
    /signature/,
  ],
  ['a signature by a stranger', () => stranger.token('azureDevOps', { iss: issuer.issuers.azureDevOps }), /no key/],
  ['no signature (alg none)', () => new UnsecuredJWT(issuer.claims('azureDevOps')).encode(), /not signed with/],
  [
    'the public key used as a secret (HS256)',
    async () =>
      signed({ alg: 'HS256', kid: issuer.key.kid }, new TextEncoder().encode(await exportSPKI(issuer.key.publicKey))),
    /not signed with/,
  ],
  [
    'a token of another type',
    () => signed({ alg: 'RS256', kid: issuer.key.kid, typ: 'logout+jwt' }, issuer.key.privateKey),
    /of type "logout\+jwt"/,
  ],
  [
    'claims changed after signing',
    async () => {
      const [header, , signature] = (await connection('other')).split('.');
      const claims = Buffer.from(
        JSON.stringify(issuer.claims('azureDevOps', { sub: 'sc://my-organisation/shop/admin' })),
      );
      return [header, claims.toString('base64url'), signature].join('.');
    },
    /signature/,
  ],
  ['another tenant', () => issuer.token('entraV2', { tid: stranger.tenant, groups: ['deployers'] }), /tid is not/],
  ['no tenant', () => issuer.token('entraV2', { tid: undefined, groups: ['deployers'] }), /tid is not/],
  ['the wrong version', () => issuer.token('entraV2', { ver: '1.0', groups: ['deployers'] }), /ver is not/],
  [
    'the claims of an ID token',
    () => issuer.token('entraV2', { azp: undefined, groups: ['deployers'] }),
    /isn't an access token/,
  ],
  [
    'roles nested in a list',
    () => issuer.token('entraV2', { roles: [['nats.publish.ci.shop']] }),
    /roles is not a list/,
  ],
  ['groups as one text', () => issuer.token('entraV2', { groups: 'deployers' }), /groups is not a list/],
  [
    'more groups than fit',
    () => issuer.token('entraV2', { roles: ['nats.publish.ci.shop'], _claim_names: { groups: 'src1' } }),
    /there are too many, so issuers\[1\]\.rules\[0\] can't be decided/,
  ],
  ['no role', () => issuer.token('entraV1'), /no rule/],
];

for (const { mode, line } of calloutServers('straight'))
  describe(`The callout in ${mode} mode on nats-server ${line}`, () => {
    let callout: Callout;
    before(async () => {
      callout = await startCallout({ mode, line, policy: POLICY });
    });
    after(() => callout[Symbol.asyncDispose]());

    test('lets a service connection use only the subjects of its own project', async () => {
      await using client = await callout.connect(await connection('nats'));
      assert.equal(await mayPublish(client, 'ci.shop.built'), true);
      assert.equal(await mayPublish(client, 'ci.bank.built'), false);
      assert.equal(await mayPublish(client, '$JS.API.STREAM.NAMES'), false);
      assert.equal(await mayPublish(client, '$SYS.REQ.USER.AUTH'), false);
      assert.equal(await maySubscribe(client, '_INBOX.shop.x'), true);
      assert.equal(await maySubscribe(client, '_INBOX.bank.x'), false);
      assert.equal(await maySubscribe(client, 'ci.shop.built'), false);
    });

    for (const kind of ['entraV1', 'entraV2'] as const) {
      test(`gives a ${kind} token the permissions of its app roles`, async () => {
        await using writer = await callout.connect(await issuer.token(kind, { roles: ['nats.publish.ci.shop'] }));
        assert.equal(await mayPublish(writer, 'ci.shop.built'), true);
        assert.equal(await mayPublish(writer, '$JS.API.STREAM.INFO.CI_shop'), false);
        await using reader = await callout.connect(await issuer.token(kind, { roles: ['nats.read.ci.shop'] }));
        assert.equal(await mayPublish(reader, 'ci.shop.built'), false);
        assert.equal(await mayPublish(reader, '$JS.API.STREAM.INFO.CI_shop'), true);
      });
    }

    test('treats empty lists of subjects as no permission', async () => {
      await using client = await callout.connect(await connection('mute'));
      assert.equal(await mayPublish(client, 'ci.shop.built'), false);
      assert.equal(await maySubscribe(client, 'ci.shop.built'), false);
    });

    test('ends a connection when its token expires', async () => {
      const client = await callout.connect(await connection('admin', { exp: seconds() + 2 }), { reconnect: false });
      const problems = problemsOf(client);
      await client.flush();
      await client.closed();
      assert.deepEqual(problems, ['AUTHENTICATION_EXPIRED']);
    });

    for (const [whose, token, reason] of REFUSED)
      test(`refuses a client with ${whose}`, async () => {
        await callout.refuses(await token(), reason);
      });

    test('refuses a client without a token, or with the token as its password', async () => {
      await callout.refuses(undefined, /sent no token/);
      if (mode === 'config')
        await callout.refuses(undefined, /no token/, { user: 'admin', pass: await connection('admin') });
    });

    test("accepts a token longer than the server's default limit of a line", async () => {
      await using client = await callout.connect(await connection('mute', { filler: 'x'.repeat(6_000) }));
      await client.flush();
    });
  });

function azure(changes: Readonly<Record<string, unknown>>): Promise<string> {
  return issuer.connection('sc://my-organisation/shop/admin', changes);
}

function connection(name: string, changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return issuer.connection(`sc://my-organisation/shop/${name}`, changes);
}

type SigningKey = Parameters<SignJWT['sign']>[0];

/** An issuer's claims with another signature. */
function signed(header: { alg: string; kid: string; typ?: string }, key: SigningKey, from = issuer): Promise<string> {
  return new SignJWT(from.claims('azureDevOps', { sub: 'sc://my-organisation/shop/admin' }))
    .setProtectedHeader(header)
    .sign(key);
}

/** The current time in seconds, as in a JWT. */
function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
