import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Msg } from 'nats';
import {
  calloutServers,
  mayPublish,
  maySubscribe,
  policyFor,
  startCallout,
  type Callout,
  type Client,
} from '../../support/bridge/calloutBridge.ts';
import { startTokenIssuer } from '../../support/identity/tokenIssuer.ts';

const issuer = await startTokenIssuer();
after(() => issuer.stop());
const ADMIN = { sub: 'sc://my-organisation/platform/admin', account: 'CI', publish: ['>'], subscribe: ['>'] };

/** Subjects that would show, read, take, change or delete something of the project shop. */
const FORBIDDEN_TO_PUBLISH = [
  'ci.shop.built',
  '$JS.API.INFO',
  '$JS.API.STREAM.NAMES',
  '$JS.API.STREAM.LIST',
  '$JS.API.STREAM.INFO.CI_shop',
  '$JS.API.STREAM.CREATE.CI_bank_copy',
  '$JS.API.STREAM.UPDATE.CI_shop',
  '$JS.API.STREAM.UPDATE.CI_bank',
  '$JS.API.STREAM.DELETE.CI_shop',
  '$JS.API.STREAM.PURGE.CI_shop',
  '$JS.API.STREAM.MSG.GET.CI_shop',
  '$JS.API.STREAM.MSG.DELETE.CI_shop',
  '$JS.API.STREAM.SNAPSHOT.CI_shop',
  '$JS.API.DIRECT.GET.CI_shop',
  '$JS.API.DIRECT.GET.CI_shop.ci.shop.built',
  '$JS.API.CONSUMER.NAMES.CI_shop',
  '$JS.API.CONSUMER.LIST.CI_shop',
  '$JS.API.CONSUMER.INFO.CI_shop.own',
  '$JS.API.CONSUMER.CREATE.CI_shop',
  '$JS.API.CONSUMER.CREATE.CI_shop.spy',
  '$JS.API.CONSUMER.CREATE.CI_shop.spy.ci.bank.built',
  '$JS.API.CONSUMER.CREATE.CI_shop.spy.ci.shop.built',
  '$JS.API.CONSUMER.CREATE.CI_bank.spy.ci.shop.built',
  '$JS.API.CONSUMER.DURABLE.CREATE.CI_shop.spy',
  '$JS.API.CONSUMER.MSG.NEXT.CI_shop.own',
  '$JS.API.CONSUMER.DELETE.CI_shop.own',
  '$JS.ACK.CI_shop.own.1.1.1.1.1',
  '$JS.FC.CI_shop.own.x',
  '$SYS.REQ.USER.AUTH',
  '_INBOX.shop.x.1',
];
/** Subjects on which the project shop could be overheard. */
const FORBIDDEN_TO_SUBSCRIBE = [
  '>',
  '*.>',
  'ci.>',
  'ci.shop.>',
  'ci.bank.>',
  '_INBOX.>',
  '_INBOX.*',
  '_INBOX.*.>',
  '_INBOX.shop.>',
  'deliver.shop',
  '$JS.>',
  '$JS.API.>',
  '$JS.ACK.>',
  '$JS.EVENT.>',
  '$JS.EVENT.ADVISORY.>',
  '$KV.>',
  '$SYS.>',
];

