import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { nodeBinary, type LocalAgent, type StepRun } from '../../../localAgent/index.ts';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  beginWait,
  publish,
  wait,
} from '../../support/agent/scenario.ts';
import { TunnelProxy } from '../../support/agent/tokenEndpoint.ts';
import { entraError } from '../../support/azureDevOps/entraError.ts';
import { reset, throttled, unavailable } from '../../support/azureDevOps/moods.ts';
import { json, type Mood } from '../../support/azureDevOps/standInServer.ts';
import { calloutServers, mayPublish } from '../../support/bridge/calloutBridge.ts';
import { casesOf, isLong } from '../../support/form.ts';
import { SignInServer } from '../../support/identity/signInServer.ts';
import { PUBLISH, READ, SignInWorld, type SignInMistakes } from '../../support/identity/signInWorld.ts';

/** All a step leaves behind for others to see, but for the commands that have the agent mask its secrets. */
function visibleIn(agent: LocalAgent, step: StepRun): string {
  const unmasked = step.rawStdout.split('\n').filter((line) => !line.startsWith('##vso[task.setsecret]'));
  const files = readdirSync(agent.folders.work, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), 'latin1'));
  return [step.logText, ...unmasked, step.rawStderr, ...step.errors, JSON.stringify([...step.outputs]), ...files].join(
    '\n',
  );
}

/** No part of any token that went through this world is seen anywhere. */
function assertNoToken(world: SignInWorld, agent: LocalAgent, step: StepRun): void {
  const idTokens = world.entra.requests.flatMap(({ body }) => new URLSearchParams(body).get('client_assertion') ?? []);
  assert.ok(idTokens.length > 0, 'no ID token was exchanged');
  const visible = `${visibleIn(agent, step)}\n${world.nats.callout.responder.text}`;
  for (const secret of [...idTokens, ...world.entra.accessTokens, world.azure.accessToken])
    for (const part of secret.split('.'))
      assert.ok(part.length > 16 && !visible.includes(part), `${part} in ${visible}`);
}

const idTokenRequests = ({ azure }: SignInWorld) => azure.requests.filter((asked) => asked.endsWith('/oidctoken'));

const exchanges = ({ entra }: SignInWorld) =>
  entra.requests.filter(({ path: asked }) => asked.endsWith('/oauth2/v2.0/token'));

/** A server for all tests of the describe block in which this is called. */
function sharedServer(options: Parameters<typeof SignInServer.start>[0]): { readonly nats: SignInServer } {
  const shared = {} as { nats: SignInServer };
  before(async () => {
    shared.nats = await SignInServer.start(options);
  });
  after(() => shared.nats[Symbol.asyncDispose]());
  return shared;
}

/** Of a bridge of its own each, whose start takes longer than a test. */
const newest = sharedServer({ mode: 'operator', line: '2.15' });

const STREAM = { stream: 'CI_shop' };

