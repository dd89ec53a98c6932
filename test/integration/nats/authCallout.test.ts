import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { connect, Events, headers, jwtAuthenticator, type NatsConnection } from 'nats';
import { Algorithms, createServer, createUser, decode, encode } from 'nats-jwt';
import { createCurve } from 'nkeys.js';
import { readPolicy } from '../../../examples/auth-callout/policy.mjs';
import type { ConnectionSettings } from '../../../shared/connection/settings.ts';
import {
  CALLOUT_EXAMPLE,
  changeResponderConfig,
  Responder,
  setUpCallout,
  startCallout,
  type Callout,
} from '../../support/nats/authCallout.ts';
import { CONNECTION_ID, oidcAgent, readSettings } from '../../support/agent/oidcJob.ts';
import { temporaryFolder } from '../../../localAgent/vsix.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { startOidcIssuer, type OidcIssuer } from '../../support/agent/oidcIssuer.ts';
import { openBus, type OpenBus } from '../../support/nats/openBus.ts';

const issuer = await startOidcIssuer({ organisation: 'my-organisation' });
const stranger = await startOidcIssuer({ organisation: 'my-organisation' });
/** Its tokens live for moments only. */
const azure = await startOidcIssuer({
  organisation: 'my-organisation',
  serviceConnections: { [CONNECTION_ID]: 'nats' },
});
azure.lifetimeSeconds = 3;
after(() => Promise.all([issuer.stop(), stranger.stop(), azure.stop()]));

/** The example's own rules for an issuer, and a few more. */
function entryFor({ url }: OidcIssuer, ...rules: object[]): object {
  const [example] = JSON.parse(readFileSync(path.join(CALLOUT_EXAMPLE, 'policy.json'), 'utf8')).issuers;
  return { ...example, issuer: url, rules: [...example.rules, ...rules] };
}

const everything = { account: 'CI', publish: ['>'], subscribe: ['>'] };
const policy = {
  issuers: [
    entryFor(
      issuer,
      { sub: issuer.subject('admin'), ...everything },
      { sub: issuer.subject('brief'), ...everything, maxLifetime: 2 },
      { sub: issuer.subject('mute'), account: 'CI', publish: [], subscribe: [] },
    ),
    entryFor(azure),
  ],
};

const foreignKeys = await generateKeyPair('RS256');

/** Tokens that must not sign anybody in, and what the responder's log says of them. */
const REFUSED: readonly [whose: string, token: () => Promise<string> | string, reason: RegExp][] = [
  ['an unlisted sub', () => tokenOf('other'), /no rule/],
  ['the sub of a pipeline', () => issuer.token({ sub: 'p://my-organisation/shop/nats' }), /no rule/],
  ['a sub with one part more', () => issuer.token({ sub: 'sc://my-organisation/shop/x/nats' }), /no rule/],
  ['a sub in other letters', () => issuer.token({ sub: 'sc://my-organisation/shop/NATS' }), /no rule/],
  ['a token without a sub', () => issuer.token({ sub: undefined }), /"sub" claim/],
  ['another audience', () => issuer.token({ aud: 'api://other' }), /"aud" claim/],
  ['no audience', () => issuer.token({ aud: undefined }), /"aud" claim/],
  ['an unlisted issuer', () => stranger.token(), /policy does not list this issuer/],
  ['no issuer', () => issuer.token({ iss: undefined }), /policy does not list this issuer/],
  ['an expired token', () => issuer.token({ exp: seconds() - 1 }), /"exp" claim/],
  ['a token that never expires', () => issuer.token({ exp: undefined }), /"exp" claim/],
  ['a token of the future', () => issuer.token({ nbf: seconds() + 60 }), /"nbf" claim/],
  [
    'a signature by another key',
    () => signed({ alg: 'RS256', kid: issuer.kid }, foreignKeys.privateKey),
    /signature verification failed/,
  ],
  [
    'a signature by the stranger in the name of the issuer',
    () => stranger.token({ iss: issuer.url }),
    /no applicable key/,
  ],
  ['no signature (alg none)', () => new UnsecuredJWT(issuer.claims()).encode(), /"alg"/],
  [
    'the public key taken for a secret (HS256)',
    async () => signed({ alg: 'HS256', kid: issuer.kid }, new TextEncoder().encode(await exportSPKI(issuer.publicKey))),
    /"alg"/,
  ],
  [
    'claims changed after signing',
    async () => {
      const [header, , signature] = (await tokenOf('other')).split('.');
      const claims = Buffer.from(JSON.stringify(issuer.claims({ sub: issuer.subject('admin') })));
      return [header, claims.toString('base64url'), signature].join('.');
    },
    /signature verification failed/,
  ],
];

