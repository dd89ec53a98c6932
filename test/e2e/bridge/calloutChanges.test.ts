import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect, headers } from 'nats';
import { Algorithms, createServer, createUser, decode, encode } from 'nats-jwt';
import { createCurve } from 'nkeys.js';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { BridgeProcess, runBridgeOn, runBundle } from '../../support/bridge/bridgeProcess.ts';
import { mayPublish, policyFor, startCallout, type Callout } from '../../support/bridge/calloutBridge.ts';
import { CONNECTION_ID, oidcAgent, readSettings } from '../../support/agent/oidcJob.ts';
import { startTokenIssuer } from '../../support/identity/tokenIssuer.ts';
import { createAuthority } from '../../support/nats/certificates.ts';
import { openBus } from '../../support/nats/openBus.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';

const issuer = await startTokenIssuer();
after(() => issuer.stop());
const ADMIN = { sub: 'sc://my-organisation/shop/admin', account: 'CI', publish: ['>'], subscribe: ['>'] };
const POLICY = policyFor(issuer, { azureDevOps: [ADMIN] });

describe('The callout', () => {
  let callout: Callout;
  before(async () => {
    callout = await startCallout({ policy: POLICY });
  });
  after(() => callout[Symbol.asyncDispose]());

  test('reports each sign-in in the audit stream, on its status page and in metrics, without the token', async () => {
    const good = await admin();
    const bad = await issuer.connection('sc://my-organisation/shop/other');
    await using client = await callout.connect(good, { name: '##vso[task.complete]\u001b[2J' });
    const { data } = await client.request('$SYS.REQ.USER.INFO', '');
    assert.match(Buffer.from(data).toString(), /"user":"sc:\/\/my-organisation\/shop\/admin"/);
    await callout.refuses(bad, /no rule/);
    const decisions = await callout.decisions(2);
    assert.deepEqual(
      decisions.map(({ subject, decision, reason, signIn: { sub } }) => ({ subject, decision, reason, sub })),
      [
        {
          subject: 'bridge.decisions.callout.issuers-0--rules-0-',
          decision: 'granted',
          reason: undefined,
          sub: 'sc://my-organisation/shop/admin',
        },
        {
          subject: 'bridge.decisions.callout.noRule',
          decision: 'refused',
          reason: 'no rule of the policy matches',
          sub: 'sc://my-organisation/shop/other',
        },
      ],
    );
    assert.equal(decisions[0]!.signIn['clientName'], '##_vso[task.complete]\\u{1b}[2J');
    const page = (await callout.responder.admin('/')).text;
    assert.match(page, /Sign-ins to NATS since this process began<\/h2>\n<p>1 granted, 1 noRule<\/p>/);
    const metrics = (await callout.responder.admin('/metrics')).text;
    assert.match(metrics, /nats_bridge_callout_sign_ins_total\{outcome="granted"\} 1/);
    const everything = [page, metrics, callout.responder.text, JSON.stringify(decisions)].join('\n');
    for (const part of `${good}.${bad}`.split('.')) assert.ok(!everything.includes(part));
  });

  test('takes a role away when the token expires', async () => {
    const roles = ['nats.publish.ci.shop'];
    const client = await callout.connect(await issuer.token('entraV2', { roles, exp: seconds() + 2 }), {
      reconnect: false,
    });
    assert.equal(await mayPublish(client, 'ci.shop.built'), true);
    assert.match(String(await client.closed()), /User Authentication Expired/);
    await callout.refuses(await issuer.token('entraV2', { roles: [] }), /no rule/);
  });

  test('applies a changed policy; if that is invalid, keeps the last good one and says so', async () => {
    const { responder } = callout;
    await (await callout.connect(await admin())).close();
    callout.writePolicy(policyFor(issuer));
    await responder.until('refusal by the new policy', () => refused(callout));
    callout.writePolicy('{ "issuers": [ { "rules": [ { "account": "CI" } ] } ] }');
    const failed = await responder.logged('policyReloadFailed');
    assert.match(String(failed['policy']), /^callout\.policyFile/);
    assert.match(String(failed['reason']), /issuers\[0\]\.issuer: is required/);
    assert.equal(await responder.metric('config_reload_failed'), 1);
    await callout.refuses(await admin(), /no rule/);
    callout.writePolicy(POLICY);
    await responder.logged('policyReloaded');
    await (await callout.connect(await admin())).close();
    assert.equal(await responder.metric('config_reload_failed'), 0);
  });

  test('opens no public port', async () => {
    const listening = callout.responder.lines.find(({ event }) => event === 'listening')!;
    assert.deepEqual([listening['public'], typeof listening['admin']], [undefined, 'string']);
    assert.equal((await callout.responder.admin('/hooks')).status, 404);
    assert.equal((await callout.responder.ready(200))['status'], 'ready');
  });

  test('survives the kill of a replica under load, and never lets a stranger in', async () => {
    const second = await callout.another();
    const [good, bad] = [await admin(), await issuer.connection('sc://my-organisation/shop/other')];
    const counts = { in: 0, refused: 0, wronglyIn: 0, after: 0, turnedAwayAfter: 0 };
    let killedAt = Infinity;
    const deadline = Date.now() + 20_000;
    const isOver = () => (counts.after > 20 && counts.turnedAwayAfter > 2) || Date.now() > deadline;
    const signInAgainAndAgain = async (token: string, isGood: boolean) => {
      while (!isOver()) {
        const began = Date.now();
        const client = await callout.connect(token).catch(() => undefined);
        await client?.close();
        const isIn = client !== undefined;
        const isAfter = began > killedAt;
        if (!isGood && isIn) counts.wronglyIn++;
        if (!isGood && !isIn && isAfter) counts.turnedAwayAfter++;
        if (isGood) counts[isIn ? 'in' : 'refused']++;
        if (isGood && isIn && isAfter) counts.after++;
      }
    };
    const work = [...Array.from({ length: 6 }, () => signInAgainAndAgain(good, true)), signInAgainAndAgain(bad, false)];
    await second.until('sign-ins under way', () => counts.in > 20 || undefined);
    killedAt = Date.now();
    await second[Symbol.asyncDispose]();
    await Promise.all(work);
    assert.equal(counts.wronglyIn, 0);
    // Requests that the killed replica had received get no reply: at most one sign-in per client.
    assert.ok(counts.refused <= 6, JSON.stringify(counts));
    assert.ok(counts.after > 20 && counts.turnedAwayAfter > 2, JSON.stringify(counts));
  });

  test('stops without refusing anyone', async () => {
    const second = await callout.another();
    const good = await admin();
    let isOver = false;
    let signedIn = 0;
    const signInAgainAndAgain = async () => {
      while (!isOver) {
        await (await callout.connect(good)).close();
        signedIn++;
      }
    };
    const work = Promise.all(Array.from({ length: 4 }, signInAgainAndAgain));
    await second.until('sign-ins at both', () => second.lines.some(({ event }) => event === 'signIn') || undefined);
    second.signal('SIGTERM');
    assert.equal(await second.ended, 0);
    const before = signedIn;
    await second.until('sign-ins at the other', () => signedIn > before + 10 || undefined);
    isOver = true;
    await work;
  });
});

