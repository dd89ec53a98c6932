import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { StringCodec, type Msg } from 'nats';
import {
  calloutServers,
  policyFor,
  startCallout,
  type Callout,
  type Client,
} from '../../support/bridge/calloutBridge.ts';
import { startTokenIssuer } from '../../support/identity/tokenIssuer.ts';

const issuer = await startTokenIssuer();
after(() => issuer.stop());
/** Every client may do anything in its project's account, so only the accounts keep projects apart. */
const POLICY = policyFor(issuer, {
  azureDevOps: [{ sub: 'sc://my-organisation/*/nats', account: '{project}', publish: ['>'], subscribe: ['>'] }],
});
const text = StringCodec();

for (const { mode, line } of calloutServers('crossed'))
  describe(`One account per project in ${mode} mode on nats-server ${line}`, () => {
    let callout: Callout;
    before(async () => {
      // The example's rules for Microsoft Entra name CI.
      callout = await startCallout({ mode, line, policy: POLICY, accounts: ['CI', 'shop', 'bank'] });
      for (const project of ['shop', 'bank']) {
        await using client = await signIn(project);
        const manager = await client.jetstreamManager();
        await manager.streams.add({ name: 'EVENTS', subjects: ['ci.>'] });
        await client.jetstream().publish('ci.built', `payload of the ${project}`);
      }
    });
    after(() => callout[Symbol.asyncDispose]());

    async function signIn(project: string): Promise<Client> {
      return callout.connect(await issuer.connection(`sc://my-organisation/${project}/nats`));
    }

    test('each project has its own streams, even with the same name', async () => {
      await using shop = await signIn('shop');
      await using bank = await signIn('bank');
      for (const [client, project] of [
        [shop, 'shop'],
        [bank, 'bank'],
      ] as const) {
        const { streams } = await client.jetstreamManager();
        assert.deepEqual(await streams.names().next(), ['EVENTS']);
        const { messages } = (await streams.info('EVENTS')).state;
        const stored = await streams.getMessage('EVENTS', { seq: 1 });
        assert.deepEqual([messages, stored.string()], [1, `payload of the ${project}`]);
      }
      const { streams, consumers } = await bank.jetstreamManager();
      await consumers.add('EVENTS', { durable_name: 'own', filter_subject: 'ci.>' });
      const ofShop = await shop.jetstreamManager();
      await assert.rejects(ofShop.consumers.info('EVENTS', 'own'), /consumer not found/);
      await streams.add({ name: 'OTHER', subjects: ['other.>'] });
      await assert.rejects(ofShop.streams.info('OTHER'), /stream not found/);
      await streams.delete('OTHER');
      await streams.purge('EVENTS');
      assert.equal((await ofShop.streams.info('EVENTS')).state.messages, 1);
      await bank.jetstream().publish('ci.built', 'payload of the bank');
      await streams.delete('EVENTS');
      assert.equal((await ofShop.streams.info('EVENTS')).state.messages, 1);
      await streams.add({ name: 'EVENTS', subjects: ['ci.>'] });
      await bank.jetstream().publish('ci.built', 'payload of the bank');
    });

    test("projects neither hear each other, nor get each other's requests or replies", async () => {
      await using shop = await signIn('shop');
      await using bank = await signIn('bank');
      const heard: Msg[] = [];
      bank.subscribe('>', { callback: (_, message) => heard.push(message) });
      shop.subscribe('deliver.shop', { callback: () => {} });
      await bank.flush();
      const manager = await shop.jetstreamManager();
      const config = { name: 'push', deliver_subject: 'deliver.shop', ack_policy: 'none', deliver_policy: 'all' };
      await manager.consumers.add('EVENTS', config as never);
      await shop.jetstream().publish('ci.pushed', 'pushed');
      shop.publish('ci.core', 'payload of the shop', { reply: 'deliver.bank' });
      shop.publish('$JS.API.STREAM.INFO.EVENTS', '', { reply: 'deliver.bank' });
      await assert.rejects(shop.request('service.of.the.bank', '', { timeout: 1_000 }), { code: '503' });
      await shop.flush();
      await bank.flush();
      // Its own message shows that it's listening.
      bank.publish('own', text.encode('own'));
      await bank.flush();
      assert.deepEqual(
        heard.filter(({ subject }) => !subject.startsWith('_INBOX.')).map(({ subject }) => subject),
        ['own'],
      );
    });

    test("a project without an account is refused, and the audit stream or the server's log names it", async () => {
      const token = await issuer.connection('sc://my-organisation/mars/nats');
      if (mode === 'operator') {
        const reason = /^callout\.accounts does not list the account mars of issuers\[0\]\.rules\[0\]$/;
        const { kind } = await callout.refuses(token, reason);
        assert.equal(kind, 'notConfigured');
        const audited = await callout.responder.until('decision about mars', async () =>
          (await callout.decisions(1)).find(({ signIn: { sub } }) => sub === 'sc://my-organisation/mars/nats'),
        );
        assert.equal(audited.decision, 'refused');
        assert.match(audited.reason ?? '', reason);
        return;
      }
      // Only the server knows which accounts exist.
      await assert.rejects(callout.connect(token), { code: 'AUTHORIZATION_VIOLATION' });
      const granted = await callout.responder.until('grant', () =>
        callout.responder.lines.find((one) => one.event === 'signIn' && one['account'] === 'mars'),
      );
      assert.equal(granted['outcome'], 'granted');
      await callout.server.logged(/No valid account "mars" for auth callout/);
    });

    test("a project named like one of the servers' own accounts is refused", async () => {
      for (const project of ['AUTH', 'SYS']) {
        const reason = new RegExp(
          `^\\{project\\} of \\S+ stands for ${project}, an account that belongs to the servers$`,
        );
        await callout.refuses(await issuer.connection(`sc://my-organisation/${project}/nats`), reason);
      }
    });
  });
