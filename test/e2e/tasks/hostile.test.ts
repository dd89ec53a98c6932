import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertHarmless, assertNoSecretLeaks, forAll } from '../../support/hostile/harmless.ts';
import { publishRaw } from '../../support/hostile/hostileEvents.ts';
import {
  assertFailed,
  countsOf,
  natsHeaders,
  publish,
  Scenario,
  sourcesWith,
  wait,
} from '../../support/agent/scenario.ts';
import type { TestStream } from '../../support/agent/scenario.ts';

const SECRETS = { 'System.AccessToken': 'job-token-0815', TopSecret: 'hush-4711-hush' };
const COMPLETE = '##vso[task.complete result=Failed;done=true]gone';
const SET_PATH = '##vso[task.setvariable variable=PATH]/tmp/evil';

/** Texts that would run a command, fake a line, hide something or have the agent expand a secret. */
const TEXTS = [
  SET_PATH,
  '##vso[task.setvariable variable=verdict;isOutput=true]matched',
  COMPLETE,
  '##VSO[Task.Complete result=Failed]x',
  '##vso##vso[[task.complete result=Failed]]x',
  `#${COMPLETE}`,
  '##[error]fake',
  `a\n${COMPLETE}`,
  `a\r${COMPLETE}`,
  `a\r\n${COMPLETE}\r\n##[section]Finishing: x`,
  `a\n\n\r\r${SET_PATH}\n`,
  `a\u0085${COMPLETE}\u2028${COMPLETE}\u2029${COMPLETE}\v${COMPLETE}\f${COMPLETE}`,
  `%0A${COMPLETE}%0D%0A${COMPLETE}%AZP250A${COMPLETE}`,
  `"]${COMPLETE};result=Failed];x`,
  `##\u200bvso[task.complete result=Failed]\u200b##vso\u00ad[task.complete result=Failed]`,
  `\u202e${COMPLETE}\u2066\ufeff${COMPLETE}`,
  `\u001b[2K\u001b]0;x\u0007\0\b\b\b${COMPLETE}`,
  '$(System.AccessToken)',
  '$(TopSecret) $$(TopSecret) $($(TopSecret)) $(TOPSECRET)',
  '${{ variables.TopSecret }} $[variables.TopSecret] $TopSecret %TopSecret% `echo $(TopSecret)`',
  `__proto__ constructor ${COMPLETE}`,
  `${'x'.repeat(5_000)}${COMPLETE}`,
];

/** Names and expressions of the outputs the waits here ask for. */
const EVENT_OUTPUTS = {
  text: 'data.text',
  header: 'headers."x-text"',
  type: 'event.type',
  subject: 'subject',
  id: 'event.id',
};
/** Text that a NATS header value can hold. */
function headerText(text: string): string {
  return text.replace(/\r|\n/g, ' ');
}

/** Events with the text in every place an event has, in each envelope. */
async function publishInAllPlaces(scene: Scenario, stream: TestStream, text: string): Promise<void> {
  const value = headerText(text);
  const data = { text, [text]: text, list: [text] };
  const attributes = { source: text, type: text, id: text, datacontenttype: text, correlationid: text, ext: text };
  const encoded = Object.entries({ specversion: '1.0', ...attributes }).map(([name, attribute]) => [
    `ce-${name}`,
    encodeURIComponent(attribute),
  ]);
  await stream.put(
    'structured',
    { specversion: '1.0', ...attributes, subject: text, data },
    {
      'Content-Type': 'application/cloudevents+json',
    },
  );
  await stream.put('encoded', data, Object.fromEntries(encoded) as Record<string, string>);
  await stream.put('raw', data, {
    'ce-specversion': value,
    'ce-id': value,
    'ce-source': value,
    'ce-type': `"${value}"`,
    'Correlation-Id': value,
    traceparent: value,
    'X-Text': value,
  });
  await stream.put('text', text, { 'X-Text': [value, value], 'Event-Signature': value, 'Content-Type': value });
  // No subject may be longer than a line of the protocol.
  const token = text.replace(/[\s*>]|^\.+|\.+(?=\.|$)/g, '').slice(0, 1_000);
  scene.client.publish(stream.subject(token), JSON.stringify(data), { headers: natsHeaders({ 'Nats-Msg-Id': value }) });
}