describe('an auth callout', { concurrency: 2 }, () => {
  for (const line of ['2.10', '2.15'] as const) {
    describe(`on nats-server ${line}`, { concurrency: 2 }, () => {
      let callout: Callout;
      before(async () => {
        callout = await startCallout({ line, policy });
      });
      after(() => callout.stop());

      test('lets a service connection do what its rule allows, and nothing else', async () => {
        await using client = await signIn(callout, 'nats-release');
        assert.equal(await mayPublish(client, 'ci.shop.built'), true);
        assert.equal(await mayPublish(client, 'release.shop.v1'), true);
        assert.equal(await mayPublish(client, 'ci.bank.built'), false);
        assert.equal(await mayPublish(client, '$SYS.REQ.USER.AUTH'), false);
        assert.equal(await maySubscribe(client, '_INBOX.x'), true);
        assert.equal(await maySubscribe(client, 'ci.shop.built'), false);
        const sub = issuer.subject('nats-release');
        const entry = await callout.responder.entry((one) => one.event === 'allowed' && one['sub'] === sub);
        assert.deepEqual([entry['iss'], entry['rule'], entry['account']], [issuer.url, sub, 'CI']);
      });

      test('takes empty lists of subjects as nothing at all', async () => {
        await using client = await signIn(callout, 'mute');
        assert.equal(await mayPublish(client, 'ci.shop.built'), false);
        assert.equal(await maySubscribe(client, 'ci.shop.built'), false);
      });

      test('lets a project into its own part of the subjects only', async () => {
        await using client = await signIn(callout, 'nats');
        assert.equal(await mayPublish(client, 'ci.shop.built'), true);
        assert.equal(await mayPublish(client, 'ci.bank.built'), false);
        assert.equal(await maySubscribe(client, '_INBOX.shop.x'), true);
        assert.equal(await maySubscribe(client, '_INBOX.bank.x'), false);
      });

      for (const project of ['shop.bank', '*', '>', 'my shop', 'shop.>', '{project}', 'größer', '']) {
        test(`gives no subjects to a project named "${project}", which could stand for more than itself`, async () => {
          const token = await issuer.token({ sub: `sc://my-organisation/${project}/nats` });
          await callout.refuses(token, /the project in this sub is not letters/);
        });
      }

      for (const [whose, token, reason] of REFUSED) {
        test(`refuses a client with ${whose}`, async () => {
          await callout.refuses(await token(), reason);
        });
      }

      test('refuses a client with a password, or with nothing', async () => {
        await callout.refuses(undefined, /no token/, { user: 'admin', pass: await tokenOf('admin') });
        await callout.refuses(undefined, /no token/);
      });

      test('takes a token longer than a line of the server is by default', async () => {
        const token = await issuer.token({ sub: issuer.subject('mute'), filler: 'x'.repeat(6000) });
        await (await callout.connect(token)).close();
      });

      test('never asks an issuer that the policy does not list', async () => {
        await callout.refuses(await stranger.token(), /policy does not list this issuer/);
        assert.deepEqual(stranger.requests, []);
      });

      test('logs what a client calls itself without doing what it says', async () => {
        const sub = 'sc://x/\r\n##vso[task.complete]\u001b[2J\u0085\u202e\u2028';
        assert.equal((await callout.refuses(await issuer.token({ sub }), /no rule/))['sub'], sub);
        assert.doesNotMatch(callout.responder.output, /[\0-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]/);
      });

      for (const { why, claims } of [
        { why: 'its token does', claims: () => ({ sub: issuer.subject('admin'), exp: seconds() + 2 }) },
        { why: 'the rule says so', claims: () => ({ sub: issuer.subject('brief') }) },
      ]) {
        test(`ends a connection when ${why}`, async () => {
          const client = await callout.connect(await issuer.token(claims()), { reconnect: false });
          const problems = problemsOf(client);
          await client.flush();
          await client.closed();
          assert.deepEqual(problems, ['AUTHENTICATION_EXPIRED']);
        });
      }

      test('works without sealed requests too', async () => {
        await using plain = await startCallout({ line, policy, sealed: false });
        await using client = await signIn(plain, 'nats');
        assert.equal(await mayPublish(client, 'ci.shop.built'), true);
        assert.equal(await mayPublish(client, 'ci.bank.built'), false);
        await plain.refuses(await tokenOf('other'), /no rule/);
      });

      test('shares the sign-ins between two responders, goes on with one, and lets nobody in without', async () => {
        await using own = await startCallout({ line, policy });
        await using second = await Responder.start(own.folder);
        for (let number = 1; number <= 12; number++) await (await signIn(own, 'admin')).close();
        const answered = (): number[] =>
          [own.responder, second].map(({ entries }) => entries.filter(({ event }) => event === 'allowed').length);
        await Promise.race([own.responder, second].map((one) => one.until(() => sum(answered()) === 12)));
        assert.ok(Math.min(...answered()) > 0, `they answered ${answered().join(' and ')}`);

        assert.equal(await second.stop(), 0);
        await (await signIn(own, 'admin')).close();
        assert.equal(await own.responder.stop(), 0);
        const since = Date.now();
        await assert.rejects(signIn(own, 'admin'), { code: 'AUTHORIZATION_VIOLATION' });
        const waited = Date.now() - since;
        assert.ok(waited > 1_500 && waited < 4_000, `refused after ${waited} ms`);
      });

      test('signs a step of a pipeline in, and in again when its token has expired', async () => {
        await addStream(callout);
        await using step = await openBus([], stepSettings(callout));
        await using reading = await step.read({ subjects: ['ci.shop.step'], start: { from: 'all' } });
        await publish(step, 'before');
        await reading.seen.until(() => reading.seen.ups.length > 0, 'a link that is up again');
        await publish(step, 'after');
        await reading.seen.count(2);
        assert.deepEqual(reading.seen.payloads, ['before', 'after']);
      });

      test('works in operator mode, with a sentinel to which everything is denied', async () => {
        await using own = await startCallout({ mode: 'operator', line, policy });
        const sentinel = readFileSync(path.join(own.folder, 'sentinel.jwt'), 'utf8').trim();
        const shown = { authenticator: jwtAuthenticator(sentinel) };
        await using client = await signIn(own, 'nats', shown);
        assert.equal(await mayPublish(client, 'ci.shop.built'), true);
        assert.equal(await mayPublish(client, 'ci.bank.built'), false);
        await own.refuses(await tokenOf('other'), /no rule/, shown);
        await own.refuses(undefined, /no token/, shown);
      });
    });
  }
});