describe('A callout with other settings', () => {
  test('ends no session later than maxSession', async () => {
    await using callout = await startCallout({ policy: POLICY, more: '  maxSession: 2s\n' });
    const client = await callout.connect(await admin(), { reconnect: false });
    await client.closed();
    const [decision] = await callout.decisions(1);
    assert.ok(Date.parse(decision!.followed!['until']!) < Date.now() + 1_000);
  });

  test("fetches its issuer's rotated keys, over TLS with a private authority", async () => {
    const authority = await createAuthority();
    await using own = await startTokenIssuer({ certificate: await authority.server() });
    const folder = temporaryFolder('authority-');
    writeFileSync(path.join(folder, 'ca.pem'), authority.cert);
    const more = `  caFile: ${folder}/ca.pem\n`;
    await using callout = await startCallout({ policy: policyFor(own, { azureDevOps: [ADMIN] }), more });
    const sub = 'sc://my-organisation/shop/admin';
    await (await callout.connect(await own.connection(sub))).close();
    await own.rotate('ES256');
    await (await callout.connect(await own.connection(sub))).close();
    // A second unknown key so soon doesn't make it fetch again.
    const asked = own.requests.length;
    await own.rotate('RS256');
    await callout.refuses(await own.connection(sub), /last fetched less than 60 s ago/);
    assert.equal(own.requests.length, asked);
  });

  test('signs a step in, and again when its token has expired', async () => {
    await using azure = await startTokenIssuer({
      serviceConnections: { [CONNECTION_ID]: 'sc://my-organisation/shop/nats' },
    });
    azure.lifetimeSeconds = 3;
    await using callout = await startCallout({ policy: policyFor(azure, { azureDevOps: [ADMIN] }) });
    await using client = await callout.connect(await azure.connection(ADMIN.sub, { exp: seconds() + 600 }));
    await (await client.jetstreamManager()).streams.add({ name: 'CI_shop', subjects: ['ci.shop.>'] });
    const url = callout.server.url.replace('nats:', 'tls:');
    const data = { oidc: 'true', caCertificate: callout.ca, inboxPrefix: '_INBOX.shop' };
    const agent = oidcAgent({ requestUri: azure.requestUri, jobToken: azure.accessToken, connection: { url, data } });
    await using step = await openBus([], readSettings(agent));
    await using reading = await step.read({ subjects: ['ci.shop.step'], stream: 'CI_shop', start: { from: 'all' } });
    const js = client.jetstream();
    await js.publish('ci.shop.step', 'before');
    await reading.seen.until(() => reading.seen.ups.length > 0, 'a link that is up again');
    await js.publish('ci.shop.step', 'after');
    await reading.seen.count(2);
    assert.deepEqual(reading.seen.payloads, ['before', 'after']);
  });
});