/** Messages no client library would send, and payloads that are no text at all. */
async function publishBroken(scene: Scenario, stream: TestStream): Promise<void> {
  const { port } = scene.server;
  const subject = stream.subject('broken');
  const blocks = [
    `NATS/1.0\r\nX-A: a\r${COMPLETE}\nb\r\n\r\n`,
    `NATS/1.0\r\n${COMPLETE}\r\n: ${COMPLETE}\r\nX-B\r\n\r\n`,
    `NATS/1.0 409 ${COMPLETE}\r\nX-C: ${COMPLETE}\r\n\r\n`,
    `NATS/1.0 503\r\n\r\n`,
    `NATS/1.0 100 Idle Heartbeat\r\n\r\n`,
    Buffer.concat([Buffer.from('NATS/1.0\r\nce-id: \xff\xfe', 'latin1'), Buffer.from(`${COMPLETE}\r\n\r\n`)]),
    `NATS/1.0\r\nX-Long: ${COMPLETE}${'y'.repeat(60_000)}${COMPLETE}\r\n\r\n`,
  ];
  await publishRaw(
    port,
    blocks.map((headers) => ({ subject, headers, payload: COMPLETE })),
  );
  await stream.put('broken', Buffer.concat([Buffer.from([0xff, 0xfe, 0x80]), Buffer.from(`\n${COMPLETE}\n`)]));
  await stream.put('broken', `{"text":"\\ud800${COMPLETE}\\udfff","\\ud800":"\\u0000\\n${COMPLETE}"}`);
  await stream.put('broken', `{"text":"\\u0023\\u0023vso[task.complete result=Failed]"}`);
  await stream.put('broken', JSON.stringify({ text: `${COMPLETE}${'z'.repeat(1_040_000)}${COMPLETE}` }));
  await stream.put('broken', `${COMPLETE}\n`.repeat(20_000));
  await stream.put('broken', `${'['.repeat(100_000)}${']'.repeat(100_000)}`);
  await stream.put('broken', `{"__proto__":{"text":"x"},"text":{"constructor":"${COMPLETE}"}}`);
}

describe('Hostile events', { concurrency: 4 }, () => {
  let scene: Scenario;
  let stream: TestStream;
  before(async () => {
    scene = await Scenario.start();
    stream = await scene.stream();
    for (const text of TEXTS) await publishInAllPlaces(scene, stream, text);
    await publishBroken(scene, stream);
    await scene.client.flush();
  });
  after(() => scene[Symbol.asyncDispose]());

  const sources = sourcesWith({
    // What a schema says of wrong data repeats parts of it.
    'strict.schema.json': {
      anyOf: [{ type: 'object', additionalProperties: false }, { const: 1 }],
      propertyNames: { pattern: '^ok$' },
    },
  });
  const roles: [string, Record<string, string>, string][] = [
    ['matched', {}, 'matched'],
    ['invalid', { schemaFile: 'strict.schema.json' }, 'invalid'],
    ['not matching', { match: "data.text == 'no' || event.type == 'no'" }, 'notMatching'],
    ['failing an expression', { match: 'abs(data) == `1` || abs(headers) == `1`' }, 'notMatching'],
    ['foreign', { correlationId: 'ours' }, 'foreign'],
    ['untrusted', { trustedKeys: 'UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4' }, 'untrusted'],
    ['distinct', { distinctBy: 'data', expect: 'one\ntwo', failWhen: "data == 'no'" }, 'notMatching'],
  ];
  for (const debug of [false, true]) {
    for (const [role, inputs, kind] of roles) {
      it(`run no command in a log that shows them as ${role}${debug ? ', with System.Debug' : ''}`, async () => {
        const agent = scene.agent({ debug, sources, secrets: SECRETS });
        const step = await wait(agent, {
          subject: stream.subject('>'),
          count: '1000',
          idleTimeout: '700ms',
          onTimeout: 'succeed',
          ...(inputs['expect'] === undefined ? {} : { count: '1' }),
          ...inputs,
        });
        assert.equal(step.result, 'Succeeded', step.errors.join('\n'));
        assertHarmless(step);
        const { seen = 0, ...counts } = countsOf(step);
        assert.equal(seen, await stream.lastSequence());
        assert.ok((counts[kind] ?? 0) > 20, JSON.stringify(counts));
        await assertNoSecretLeaks(agent, SECRETS);
      });
    }
  }

  it('hand a later step no secret and run no command, whichever of them decides, and says yes or no', async () => {
    const outputs = Object.entries(EVENT_OUTPUTS).map((output) => output.join('='));
    // Each text comes in five events; of those in every third one, and so each place an event has comes, too.
    const sequences = Array.from({ length: await stream.lastSequence() }, (_, index) => index + 1);
    await forAll(
      sequences.filter((sequence) => sequence % 3 === 0),
      async (sequence) => {
        const agent = scene.agent({ debug: sequence % 2 === 0, secrets: SECRETS });
        const step = await wait(agent, {
          subject: stream.subject('>'),
          startFrom: 'sequence',
          startSequence: String(sequence - 1),
          onInvalid: 'fail',
          outputs: outputs.join('\n'),
          ...(sequence % 4 === 0 ? { failWhen: 'subject' } : {}),
        });
        assertHarmless(step, { eventOutputs: Object.keys(EVENT_OUTPUTS) });
        assert.match(step.outputs.get('verdict') ?? '', /^(matched|negative|contractViolation|error)$/);
        await assertNoSecretLeaks(agent, SECRETS);
      },
    );
  });
});