for (const { mode, line } of calloutServers('straight')) {
  // Of these, a server of 2.10 has no sentinel to give.
  if (mode === 'operator' && line === '2.10') continue;
  describe(`A step that signs in to nats-server ${line} in ${mode} mode`, () => {
    const server = mode === 'operator' ? newest : sharedServer({ mode, line });

    // What does not depend on the server, the short form tries with one of them.
    const isWhole = isLong || mode === 'operator';
    for (const major of casesOf(['20', '24'] as const, (one) => one === (isWhole ? '24' : '20'))) {
      it(`publishes and waits with a token from Microsoft Entra on Node ${major}`, async () => {
        await using world = await SignInWorld.start(server.nats);
        const nodes = { [major === '20' ? 'Node20_1' : 'Node24']: nodeBinary(major) };
        const [publishing, waiting] = [world.agent({}, { nodes }), world.agent({}, { nodes })];
        const subject = `ci.shop.node${major}.v1`;
        const published = await publish(publishing, { subject, payload: '{"built":true}' });
        assertSucceeded(published);
        const waited = await wait(waiting, { subject, startFrom: 'all', ...STREAM });
        assertSucceeded(waited);
        assertOutputs(waited, { verdict: 'matched', sequence: published.outputs.get('sequence')! });
        for (const [agent, step] of [
          [publishing, published],
          [waiting, waited],
        ] as const) {
          assert.deepEqual(step.warnings, []);
          assert.match(
            step.logText,
            /^idToken +issuer="https:\/\/127\.0\.0\.1:.*" subject="sc:\/\/my-organisation\/shop\/nats"/m,
          );
          const application = `application="${world.app.clientId}" object="${world.app.objectId}" roles="${PUBLISH} ${READ}" lifetimeS=3600`;
          assert.ok(step.logText.includes(application), step.logText);
          assertNoToken(world, agent, step);
        }
        assert.equal(exchanges(world).length, 2);
        const signIns = await world.signedIn(2);
        assert.deepEqual(
          signIns.map(({ outcome, owner }) => [outcome, owner]),
          Array(2).fill(['granted', `application ${world.app.clientId}, object ${world.app.objectId}`]),
        );
      });
    }

    it("may do what its roles allow, and reports what they don't", async () => {
      await using world = await SignInWorld.start(server.nats, { roles: [READ] });
      const agent = world.agent();
      const denied = await publish(agent, { subject: 'ci.shop.roles.v1', payload: '{}' });
      assertFailed(denied, 'Denied', 'ci.shop.roles.v1');
      await server.nats.publish('ci.shop.roles.v1', '{}');
      const reading = { subject: 'ci.shop.roles.v1', startFrom: 'all', ...STREAM };
      assertSucceeded(await wait(agent, reading));
      world.resource.roles.set(world.app.clientId, [PUBLISH]);
      assertSucceeded(await publish(agent, { subject: 'ci.shop.roles.v1', payload: '{}' }));
      const unread = await wait(agent, reading);
      assertFailed(unread, 'Denied', '$JS.API.');
      for (const step of [denied, unread]) assertNoToken(world, agent, step);
    });

    it('is confined to its own project with a token from Azure DevOps', async () => {
      await using world = await SignInWorld.start(server.nats);
      const [shop, bank] = [world.projectAgent('shop'), world.projectAgent('bank')];
      assertSucceeded(await publish(shop, { subject: 'ci.shop.own.v1', payload: '{}' }));
      const own = { subject: 'ci.shop.own.v1', startFrom: 'all', ...STREAM };
      assertSucceeded(await wait(shop, own));
      assertSucceeded(await publish(bank, { subject: 'ci.bank.own.v1', payload: '{}' }));
      assertFailed(await publish(bank, { subject: 'ci.shop.own.v1', payload: '{}' }), 'Denied', 'ci.shop.own.v1');
      assertFailed(await wait(bank, own), 'Denied', 'CI_shop');
      assertFailed(await wait(bank, { ...own, stream: 'CI_bank' }), 'NoStream', 'never holds ci.shop.own.v1');
    });

    if (!isWhole) return;

    it('says what to do about a token without roles, which NATS refuses', async () => {
      await using world = await SignInWorld.start(server.nats, { roles: undefined });
      const agent = world.agent();
      const step = await publish(agent, { subject: 'ci.shop.none.v1', payload: '{}' });
      assertFailed(step, 'Denied', "give the application one of the NATS application's app roles");
      assert.match(step.logText, /^accessToken .* roles="" /m);
      const [signIn] = await world.signedIn(1);
      assert.deepEqual([signIn!['outcome'], signIn!['reason']], ['refused', 'no rule of the policy matches']);
      assertNoToken(world, agent, step);
    });

    it('keeps waiting with a new token when its token expires and all keys have changed', async () => {
      await using world = await SignInWorld.start(server.nats);
      // NATS ends a link at a whole second: long before that, four fifths of this are over.
      world.entra.lifetimeMs = 6_000;
      const agent = world.agent();
      const { ended } = await beginWait(agent, { subject: 'ci.shop.late.v1', timeout: '60s', ...STREAM });
      await world.azure.rotate();
      await world.entra.rotateKeys();
      // The server ends a link when its token does.
      await world.signedIn(2);
      await server.nats.publish('ci.shop.late.v1', '{}');
      const step = await ended;
      assertSucceeded(step);
      assertOutputs(step, { verdict: 'matched' });
      const { accessTokens } = world.entra;
      assert.deepEqual(
        world.signIns.map(({ outcome, until }) => [outcome, until]),
        world.tokenEnds.map((end) => ['granted', end]),
        'a token signed in twice',
      );
      const kids = accessTokens.map((token) => decodeProtectedHeader(token).kid);
      assert.notEqual(kids[0], kids[1]);
      assert.match(step.logText, /^linkDown .*AUTHENTICATION_EXPIRED/m);
      assertNoToken(world, agent, step);
    });

    it("can't use a removed role once its token has expired", async () => {
      await using world = await SignInWorld.start(server.nats);
      const { callout } = server.nats;
      world.entra.lifetimeMs = 6_000;
      const subject = 'ci.shop.removed.v1';
      const [waiting, publishing] = [world.agent(), world.agent()];
      const { ended } = await beginWait(waiting, { subject, timeout: '60s', ...STREAM });
      const [before] = world.entra.accessTokens;
      world.resource.roles.set(world.app.clientId, [READ]);
      await using client = await callout.connect(before, { reconnect: false });
      const closed = client.closed();
      assert.equal(await mayPublish(client, 'ci.shop.other.v1'), true);
      const refused = await publish(publishing, { subject, payload: '{}' });
      assertFailed(refused, 'Denied', subject);
      // What was granted before ends with its token.
      assert.match(String(await closed), /User Authentication Expired/);
      const end = decodeJwt(before!).exp! * 1_000;
      await callout.responder.until('end of the token', () => Date.now() > end || undefined);
      await callout.refuses(before, /has expired/);
      // It may still read, with a token that says so.
      await server.nats.publish(subject, '{}');
      const step = await ended;
      assertSucceeded(step);
      assertNoToken(world, waiting, step);
    });
  });
}

