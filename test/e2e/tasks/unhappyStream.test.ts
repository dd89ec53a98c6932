import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { AckPolicy, connect, DiscardPolicy } from 'nats';
import { LocalAgent, type Connection, type LocalAgentOptions } from '../../../localAgent/index.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import {
  assertFailed,
  assertSucceeded,
  beginWait,
  countsOf,
  jsonFile,
  publish,
  Scenario,
  sourcesWith,
  wait,
} from '../../support/agent/scenario.ts';

const PASSWORD = 'pass-of-everybody';
const MAX_PAYLOAD = 65_536;

const ACCOUNTS = {
  CI: {
    jetstream: 'enabled',
    users: [
      { user: 'everything', password: PASSWORD },
      {
        user: 'mayNotPull',
        password: PASSWORD,
        permissions: { publish: { deny: ['$JS.API.CONSUMER.MSG.NEXT.>'] } },
      },
    ],
  },
  BARE: { users: [{ user: 'withoutJetStream', password: PASSWORD }] },
};

describe('What a server or a stream refuses', { concurrency: 4 }, () => {
  const scene = Scenario.shared(
    { maxPayload: MAX_PAYLOAD, config: `accounts: ${JSON.stringify(ACCOUNTS)}` },
    { user: 'everything', pass: PASSWORD },
  );

  before(async () => {
    for (const config of [
      { name: 'OPEN', subjects: ['open.>'] },
      { name: 'OTHER', subjects: ['other.>'] },
      { name: 'FULL', subjects: ['full.>'], max_msgs: 1, discard: DiscardPolicy.New },
      { name: 'SMALL', subjects: ['small.>'], max_msg_size: 2_000 },
    ])
      await scene.manager.streams.add(config);
    await scene.client.jetstream().publish('full.v1');
  });

  function agent(
    user = 'everything',
    connection: Partial<Connection> = {},
    options: LocalAgentOptions = {},
  ): LocalAgent {
    const parameters = { username: user, password: PASSWORD };
    return scene.agent({ ...options, connection: { scheme: 'UsernamePassword', parameters, ...connection } });
  }

  const event = (subject: string) => ({ subject, payload: '{}' });

  const remedy =
    "Create one in the account of this user (nats stream add NOWHERE --subjects 'nowhere.>' --defaults), or set delivery to core";
  for (const [what, run, code, ...texts] of [
    [
      'a subject to publish to that no stream captures',
      () => publish(agent(), event('nowhere.v1')),
      'NoStream',
      'No stream captures the subject "nowhere.v1".',
      remedy,
    ],
    [
      'an event that another stream captures than the one expected',
      () => publish(agent(), { ...event('open.v1'), stream: 'OTHER' }),
      'Conflict',
      'The subject "open.v1" is not captured by the stream "OTHER"',
      '"stream"',
    ],
    [
      'an event for a stream that is full',
      () => publish(agent(), event('full.v1')),
      'StreamRefused',
      'The stream did not take the event: maximum messages exceeded',
      'Check the limits of the stream',
    ],
    [
      'an event for a stream that takes none of this size',
      () => publish(agent(), { subject: 'small.v1', payload: JSON.stringify('x'.repeat(2_000)) }),
      'TooLarge',
      'message size exceeds maximum allowed',
      'max_msg_size of the stream',
    ],
  ] as const) {
    it(what, async () => assertFailed(await run(), code, ...texts));
  }

  it('an event that only a core NATS subscriber receives, whether it replies or not', async () => {
    scene.client.subscribe('heard.silently', { callback: () => {} });
    scene.client.subscribe('heard.loudly', { callback: (_, message) => message.respond('{"thanks":true}') });
    await scene.client.flush();
    for (const [subject, text] of [
      ['heard.silently', 'No stream captures the subject "heard.silently".'],
      ['heard.loudly', 'The answer on "heard.loudly" does not come from a stream: a subscriber replied instead.'],
    ] as const)
      assertFailed(await publish(agent(), event(subject)), 'NoStream', text);
  });

  describe('a stream', { concurrency: 4 }, () => {
    it('when there is no JetStream, in the account or the whole server', async () => {
      const bare = await startNatsServer({ jetStream: false });
      const withoutJetStream = { url: bare.url, scheme: 'None' };
      const steps = await Promise.all([
        publish(agent('withoutJetStream'), event('open.v1')),
        wait(agent('withoutJetStream'), { subject: 'open.>' }),
        publish(agent('', withoutJetStream), event('open.v1')),
        wait(agent('', withoutJetStream), { subject: 'open.>' }),
      ]);
      await bare.stop();
      for (const step of steps) assertFailed(step, 'NoStream', 'JetStream is not enabled for', 'set delivery to core');
    });

    it("that doesn't answer before the timeout, which onTimeout decides", async () => {
      const bare = await startNatsServer({ jetStream: false });
      const silent = await connect({ servers: bare.url });
      silent.subscribe('$JS.API.>', { callback: () => undefined });
      await silent.flush();
      const inputs = { subject: 'open.>', startFrom: 'now', timeout: '4s' };
      const local = () => agent('', { url: bare.url, scheme: 'None' });
      const [failed, succeeded] = await Promise.all([
        wait(local(), inputs),
        wait(local(), { ...inputs, onTimeout: 'succeed' }),
      ]);
      await silent.close();
      await bare.stop();
      assertFailed(failed, 'Timeout', 'The deadline passed before the wait could begin');
      assertSucceeded(succeeded);
      for (const step of [failed, succeeded]) assert.equal(step.outputs.get('verdict'), 'timedOut');
    });
  });

  for (const delivery of ['jetStream', 'core']) {
    it(`an event that is larger than the server accepts, by ${delivery}`, async () => {
      const sources = sourcesWith({ 'large.bin': Buffer.alloc(MAX_PAYLOAD) });
      const inputs = { subject: 'open.v1', payloadFrom: 'file', payloadFile: 'large.bin', delivery };
      const step = await publish(agent('everything', {}, { sources }), inputs);
      assertFailed(step, 'TooLarge', 'bytes with its headers, and the server takes 65536 (max_payload)', 'artifact');
    });
  }

  // What each kind of step needs, line by line, stands in test/integration/nats/permissions.test.ts.
  it('a user who may not pull from the consumer, naming the permissions', async () => {
    const subject = 'open.denied.v1';
    const step = await wait(agent('mayNotPull'), { subject });
    assertFailed(step, 'Denied', 'does not let this user', 'permission for "$JS.API.CONSUMER.MSG.NEXT.OPEN.*";');
    assert.equal(step.outputs.get('verdict'), 'denied');

    // A user of another server, with the block as the log shows it, may do it.
    const block = /^permissions: \{\n[^]*?^\}$/m.exec(step.logText)?.[0];
    assert.ok(block, step.logText);
    const everything = { user: 'everything', pass: PASSWORD };
    const users = `{ user: everything, password: ${PASSWORD} }, { user: granted, password: ${PASSWORD}, ${block} }`;
    await using other = await Scenario.start({ config: `authorization { users: [${users}] }` }, everything);
    await other.manager.streams.add({ name: 'OPEN', subjects: ['open.>'] });
    await other.client.jetstream().publish(subject, '{}');
    assertSucceeded(await wait(agent('granted', { url: other.server.url }), { subject, startFrom: 'all' }));
  });

  it('a wait on a missing stream, with the verdict error in its outputs', async () => {
    const absent = await wait(agent(), { subject: 'nowhere.>' });
    assertFailed(absent, 'NoStream');
    assert.equal(absent.outputs.get('verdict'), 'error');
  });
});

