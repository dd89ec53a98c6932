import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DiscardPolicy } from 'nats';
import type { LocalAgent, StepRun } from '../../../localAgent/index.ts';
import { createNKey } from '../../support/nats/natsAccounts.ts';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  eventsOf,
  headerFields,
  jsonFile,
  outputsOf,
  publish,
  Scenario,
  sourcesWith,
  underEachNode,
  wait,
} from '../../support/agent/scenario.ts';
import type { TestStream } from '../../support/agent/scenario.ts';
import { isLong } from '../../support/form.ts';
import { SLOW_PATTERN, slowText } from '../../support/slowPattern.ts';

interface Receipt {
  readonly where: { readonly stream: string | null; readonly sequence: number | null };
  readonly what: { readonly events: number; readonly payloadBytes: number; readonly payloadSha256: string };
  readonly result: Record<string, unknown>;
}

/** So many lines of JSON, the first with the number 1. */
function numbered(count: number): string {
  let text = '';
  for (let number = 1; number <= count; number++) text += `{"number":${number}}\n`;
  return text;
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** A step that publishes the lines of a file with this content. */
async function publishLines(
  agent: LocalAgent,
  stream: Pick<TestStream, 'subject'>,
  content: string | Uint8Array,
  inputs: Readonly<Record<string, string>> = {},
  options: Parameters<typeof publish>[2] = {},
): Promise<StepRun> {
  const payloadFile = path.join(agent.folders.temp, 'events.ndjson');
  writeFileSync(payloadFile, content);
  return publish(agent, { subject: stream.subject('line'), payloadFrom: 'lines', payloadFile, ...inputs }, options);
}

/** The payloads a stream holds, in its order. */
async function storedPayloads(stream: TestStream): Promise<string[]> {
  const payloads: string[] = [];
  const last = await stream.lastSequence();
  for (let sequence = 1; sequence <= last; sequence++) {
    payloads.push(Buffer.from((await stream.stored(sequence)).data).toString());
  }
  return payloads;
}

/** Calls back once, when a plain client has seen so many events on the subject. */
function afterEvents(scene: Scenario, subject: string, count: number, act: () => void): void {
  scene.client.subscribe(subject, {
    max: count,
    callback: () => {
      if (--count === 0) act();
    },
  });
}

underEachNode('A file with one event per line', (scene, it) => {
  it('is sent line by line, in order, with an id for each line', async () => {
    const stream = await scene.stream();
    const agent = scene.agent();
    const content = '{ "size": 1.50 }\n[]\n"text"\nnull\n';
    const step = await publishLines(agent, stream, content, { headers: 'X-Team: shop', stream: stream.name });
    assertSucceeded(step);
    assert.deepEqual(await storedPayloads(stream), ['{ "size": 1.50 }', '[]', '"text"', 'null']);

    const variables = ['PlanId', 'StageAttempt', 'JobId', 'JobAttempt', 'TaskInstanceId'];
    const base = `${variables.map((name) => agent.variable(`System.${name}`) ?? '1').join('.')}.${sha256(content)}`;
    for (let line = 1; line <= 4; line++) {
      const headers = new Map(headerFields((await stream.stored(line)).header));
      assert.equal(headers.get('Nats-Msg-Id'), `${base}.${line}`);
      assert.equal(headers.get('ce-id'), `${base}.${line}`);
      assert.equal(headers.get('ce-datacontenttype'), 'application/json');
      assert.equal(headers.get('X-Team'), 'shop');
      assert.equal(headers.get('ce-correlationid'), step.outputs.get('correlationId'));
    }
    assertOutputs(step, {
      messageId: `${base}.4`,
      subject: stream.subject('line'),
      stream: stream.name,
      sequence: '4',
      duplicate: 'false',
      count: '4',
      duplicateCount: '0',
      failedCount: '0',
    });
    const { where, what, result } = jsonFile(step, 'receiptFile') as Receipt;
    assert.equal(where.stream, stream.name);
    assert.equal(where.sequence, 4);
    assert.equal(what.events, 4);
    assert.equal(what.payloadBytes, content.length);
    assert.equal(what.payloadSha256, sha256(content));
    assert.deepEqual(result, {
      published: true,
      duplicate: false,
      confirmed: 4,
      duplicates: 0,
      failed: 0,
      unconfirmed: [],
      error: null,
    });
    assert.deepEqual(step.warnings, []);
  });

  for (const [what, content, expected] of [
    ['CRLF', '{"a":1}\r\n{"a":2}\r\n', ['{"a":1}', '{"a":2}']],
    ['no line end after the last line', '{"a":1}\n{"a":2}', ['{"a":1}', '{"a":2}']],
  ] as const) {
    it(`may have ${what}`, async () => {
      const stream = await scene.stream();
      const step = await publishLines(scene.agent(), stream, content);
      assertSucceeded(step);
      assert.deepEqual(await storedPayloads(stream), expected);
    });
  }

  it('may have lines longer or shorter than the read buffer', async () => {
    const stream = await scene.stream();
    const lines = Array.from({ length: 40 }, (_, index) => JSON.stringify('é'.repeat((index * 7919) % 90_000)));
    assertSucceeded(await publishLines(scene.agent(), stream, lines.join('\n')));
    assert.deepEqual(await storedPayloads(stream), lines);
  });

  for (const [what, content, code, texts] of [
    ['a line that is not JSON', "{}\n{'a':1}\n", 'InvalidInput', ['1 of 2 lines', 'line 2: it is not JSON']],
    ['seven bad lines', 'a\nb\nc\nd\ne\nf\ng', 'InvalidInput', ['line 5: it is not JSON. And 2 more lines']],
  ] as const) {
    it(`is refused with ${what}, and nothing is sent`, async () => {
      const stream = await scene.stream();
      const step = await publishLines(scene.agent(), stream, content);
      assertFailed(step, code, 'payloadFile', ...texts);
      assert.equal(await stream.lastSequence(), 0);
    });
  }

  it('is refused with one bad line of 100,000: its number and place are reported, and nothing is sent', async () => {
    const stream = await scene.stream();
    const schema = { properties: { number: { type: 'integer' } }, required: ['number'] };
    const agent = scene.agent({ sources: sourcesWith({ 'event.schema.json': schema }) });
    const lines = numbered(100_000).replace('{"number":73211}', '{"number":"73211"}');
    const step = await publishLines(agent, stream, lines, { schemaFile: 'event.schema.json' });
    assertFailed(step, 'ContractViolation', '1 of 100000 lines', 'line 73211: /number: must be integer');
    assert.equal(await stream.lastSequence(), 0);
  });

  it('is refused with a line that the server would refuse, and nothing is sent', async () => {
    const stream = await scene.stream();
    const step = await publishLines(scene.agent(), stream, `{}\n"${'x'.repeat(1_048_576)}"\n{}\n`);
    assertFailed(step, 'TooLarge', 'Line 2 is too long, so nothing was sent.', 'max_payload');
    assert.equal(await stream.lastSequence(), 0);
    assertOutputs(step, { count: '0', failedCount: '3' });
  });

  it("stores nothing when it's sent again, and reports every line as a duplicate", async () => {
    const stream = await scene.stream();
    const agent = scene.agent();
    const inputs = { messageId: 'release-42' };
    assertSucceeded(await publishLines(agent, stream, numbered(5_000), inputs));
    const again = await publishLines(agent, stream, numbered(5_000), inputs);
    assertSucceeded(again);
    assert.equal(await stream.lastSequence(), 5_000);
    assertOutputs(again, {
      messageId: 'release-42.5000',
      sequence: '5000',
      duplicate: 'true',
      count: '5000',
      duplicateCount: '5000',
      failedCount: '0',
    });
    const [warning = ''] = again.warnings;
    assert.match(warning, /^5000 of 5000 lines were already in the stream/);
    assert.ok(
      warning.endsWith(` The stream is ${stream.name}; the last line confirmed in order is at sequence 5000.`),
      warning,
    );
  });

  it('has a signature on each line', async () => {
    const stream = await scene.stream();
    const { seed, publicKey } = createNKey();
    const agent = scene.agent({ secrets: { SigningSeed: seed } });
    assertSucceeded(await publishLines(agent, stream, numbered(50), { signingKeyVariable: 'SigningSeed' }));
    const waited = await wait(agent, { subject: stream.subject('line'), trustedKeys: publicKey, count: '50' });
    assertSucceeded(waited);
    assert.deepEqual(
      eventsOf(waited).map(({ data }) => (data as { number: number }).number),
      Array.from({ length: 50 }, (_, index) => index + 1),
    );
  });

  it('can be sent over core NATS', async () => {
    const subject = 'core.line';
    const seen: string[] = [];
    const subscription = scene.client.subscribe(subject, {
      callback: (_error, message) => seen.push(message.string()),
    });
    await scene.client.flush();
    const step = await publishLines(scene.agent(), { subject: () => subject }, numbered(2_500), {
      delivery: 'core',
    });
    assertSucceeded(step);
    await scene.client.flush();
    subscription.unsubscribe();
    assert.equal(`${seen.join('\n')}\n`, numbered(2_500));
    assertOutputs(step, { count: '2500', stream: '', sequence: '', duplicate: 'false', failedCount: '0' });
  });
});

describe('A batch that runs into trouble', { concurrency: 2 }, () => {
  const scene = Scenario.shared();

  it('ends when the stream is full: the lines are named and none is sent twice', async () => {
    const stream = await scene.stream({ max_msgs: 12, discard: DiscardPolicy.New });
    const published: string[] = [];
    scene.client.subscribe(stream.subject('line'), { callback: (_error, message) => published.push(message.string()) });
    await scene.client.flush();
    const step = await publishLines(scene.agent(), stream, numbered(20));
    assertFailed(
      step,
      'Incomplete',
      '12 of 20 lines were confirmed. Unconfirmed lines: 13-20.',
      'StreamRefused',
      'maximum messages exceeded',
    );
    await scene.client.flush();
    assert.equal(`${published.join('\n')}\n`, numbered(20));
    assertOutputs(step, { count: '12', failedCount: '8', sequence: '12', stream: stream.name });
    const { result } = jsonFile(step, 'receiptFile') as Receipt;
    assert.deepEqual(result, {
      published: false,
      duplicate: false,
      confirmed: 12,
      duplicates: 0,
      failed: 8,
      unconfirmed: [[13, 20]],
      error: 'Incomplete',
    });
  });

  it('ends when the stream is full in a long file: distinguishes unsent lines from refused ones', async () => {
    const stream = await scene.stream({ max_msgs: 5_000, discard: DiscardPolicy.New });
    const step = await publishLines(scene.agent(), stream, numbered(50_000));
    assertFailed(step, 'Incomplete', '5000 of 50000 lines were confirmed. Unconfirmed lines: 5001-', 'Not sent: ');
    const [, lastSent, firstUnsent] = /lines: 5001-(\d+)\. Not sent: (\d+)-50000\./.exec(step.errors.join()) ?? [];
    assert.equal(Number(firstUnsent), Number(lastSent) + 1);
    assert.equal(await stream.lastSequence(), 5_000);
  });

  it('names the one line the stream refuses, and stores the others in flight', async () => {
    const stream = await scene.stream({ max_msg_size: 2_000 });
    const lines = Array.from({ length: 9 }, (_, index) => JSON.stringify('x'.repeat(index === 4 ? 2_000 : 9)));
    const step = await publishLines(scene.agent(), stream, `${lines.join('\n')}\n`);
    assertFailed(step, 'Incomplete', '8 of 9 lines were confirmed. Unconfirmed lines: 5.', 'TooLarge');
    assert.equal(await stream.lastSequence(), 8);
  });

  it('stores only what was missing when the agent retries the step', async () => {
    const stream = await scene.stream({ max_msgs: 100, discard: DiscardPolicy.New });
    const agent = scene.agent({ waits: { retry: () => 500 } });
    const step = await publishLines(
      agent,
      stream,
      numbered(300),
      {},
      {
        retryCountOnTaskFailure: 1,
        onLine: ({ text }) => {
          if (text.includes('RetryHelper')) void scene.manager.streams.update(stream.name, { max_msgs: -1 });
        },
      },
    );
    assertSucceeded(step);
    assert.equal(step.attempts, 2);
    assert.equal(await stream.lastSequence(), 300);
    assertOutputs(step, { count: '300', duplicateCount: '100', failedCount: '0', sequence: '300' });
    assert.match(step.warnings.join('\n'), /100 of 300 lines were already in the stream/);
    assert.equal(`${(await storedPayloads(stream)).join('\n')}\n`, numbered(300));
  });

  it('stores nothing if it reaches another stream than the expected one', async () => {
    const [stream, other] = [await scene.stream(), await scene.stream()];
    const step = await publishLines(scene.agent(), stream, numbered(10), { stream: other.name });
    assertFailed(step, 'Conflict', stream.subject('line'), other.name);
    assert.equal(await stream.lastSequence(), 0);
  });

  it('fails at once without a stream, and says so', async () => {
    const step = await publishLines(scene.agent(), { subject: () => 'nowhere.v1' }, numbered(10));
    assertFailed(step, 'NoStream', 'nowhere.v1');
    assert.ok(step.durationMs < 10_000, `it took ${step.durationMs} ms`);
  });

  it('fails if a subscriber replies instead of a stream, and says so', async () => {
    const subscription = scene.client.subscribe('answered.v1', {
      callback: (_error, message) => message.respond('thank you'),
    });
    await scene.client.flush();
    const step = await publishLines(scene.agent(), { subject: () => 'answered.v1' }, numbered(10));
    subscription.unsubscribe();
    assert.equal(step.result, 'Failed');
    assert.match(step.errors.join('\n'), /not JSON|replied instead/);
  });
});

describe('A batch that is half sent when', { concurrency: 2 }, () => {
  /** Far more than are under way at a time. */
  const ALL = isLong ? 60_000 : 20_000;

  /** Everything the stream holds is the start of the file, and the message of the step tells how much that is at least. */
  async function assertNamed(step: StepRun, stream: TestStream, text: string): Promise<void> {
    // On a busy machine it may end before more was sent.
    const pattern = new RegExp(
      `(\\d+) of ${ALL} lines were confirmed\\. (?:Unconfirmed lines: (\\d+)-(\\d+)\\. )?Not sent: (\\d+)-${ALL}\\.`,
    );
    const [, ...parts] = pattern.exec(text) ?? [];
    const [confirmed = NaN, from = confirmed + 1, to = confirmed, rest = 0] = parts.map((part) =>
      part ? Number(part) : undefined,
    );
    assert.ok(confirmed > 0, text);
    assert.equal(from, confirmed + 1);
    assert.equal(rest, to + 1);
    const stored = await stream.lastSequence();
    assert.ok(stored >= confirmed && stored <= to, `${stored} are stored: ${text}`);
    assertOutputs(step, {
      count: String(confirmed),
      failedCount: String(ALL - confirmed),
      sequence: String(confirmed),
    });
  }

  it('the run is cancelled names the unconfirmed lines', async () => {
    await using scene = await Scenario.start();
    const stream = await scene.stream();
    const cancel = new AbortController();
    afterEvents(scene, stream.subject('line'), 3_000, () => {
      void scene.server.pause().then(() => cancel.abort());
    });
    await scene.client.flush();
    const step = await publishLines(scene.agent({ signal: cancel.signal }), stream, numbered(ALL));
    scene.server.resume();
    assert.equal(step.result, 'Canceled', step.logText);
    await assertNamed(step, stream, step.logText);
  });

  it('the deadline passes names the unconfirmed lines', async () => {
    await using scene = await Scenario.start();
    const stream = await scene.stream();
    afterEvents(scene, stream.subject('line'), 3_000, () => void scene.server.pause());
    await scene.client.flush();
    const step = await publishLines(scene.agent(), stream, numbered(ALL), { timeout: '6s' });
    scene.server.resume();
    assertFailed(step, 'Incomplete', 'Timeout');
    await assertNamed(step, stream, step.errors.join('\n'));
  });

  it('the server stalls shows its progress and completes', async () => {
    await using scene = await Scenario.start();
    const stream = await scene.stream();
    afterEvents(scene, stream.subject('line'), 3_000, () => {
      void scene.server
        .pause()
        .then(() => delay(1_200))
        .then(() => scene.server.resume());
    });
    await scene.client.flush();
    const step = await publishLines(scene.agent(), stream, numbered(ALL));
    assertSucceeded(step);
    assert.equal(await stream.lastSequence(), ALL);
    assertOutputs(step, { count: String(ALL), duplicateCount: '0' });
    const progress = step.commands.filter(({ event }) => event === 'setprogress');
    assert.ok(progress.length > 0, 'the step showed no progress');
    for (const { properties, data } of progress) {
      const [, confirmed, all] = /^(\d+) of (\d+) lines confirmed$/.exec(data) ?? [];
      assert.equal(all, String(ALL));
      assert.equal(properties.get('value'), String(Math.floor((100 * Number(confirmed)) / ALL)));
    }
  });

  it('the file changes ends before an unchecked line is sent', async () => {
    await using scene = await Scenario.start();
    const stream = await scene.stream();
    const agent = scene.agent();
    afterEvents(scene, stream.subject('line'), 3_000, () => {
      writeFileSync(path.join(agent.folders.temp, 'events.ndjson'), 'unchecked\n', { flag: 'a' });
    });
    await scene.client.flush();
    const step = await publishLines(agent, stream, numbered(ALL));
    assertFailed(step, 'Incomplete', `of ${ALL} lines were confirmed`, 'was changed while this step read it');
    const stored = await stream.lastSequence();
    assert.ok(stored < ALL, `${stored} lines were sent`);
    assert.equal(outputsOf(step).count, String(stored));
  });
});

it('A batch whose lines take too long to check ends at its deadline, with nothing sent', async () => {
  await using scene = await Scenario.start();
  const stream = await scene.stream();
  const agent = scene.agent({ sources: sourcesWith({ 'slow.schema.json': { pattern: SLOW_PATTERN } }) });
  const lines = `${JSON.stringify(slowText())}\n`.repeat(1_000);
  const step = await publishLines(agent, stream, lines, { schemaFile: 'slow.schema.json', timeout: '4s' });
  assertFailed(step, 'Timeout', 'payloadFile: the deadline of this step passed while it checked', 'Nothing was sent.');
  assert.ok(step.durationMs < 6_000, `it took ${step.durationMs} ms`);
  assert.equal(await stream.lastSequence(), 0);
});