test('in operator mode a server with a default sentinel asks a pipeline for nothing but its token', async () => {
  await using callout = await startCallout({ mode: 'operator', policy });
  await addStream(callout);
  await using step = await openBus([], stepSettings(callout));
  await publish(step, 'built');
  await callout.refuses(await tokenOf('other'), /no rule/);
  await callout.refuses(undefined, /no token/);
});

test('a responder asks again for keys it does not have, but not for every client with an unknown one', async () => {
  await using late = await startOidcIssuer({ organisation: 'my-organisation' });
  late.failing = true;
  await using callout = await startCallout({ policy: { issuers: [entryFor(late)] } });
  assert.ok(callout.responder.entries.some(({ event }) => event === 'noKeys'));
  await callout.refuses(await late.token(), /no keys from/);
  late.failing = false;
  await (await callout.connect(await late.token())).close();
  const asked = late.requests.length;
  for (const kid of ['1', '2', '3']) {
    const token = await signed({ alg: 'RS256', kid }, foreignKeys.privateKey, late);
    await callout.refuses(token, /no applicable key/);
  }
  assert.equal(late.requests.length, asked);
});

test('a responder answers only requests that a server has signed and sealed for it', async () => {
  const folder = path.join(temporaryFolder('auth-callout-'), 'callout');
  // On a server without sign-in anybody may send requests.
  await using server = await startNatsServer({ jetStream: false });
  await setUpCallout(folder, { policy });
  changeResponderConfig(folder, { servers: [server.url] });
  await using responder = await Responder.start(folder);
  const responderXkey = /xkey: (X\w+)/.exec(readFileSync(path.join(folder, 'auth-callout.conf'), 'utf8'))![1]!;
  const client = await connect({ servers: server.url });
  const xkey = createCurve();
  const ask = async (request: Uint8Array, sealedBy = xkey.getPublicKey()): Promise<Uint8Array> => {
    const sealing = headers();
    if (sealedBy !== '') sealing.set('Nats-Server-Xkey', sealedBy);
    return (await client.request('$SYS.REQ.USER.AUTH', request, { timeout: 5000, headers: sealing })).data;
  };
  const seal = (request: string | Uint8Array): Uint8Array => xkey.seal(Buffer.from(request), responderXkey);

  const key = createServer();
  const token = await tokenOf('admin');
  const claims = { aud: 'nats-authorization-request', exp: seconds() + 60 };
  const content = {
    type: 'authorization_request',
    server_id: { id: key.getPublicKey(), name: 'server', xkey: xkey.getPublicKey() },
    user_nkey: createUser().getPublicKey(),
    connect_opts: { auth_token: token },
  };
  const request = (changes: object = {}, contentChanges: object = {}, signer = key): Promise<string> =>
    encode(Algorithms.v2, { ...claims, ...changes, nats: { ...content, ...contentChanges } } as never, signer);
  const good = await request();
  const opened = xkey.open(await ask(seal(good)), responderXkey);
  assert.ok(decode<{ jwt?: string }>(Buffer.from(opened!).toString()).nats.jwt, 'a good request gets a user');

  const malformed: Record<string, string | Uint8Array> = {
    'an empty one': '',
    'one that is no JWT': `${token}.${token}`,
    'one of bytes': new Uint8Array([0xff, 0x2e, 0xfe, 0x2e, 0xff]),
    'a client’s token': token,
    'one with a broken signature': `${good.slice(0, -8)}AAAAAAAA`,
    'one for another audience': await request({ aud: 'NATS' }),
    'one that has expired': await request({ exp: seconds() - 1 }),
    'one that never expires': await request({ exp: undefined }),
    'one of another type': await request({}, { type: 'authorization_response' }),
    'one without a server': await request({}, { server_id: undefined }),
    'one of another server': await request(
      {},
      { server_id: { ...content.server_id, id: createServer().getPublicKey() } },
    ),
    'one that wants its answer sealed for another': await request(
      {},
      { server_id: { ...content.server_id, xkey: createCurve().getPublicKey() } },
    ),
    'one signed by a user': await request({}, {}, createUser()),
    'one that names no user': await request({}, { user_nkey: undefined }),
    'one that names a server as the user': await request({}, { user_nkey: key.getPublicKey() }),
  };
  for (const [name, sent] of Object.entries(malformed)) assert.equal((await ask(seal(sent))).length, 0, name);
  const unsealed = { 'one not sealed': '', 'one sealed by another': createCurve().getPublicKey() };
  for (const [name, sealedBy] of Object.entries(unsealed)) {
    assert.equal((await ask(sealedBy === '' ? Buffer.from(good) : seal(good), sealedBy)).length, 0, name);
  }

  const count = Object.keys(malformed).length + Object.keys(unsealed).length;
  await responder.until(() => responder.entries.filter(({ event }) => event === 'malformed').length === count);
  for (const part of token.split('.')) assert.ok(!responder.output.includes(part));
  await client.close();
});