describe('Inputs that do not apply', { concurrency: 2 }, () => {
  let server: NatsServer;
  before(async () => {
    server = await startNatsServer({ jetStream: false });
  });
  after(() => server.stop());
  const agent = (sources: string) =>
    new LocalAgent({ sources, connections: { nats: { url: server.url, scheme: 'None' } } });

  it('of a publishing step are only warnings, since the classic editor sends them, even if they are invalid', async () => {
    const step = await publish(agent(sourcesWith({})), {
      ...{ subject: 'ci.v1', payload: '{}', payloadFile: 'gone.json', replySchemaFile: 'gone.schema.json' },
      ...{ delivery: 'core', envelope: 'none', eventType: 'old type', eventSource: 'old source', contentType: 'old' },
    });
    assertSucceeded(step);
    assert.deepEqual(step.warnings.toSorted(), [
      'contentType is ignored: envelope is none.',
      'eventSource is ignored: envelope is none.',
      'eventType is ignored: envelope is none.',
      'payloadFile is ignored: payloadFrom is inline.',
      'replySchemaFile is ignored: delivery is core.',
    ]);
  });

  it('of a waiting step are only warnings, too', async () => {
    const step = await wait(agent(sourcesWith({})), {
      ...{ subject: 'ci.>', delivery: 'core', stream: 'OLD', count: '5', expect: 'eu\nus', distinctBy: 'data.region' },
      ...{ timeout: '4s', onTimeout: 'succeed' },
    });
    assertSucceeded(step);
    assert.deepEqual(step.warnings.toSorted(), [
      'count is ignored: expect replaces it.',
      'stream is ignored: delivery is core.',
    ]);
    assert.equal(step.outputs.get('missing'), 'eu, us');
  });
});

it("A wait ends timedOut with no event in its receipt if another user's consumer delivers to its inbox", async () => {
  await using scene = await Scenario.start({ binary: natsServerBinary('2.15') });
  const stream = await scene.stream();
  const subject_transform = { src: 'other.done', dest: stream.subject('done') };
  await scene.manager.streams.add({ name: 'OTHER', subjects: ['other.>'], subject_transform });
  await scene.client.jetstream().publish('other.done', '{"approved":true}');
  const pulls = scene.client.subscribe(`$JS.API.CONSUMER.MSG.NEXT.${stream.name}.*`, { max: 1 });
  await scene.client.flush();
  const { ended } = await beginWait(scene.agent(), { subject: stream.subject('done'), timeout: '4s' });
  for await (const { reply } of pulls) {
    const delivered = scene.client.subscribe(reply!, { max: 1 });
    const push = { deliver_subject: reply!, ack_policy: AckPolicy.None };
    await scene.manager.consumers.add('OTHER', push);
    for await (const { subject } of delivered) assert.equal(subject, stream.subject('done'));
  }
  const step = await ended;
  assertFailed(step, 'Timeout');
  assert.equal(step.outputs.get('verdict'), 'timedOut');
  const receipt = jsonFile(step, 'receiptFile') as { readonly what: { readonly events: unknown } };
  assert.deepEqual(receipt.what.events, []);
  assert.deepEqual(countsOf(step), {});
});