describe('Hostile inputs of a publishing step', { concurrency: 4 }, () => {
  let scene: Scenario;
  let stream: TestStream;
  before(async () => {
    scene = await Scenario.start();
    stream = await scene.stream();
  });
  after(() => scene[Symbol.asyncDispose]());

  const FIELDS = [
    'messageId',
    'correlationId',
    'eventType',
    'eventSource',
    'contentType',
    'headers',
    'stream',
    'subject',
  ];
  // The agent itself expands macros it knows in inputs, as the author of the pipeline means it to, and an input cannot hold NUL.
  const texts = TEXTS.map((text) => text.replaceAll('$(', '$(Not.').replaceAll('\0', ''));

  it('run no command by way of any field', async () => {
    await forAll(FIELDS, async (field) => {
      const text = '##vso[task.complete]gone';
      const value = field === 'headers' ? `X-Text: ${text}` : text;
      const step = await publish(scene.agent({ debug: true }), {
        subject: stream.subject('x'),
        payload: '1',
        [field]: value,
      });
      assertHarmless(step);
    });
  });

  it('run no command by way of the payload, and hand a later step no secret', async () => {
    await forAll(texts, async (payload) => {
      const agent = scene.agent({ secrets: SECRETS });
      const step = await publish(agent, {
        subject: stream.subject('x'),
        payload,
        headers: `X-Text: ${payload.replace(/\p{Cc}/gu, '')}`,
      });
      assert.equal(step.result, 'Succeeded', step.logText);
      assertHarmless(step);
      await assertNoSecretLeaks(agent, SECRETS);
    });
  });

  it('run no command when every field holds the text, and hand a later step no secret', async () => {
    await forAll(texts, async (text) => {
      const agent = scene.agent({ debug: true, secrets: SECRETS });
      const step = await publish(agent, {
        ...Object.fromEntries(FIELDS.map((field) => [field, text])),
        payload: text,
      });
      assertFailed(step, 'InvalidInput');
      assertHarmless(step);
      await assertNoSecretLeaks(agent, SECRETS);
    });
  });

  it('are published from a file byte by byte, macros and all', async () => {
    const content = TEXTS.join('\n');
    const agent = scene.agent({ debug: true, secrets: SECRETS, sources: sourcesWith({ 'hostile.txt': content }) });
    const step = await publish(agent, {
      subject: stream.subject('file'),
      payloadFrom: 'file',
      payloadFile: 'hostile.txt',
    });
    assertHarmless(step);
    const { data } = await stream.stored(Number(step.outputs.get('sequence')));
    assert.equal(Buffer.from(data).toString(), content);
    await assertNoSecretLeaks(agent, SECRETS);
  });
});