test('a responder answers only requests that a server has signed and sealed for it', async () => {
  const folder = temporaryFolder('callout-');
  assert.equal(runBundle(['callout', 'keys', folder]).status, 0);
  // On a server without sign-in, anyone may send requests.
  await using server = await startNatsServer();
  writeFileSync(path.join(folder, 'policy.json'), JSON.stringify(POLICY));
  const file = path.join(folder, 'bridge.yml');
  writeFileSync(
    file,
    `nats: { servers: ['${server.url}'] }
http: { admin: 127.0.0.1:0 }
callout: { accountKeyFile: issuer.nk, xkeySeedFile: xkey.nk, policyFile: policy.json }
`,
  );
  const { stdout } = await runBridgeOn(file, ['setup', '--apply']);
  const responderXkey = /xkey: (X\w+)/.exec(stdout)![1]!;
  await using responder = await BridgeProcess.startOn(file);
  await responder.logged('callout');
  const client = await connect({ servers: server.url });
  const xkey = createCurve();
  const ask = async (request: Uint8Array, sealedBy = xkey.getPublicKey()): Promise<Uint8Array> => {
    const sealing = headers();
    if (sealedBy !== '') sealing.set('Nats-Server-Xkey', sealedBy);
    return (await client.request('$SYS.REQ.USER.AUTH', request, { timeout: 5_000, headers: sealing })).data;
  };
  const seal = (request: string | Uint8Array): Uint8Array => xkey.seal(Buffer.from(request), responderXkey);

  const key = createServer();
  const token = await admin();
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
  const answer = decode<{ jwt?: string }>(Buffer.from(opened!).toString());
  assert.ok(answer.nats.jwt, 'a valid request got no user JWT');
  assert.equal(decode<object>(answer.nats.jwt).sub, content.user_nkey);

  const malformed: Record<string, string | Uint8Array> = {
    'an empty one': '',
    "one that isn't a JWT": `${token}.${token}`,
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
    'one that wants its answer sealed for someone else': await request(
      {},
      { server_id: { ...content.server_id, xkey: createCurve().getPublicKey() } },
    ),
    'one signed by a user': await request({}, {}, createUser()),
    'one that names no user': await request({}, { user_nkey: undefined }),
    'one that names a server as the user': await request({}, { user_nkey: key.getPublicKey() }),
  };
  for (const [name, sent] of Object.entries(malformed)) assert.equal((await ask(seal(sent))).length, 0, name);
  const unsealed = { 'one without a seal': '', 'one sealed by another': createCurve().getPublicKey() };
  for (const [name, sealedBy] of Object.entries(unsealed))
    assert.equal((await ask(sealedBy === '' ? Buffer.from(good) : seal(good), sealedBy)).length, 0, name);
  const count = Object.keys(malformed).length + Object.keys(unsealed).length;
  await responder.until(
    `${count} malformed requests`,
    () => responder.lines.filter(({ outcome }) => outcome === 'malformed').length === count || undefined,
  );
  for (const part of token.split('.')) assert.ok(!responder.text.includes(part));
  await client.close();
});

async function refused(callout: Callout): Promise<true | undefined> {
  const client = await callout.connect(await admin()).catch(() => undefined);
  await client?.close();
  return client === undefined ? true : undefined;
}

function admin(): Promise<string> {
  return issuer.connection('sc://my-organisation/shop/admin');
}

/** The current time in seconds, as in a JWT. */
function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