for (const { mode, line } of calloutServers('straight')) {
  describe(`Two projects under the example's policy in ${mode} mode on nats-server ${line}`, () => {
    let callout: Callout;
    before(async () => {
      callout = await startCallout({ mode, line, policy: policyFor(issuer, { azureDevOps: [ADMIN] }) });
      await using admin = await signIn('platform', 'admin');
      const jsm = await admin.jetstreamManager();
      for (const project of ['shop', 'bank'])
        await jsm.streams.add({ name: `CI_${project}`, subjects: [`ci.${project}.>`] });
    });
    after(() => callout[Symbol.asyncDispose]());

    async function signIn(project: string, connection = 'nats'): Promise<Client> {
      const token = await issuer.connection(`sc://my-organisation/${project}/${connection}`);
      return callout.connect(token, { inboxPrefix: `_INBOX.${project}` });
    }

    test('a project can publish, wait and tidy up on its own subjects', async () => {
      await using shop = await signIn('shop');
      const ack = await shop.jetstream({}).publish('ci.shop.built', 'payload of the shop');
      assert.equal(ack.stream, 'CI_shop');
      assert.match(await request(shop, '$JS.API.STREAM.INFO.CI_shop', {}), /"name":"CI_shop"/);
      assert.match(await createConsumer(shop, 'CI_shop', 'own', 'ci.shop.built'), /"name":"own"/);
      const next = await shop.request('$JS.API.CONSUMER.MSG.NEXT.CI_shop.own', '{"batch":1}', {
        noMux: true,
        reply: '_INBOX.shop.next',
        timeout: 5_000,
      });
      assert.equal(next.string(), 'payload of the shop');
      assert.match(await request(shop, '$JS.API.CONSUMER.DELETE.CI_shop.own', {}), /"success":true/);
    });

    for (const subject of FORBIDDEN_TO_PUBLISH)
      test(`the bank can't use ${subject}`, async () => {
        await using bank = await signIn('bank');
        assert.equal(await mayPublish(bank, subject), false);
      });

    for (const subject of FORBIDDEN_TO_SUBSCRIBE)
      test(`the bank can't listen on ${subject}`, async () => {
        await using bank = await signIn('bank');
        assert.equal(await maySubscribe(bank, subject), false);
      });

    test("the bank can't reach the shop's events through the content of a request", async () => {
      await using shop = await signIn('shop');
      await shop.jetstream({}).publish('ci.shop.secret', 'payload of the shop');
      await using bank = await signIn('bank');
      const heard: Msg[] = [];
      bank.subscribe('_INBOX.bank.>', { callback: (_, message) => heard.push(message) });
      const spy = '$JS.API.CONSUMER.CREATE.CI_bank.spy.ci.bank.built';
      const config = { name: 'spy', ack_policy: 'none', deliver_policy: 'all' };
      for (const [stream_name, more] of [
        ['CI_shop', { filter_subject: 'ci.bank.built' }],
        ['CI_shop', { filter_subject: 'ci.shop.>' }],
        ['CI_bank', { filter_subject: 'ci.shop.>' }],
        ['CI_bank', { filter_subjects: ['ci.bank.built', 'ci.shop.secret'] }],
        ['CI_shop', { filter_subject: 'ci.bank.built', deliver_subject: '_INBOX.bank.deliver' }],
      ] as const)
        assert.match(await request(bank, spy, { stream_name, config: { ...config, ...more } }), /"error":/);
      await bank.flush();
      for (const message of heard) assert.doesNotMatch(message.string(), /payload of the shop/);
    });

    test("the bank hears neither the shop's inboxes nor its deliver subjects", async () => {
      await using shop = await signIn('shop');
      await using bank = await signIn('bank');
      const heard: string[] = [];
      bank.subscribe('_INBOX.bank.>', { callback: (_, message) => heard.push(message.subject) });
      await bank.flush();
      const config = { name: 'push', ack_policy: 'none', deliver_policy: 'all', filter_subject: 'ci.shop.push' };
      const body = { stream_name: 'CI_shop', config: { ...config, deliver_subject: '_INBOX.shop.push' } };
      const delivered = new Promise<string>((resolve) => {
        shop.subscribe('_INBOX.shop.push', { callback: (_, message) => resolve(message.string()) });
      });
      assert.match(await request(shop, '$JS.API.CONSUMER.CREATE.CI_shop.push.ci.shop.push', body), /"name":"push"/);
      await shop.jetstream({}).publish('ci.shop.push', 'pushed');
      assert.equal(await delivered, 'pushed');
      await bank.flush();
      assert.deepEqual(heard, []);
    });

    test('projects with similar names share nothing', async () => {
      const names = [
        'my shop',
        'my.shop',
        'my-shop',
        'my/shop',
        'My-Shop',
        'mÿ-shop',
        'my*shop',
        'my>shop',
        '{project}',
      ];
      const prefixes = new Set<string>();
      for (const name of names.filter((one) => !one.includes('/'))) {
        await using client = await callout.connect(await issuer.connection(`sc://my-organisation/${name}/nats`));
        const { followed } = await lastGrant(name);
        const [own = ''] = followed.split(' ');
        assert.match(own, /^ci\.[A-Za-z0-9_~-]+\.>$/);
        assert.equal(await mayPublish(client, own.replace('>', 'built')), true);
        for (const other of prefixes) assert.equal(await mayPublish(client, other.replace('>', 'built')), false);
        prefixes.add(own);
      }
      assert.equal(prefixes.size, names.length - 1);
      await callout.refuses(await issuer.connection('sc://my-organisation/my/shop/nats'), /sub is not sc:/);
    });

    async function lastGrant(project: string): Promise<{ followed: string }> {
      return callout.responder.until(`the grant of ${project}`, async () => {
        const decisions = await callout.decisions(1);
        const sub = `sc://my-organisation/${project}/nats`;
        const found = decisions.find(({ decision, signIn: { sub: of } }) => decision === 'granted' && of === sub);
        return found && { followed: found.followed?.['publish'] ?? '' };
      });
    }
  });
}

async function request(client: Client, subject: string, body: object): Promise<string> {
  return (await client.request(subject, JSON.stringify(body), { timeout: 5_000 })).string();
}

function createConsumer(client: Client, stream: string, name: string, filter: string): Promise<string> {
  const config = { name, filter_subject: filter, ack_policy: 'none', deliver_policy: 'all' };
  return request(client, `$JS.API.CONSUMER.CREATE.${stream}.${name}.${filter}`, { stream_name: stream, config });
}