test('the README shows the configuration that is set up', async () => {
  const readme = readFileSync(path.join(CALLOUT_EXAMPLE, 'README.md'), 'utf8').replace(/^ {3}/gm, ''); // as in lists
  const folder = temporaryFolder('auth-callout-');
  for (const mode of ['config', 'operator'] as const) {
    await setUpCallout(path.join(folder, mode), { mode, policy });
    const config = readFileSync(path.join(folder, mode, 'auth-callout.conf'), 'utf8')
      .replace(/\b([AUX])[A-Z2-7]{55}\b/g, '$1…')
      .replace(/\beyJ[\w.-]+/g, 'eyJ…');
    assert.ok(readme.includes(`\n${config}\`\`\`\n`), `README.md should show:\n${config}`);
  }
});

describe('a policy is refused that has', () => {
  const folder = temporaryFolder('auth-callout-');
  const rule = { ...everything, sub: 'sc://a/*/c' };
  for (const { problem, wrong } of [
    { problem: 'a misspelt field', wrong: { ...rule, publsih: [] } },
    { problem: 'a rule without subscribe', wrong: { ...rule, subscribe: undefined } },
    { problem: 'a * inside a part of the sub', wrong: { ...rule, sub: 'sc://a/shop-*/c' } },
    { problem: 'a variable inside a token', wrong: { ...rule, publish: ['ci.x{project}.>'] } },
    { problem: 'an unknown variable', wrong: { ...rule, publish: ['ci.{team}.>'] } },
    { problem: 'an empty subject', wrong: { ...rule, subscribe: [''] } },
    { problem: 'a subject with an empty token', wrong: { ...rule, publish: ['ci..built'] } },
    { problem: 'a lifetime of nothing', wrong: { ...rule, maxLifetime: 0 } },
  ]) {
    test(problem, () => {
      const file = path.join(folder, 'policy.json');
      writeFileSync(file, JSON.stringify({ issuers: [entryFor(issuer, wrong)] }));
      assert.throws(() => readPolicy(file), /policy\/issuers\/0\/rules\/2/);
    });
  }

  test('an issuer whose keys would cross a network in clear text', () => {
    const file = path.join(folder, 'policy.json');
    writeFileSync(file, JSON.stringify({ issuers: [{ ...entryFor(issuer), issuer: 'http://issuer.example' }] }));
    assert.throws(() => readPolicy(file), /policy\/issuers\/0\/issuer must match pattern/);
  });
});