if (isLong)
  describe('A step that signs in to nats-server 2.10 in operator mode', () => {
    const server = sharedServer({ mode: 'operator', line: '2.10' });

    it("is refused by the server, which doesn't support a sentinel", async () => {
      await using world = await SignInWorld.start(server.nats);
      const agent = world.agent();
      const step = await publish(agent, { subject: 'ci.shop.built.v1', payload: '{}' });
      assertFailed(step, 'Denied', 'rejected the credentials');
      assert.deepEqual(world.signIns, [], 'the bridge was asked');
      assertNoToken(world, agent, step);
    });
  });

describe('A step that signs in as a service principal', { concurrency: 3 }, () => {
  const server = newest;
  const FEDERATED = 'Certificates & secrets, Federated credentials';
  interface Mistake {
    readonly what: string;
    readonly mistakes?: SignInMistakes;
    readonly fields?: Readonly<Record<string, string>>;
    readonly mood?: Mood;
    readonly says: readonly string[];
  }
  const MISTAKES: readonly Mistake[] = [
    {
      what: 'the subject of the federated credential',
      mistakes: { credential: { subject: 'sc://my-organisation/shop/other' } },
      says: [
        'AADSTS700213: ',
        `${FEDERATED}, and set Subject identifier to "sc://my-organisation/shop/nats", upper and lower`,
      ],
    },
    {
      what: 'upper case in the subject of the federated credential',
      mistakes: { credential: { subject: 'sc://My-Organisation/Shop/nats' } },
      says: [
        'AADSTS7002138: ',
        'set Subject identifier to "sc://my-organisation/shop/nats", upper and lower case as here',
      ],
    },
    {
      what: 'the audience of the federated credential',
      mistakes: { credential: { audience: 'api://nats' } },
      says: ['AADSTS700212: ', `${FEDERATED}, and set Audience to "api://AzureADTokenExchange"`],
    },
    {
      what: 'the issuer of the federated credential',
      mistakes: { credential: { issuer: 'https://vstoken.dev.azure.com/another' } },
      says: ['AADSTS700211: ', `${FEDERATED}, and set Issuer to "https://127.0.0.1:`],
    },
    {
      what: 'no role, where the NATS application asks for one',
      mistakes: { roles: undefined, isAssignmentRequired: true },
      says: ['AADSTS501051: ', 'API permissions, add an application permission (app role) of the NATS application'],
    },
    {
      what: 'the tenant',
      fields: { entraTenantId: '8e1d4c1a-0d6e-4a8e-9f0e-2f3f6c1d7a11' },
      says: ['AADSTS90002: ', 'open Overview, and copy its Tenant ID to entraTenantId'],
    },
    {
      what: 'a consent that is missing',
      mood: async () => entraError(65001),
      says: ['AADSTS65001: ', 'API permissions, add the NATS application of entraScope ("api://nats/.default")'],
    },
    {
      what: 'the scope',
      fields: { entraScope: 'api://gnats/.default' },
      says: ['AADSTS500011: ', 'Compare entraScope ("api://gnats/.default") with the Application ID URI'],
    },
    {
      what: 'the client',
      fields: { entraClientId: '8e1d4c1a-0d6e-4a8e-9f0e-2f3f6c1d7a11' },
      says: ['AADSTS700016: ', 'copy its Application (client) ID, not its object ID, to entraClientId'],
    },
  ];
  // The unit test of refusals has what is said about each.
  const IN_SHORT = [
    'the subject of the federated credential',
    'no role, where the NATS application asks for one',
    'the tenant',
  ];
  for (const { what, mistakes, fields, mood, says } of casesOf(MISTAKES, (one) => IN_SHORT.includes(one.what))) {
    it(`says what to do about ${what}`, async () => {
      await using world = await SignInWorld.start(server.nats, mistakes);
      if (mood !== undefined) world.feel(mood);
      const agent = world.agent(fields);
      const step = await publish(agent, { subject: 'ci.shop.built.v1', payload: '{}' });
      assertFailed(step, 'Denied', 'Microsoft Entra gave this step no access token: 127.0.0.1:', ...says);
      assert.equal(exchanges(world).length, 1, 'Microsoft Entra was asked again');
      assert.deepEqual(world.signIns, []);
      assertNoToken(world, agent, step);
    });
  }

  it('neutralises what Microsoft Entra says and masks any token in it', async () => {
    await using world = await SignInWorld.start(server.nats);
    world.feel(async ({ body }) => {
      const assertion = new URLSearchParams(body).get('client_assertion');
      const description = `AADSTS700213: no\r\n##vso[task.complete result=Succeeded]\u001b[31m\u202e ${assertion} ${'x'.repeat(5_000)}`;
      return json(401, { error: 'invalid_client', error_description: description });
    });
    const agent = world.agent();
    const step = await wait(agent, { subject: 'ci.shop.built.v1' });
    assertFailed(
      step,
      'Denied',
      'said: AADSTS700213: no ##_vso[task.complete result=Succeeded]\\u{1b}[31m\\u{202e} ***',
      'more characters',
    );
    assertNoToken(world, agent, step);
  });

  it('ends once all roles are removed and its token has expired', async () => {
    await using world = await SignInWorld.start(server.nats);
    world.entra.lifetimeMs = 6_000;
    const agent = world.agent();
    const { ended } = await beginWait(agent, { subject: 'ci.shop.never.v1', timeout: '60s', ...STREAM });
    world.resource.roles.delete(world.app.clientId);
    const step = await ended;
    assertFailed(step, 'ConnectionLost', "give the application one of the NATS application's app roles");
    assertNoToken(world, agent, step);
  });

  it('recovers from faults of Microsoft Entra, and waits as long as it asks', async () => {
    await using world = await SignInWorld.start(server.nats);
    world.feel(throttled({ retryAfter: 2 }), { times: 1 });
    world.feel(unavailable(), { times: 1 });
    world.feel(reset(), { times: 1 });
    const agent = world.agent();
    const step = await publish(agent, { subject: 'ci.shop.built.v1', payload: '{}' });
    assertSucceeded(step);
    const [first, second, ...others] = exchanges(world);
    assert.ok(second!.at - first!.at >= 1_990, `asked again after ${second!.at - first!.at} ms`);
    assert.equal(others.length, 2);
    assertNoToken(world, agent, step);
  });

  it('that times out says that Microsoft Entra, not NATS, kept it waiting', async () => {
    await using world = await SignInWorld.start(server.nats);
    world.feel(unavailable());
    const agent = world.agent();
    const step = await publish(agent, { subject: 'ci.shop.built.v1', payload: '{}', timeout: '4s' });
    assertFailed(step, 'Unreachable', 'Microsoft Entra gave this step no access token: 127.0.0.1:', 'HTTP status 503');
    assert.ok(!step.errors.join().includes('accepted no NATS connection'), step.errors.join());
    assertNoToken(world, agent, step);
  });

  it("reaches Microsoft Entra through the agent's proxy", async () => {
    await using world = await SignInWorld.start(server.nats);
    await using proxy = await TunnelProxy.start(Number(new URL(world.entra.origin).port));
    const bypassed = JSON.stringify([`^${new URL(world.azure.origin).origin}$`]);
    const agent = world.agent({}, { variables: { 'Agent.ProxyUrl': proxy.url, 'Agent.ProxyBypassList': bypassed } });
    const step = await publish(agent, { subject: 'ci.shop.built.v1', payload: '{}' });
    assertSucceeded(step);
    assert.deepEqual(proxy.targets, [new URL(world.entra.origin).host]);
    assertNoToken(world, agent, step);
  });

  it('reports problems with its fields before anything is sent', async () => {
    await using world = await SignInWorld.start(server.nats);
    const agent = world.agent({ entraClientId: 'pipelines', entraScope: 'api://nats' });
    const step = await publish(agent, { subject: 'ci.shop.built.v1', payload: '{}' });
    assertFailed(
      step,
      'InvalidInput',
      'natsConnection: the connection\'s field entraClientId is "pipelines", not a GUID.',
      'field entraScope is "api://nats", without "/.default". Write "api://nats/.default".',
    );
    assert.deepEqual([...idTokenRequests(world), ...exchanges(world)], []);
  });
});