function tokenOf(serviceConnection: string): Promise<string> {
  return issuer.token({ sub: issuer.subject(serviceConnection) });
}

type Key = Parameters<SignJWT['sign']>[0];

/** An issuer's claims under another signature. */
function signed(header: { alg: string; kid: string }, key: Key, from = issuer): Promise<string> {
  return new SignJWT(from.claims()).setProtectedHeader(header).sign(key);
}

interface Client extends NatsConnection, AsyncDisposable {}

async function signIn(callout: Callout, serviceConnection: string, options = {}): Promise<Client> {
  const connection = await callout.connect(await tokenOf(serviceConnection), options);
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
}

async function addStream(callout: Callout): Promise<void> {
  await using admin = await signIn(callout, 'admin');
  await (await admin.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
}

/** What a step reads of its service connection, which asks for OIDC, in a job of this issuer's organisation. */
function stepSettings(callout: Callout): ConnectionSettings {
  const url = callout.server.url.replace('nats:', 'tls:');
  const connection = { url, data: { oidc: 'true', caCertificate: callout.ca, inboxPrefix: '_INBOX.shop' } };
  return readSettings(oidcAgent({ requestUri: azure.requestUri, jobToken: azure.accessToken, connection }));
}

async function publish({ bus, step }: OpenBus, payload: string): Promise<void> {
  const message = {
    subject: 'ci.shop.step',
    headers: [['Nats-Msg-Id', payload]] as const,
    payload: Buffer.from(payload),
  };
  const { error, confirmed } = await bus.publishToStream([[message]], 'CI', () => {}, step.clock.signal);
  assert.deepEqual({ error, confirmed }, { error: undefined, confirmed: 1 });
}

/** Fills with the problems that a connection reports. */
function problemsOf(connection: NatsConnection): unknown[] {
  const problems: unknown[] = [];
  void (async () => {
    for await (const { type, data } of connection.status()) if (type === Events.Error) problems.push(data);
  })();
  return problems;
}

function mayPublish(connection: NatsConnection, subject: string): Promise<boolean> {
  return isAllowed(connection, () => connection.publish(subject));
}

function maySubscribe(connection: NatsConnection, subject: string): Promise<boolean> {
  return isAllowed(connection, () => void connection.subscribe(subject, { callback: () => {} }));
}

async function isAllowed(connection: NatsConnection, act: () => void): Promise<boolean> {
  const problems = problemsOf(connection);
  act();
  await connection.flush();
  await setImmediate(); // the status queue is read after the flush is answered
  assert.ok(
    problems.every((problem) => String(problem) === 'PERMISSIONS_VIOLATION'),
    String(problems),
  );
  return problems.length === 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Now, as a JWT counts it. */
function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
