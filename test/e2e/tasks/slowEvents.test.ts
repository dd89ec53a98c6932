import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { isLong } from '../../support/form.ts';
import {
  assertFailed,
  assertOutputs,
  beginWait,
  countsOf,
  eventsOf,
  jsonFile,
  Scenario,
  sourcesWith,
  wait,
} from '../../support/agent/scenario.ts';

/** A check against it takes time that doubles with each further `x`. */
const SLOW_SCHEMA = { type: 'object', properties: { status: { type: 'string', pattern: '^(x+)+$' } } };
/** 49 bytes, with whose check nobody will ever be through. */
const SLOW_EVENT = { status: `${'x'.repeat(35)}!` };
/** Makes nothing, so that only time can end it, however fast the machine is. */
const QUADRATIC = 'data[?length($.data[?@ > `2`]) == `0`]';

describe('Events that take long to judge', { concurrency: 3 }, () => {
  const scene = Scenario.shared();
  const sources = sourcesWith({ 'slow.schema.json': SLOW_SCHEMA });

  it("delay no wait beyond its deadline, and a match judged after it doesn't count", async () => {
    const stream = await scene.stream();
    for (let number = 0; number < 40; number++) await stream.put('done', SLOW_EVENT);
    await stream.put('done', { status: 'xxx' });
    const step = await wait(scene.agent({ sources }), {
      subject: stream.subject('done'),
      startFrom: 'all',
      schemaFile: 'slow.schema.json',
      timeout: '4s',
    });
    assertFailed(step, 'Timeout');
    assertOutputs(step, { verdict: 'timedOut', count: '0' });
    const { when } = jsonFile(step, 'receiptFile') as { when: { deadline: string; endedAt: string } };
    // One event takes up to a second; forty took forty.
    assert.ok(Date.parse(when.endedAt) - Date.parse(when.deadline) < 3_000, JSON.stringify(when));
    assert.ok((countsOf(step).invalid ?? 0) < 10);
  });

  it("don't keep a step from being cancelled", async () => {
    const stream = await scene.stream();
    for (let number = 0; number < 40; number++) await stream.put('done', SLOW_EVENT);
    const job = new AbortController();
    const step = await wait(
      scene.agent({ sources, signal: job.signal }),
      { subject: stream.subject('done'), startFrom: 'all', schemaFile: 'slow.schema.json', timeout: '2m' },
      {
        onLine: ({ text }) => {
          if (text.includes('was interrupted after')) job.abort();
        },
      },
    );
    assert.equal(step.result, 'Canceled', step.logText);
    assert.equal(step.exitCode, 0, 'the step was killed');
    assertOutputs(step, { verdict: 'cancelled' });
  });

  it('are invalid, and the next one can match: nested filters over 960 kB', async () => {
    const stream = await scene.stream();
    const large = await stream.put('done', `[${'2,'.repeat(480_000)}2]`);
    const small = await stream.put('done', [0, 1]);
    const step = await wait(scene.agent(), { subject: stream.subject('done'), startFrom: 'all', match: QUADRATIC });
    assertOutputs(step, { verdict: 'matched', sequence: String(small) });
    assert.deepEqual(countsOf(step), { seen: 2, invalid: 1, matched: 1 });
    assert.match(step.logText, new RegExp(`invalid .*sequence=${large}.*match was interrupted after 1000 ms`));
  });

  // The test of the judge says so in less time.
  if (isLong)
    it('end a wait of hours if they take too long in total, with the cause and the fix', async () => {
      const stream = await scene.stream();
      for (let number = 0; number < 12; number++) await stream.put('done', SLOW_EVENT);
      const step = await wait(scene.agent({ sources }), {
        subject: stream.subject('done'),
        startFrom: 'all',
        schemaFile: 'slow.schema.json',
        timeout: '2h',
      });
      assertFailed(step, 'InvalidSchema', 'take too long to judge', 'regular expression with nested repetition');
      assertOutputs(step, { verdict: 'error' });
      assert.deepEqual(countsOf(step), { seen: 10, invalid: 10 });
    });

  it('are invalid if a function would turn them into gigabytes, and the next one can match', async () => {
    const stream = await scene.stream();
    for (const n of [200_000_000, 536_870_000]) await stream.put('done', { a: '\ufb03', n });
    const small = await stream.put('done', { a: 'a', n: 4 });
    const step = await wait(scene.agent(), {
      subject: stream.subject('done'),
      startFrom: 'all',
      failWhen: "length(split(upper(pad_left(data.a, data.n)), '')) > `9`",
      distinctBy: 'pad_left(data.a, data.n)',
    });
    assertOutputs(step, { verdict: 'matched', sequence: String(small) });
    assert.deepEqual(countsOf(step), { seen: 3, invalid: 2, matched: 1 });
  });

  it('end at the deadline when their numbers have millions of digits, and their bytes are kept', async () => {
    const stream = await scene.stream();
    const data = `{"status":"ok","list":[${'1e999,'.repeat(170_000)}0]}`;
    for (let number = 0; number < 6; number++) await stream.put('done', data);
    const step = await wait(scene.agent(), {
      subject: stream.subject('done'),
      startFrom: 'all',
      match: "data.status == 'ok' && data.list[0] > `1`",
      timeout: '4s',
    });
    assertOutputs(step, { verdict: 'timedOut' });
    assert.match(step.logText, /the exponents in it stand for more than 100000 zeros/);
    const { when } = jsonFile(step, 'receiptFile') as { when: { deadline: string; endedAt: string } };
    assert.ok(Date.parse(when.endedAt) - Date.parse(when.deadline) < 2_000, JSON.stringify(when));
    const kept = await wait(scene.agent(), { subject: stream.subject('done'), startFrom: 'all' });
    assertOutputs(kept, { verdict: 'matched' });
    assert.equal(Buffer.from(eventsOf(kept)[0]?.dataBase64 ?? '', 'base64').toString(), data);
  });

  it('hold up no output either: computing one is interrupted and named', async () => {
    const stream = await scene.stream();
    await stream.put('done', `[${'2,'.repeat(480_000)}2]`);
    const step = await wait(scene.agent(), {
      subject: stream.subject('done'),
      startFrom: 'all',
      outputs: `first=data[0]\nslow=${QUADRATIC}`,
    });
    assertFailed(step, 'ContractViolation', 'outputs: slow fails on the event: it was interrupted after 1000 ms');
    assertOutputs(step, { verdict: 'error' });
  });
});

describe('What a wait keeps of an event', { concurrency: 3 }, () => {
  const scene = Scenario.shared();

  it('takes about as much room in eventFile as the event itself, however it is nested', async () => {
    const stream = await scene.stream();
    const depth = 2_000;
    const nested = `[${`${'['.repeat(depth)}${']'.repeat(depth)},`.repeat(200)}0]`;
    await stream.put('done', nested);
    const step = await wait(scene.agent(), { subject: stream.subject('done'), startFrom: 'all' });
    assertOutputs(step, { verdict: 'matched' });
    const text = readFileSync(step.outputs.get('eventFile') ?? '', 'utf8');
    assert.ok(text.length < 2 * nested.length, `${text.length} for ${nested.length}`);
    assert.equal(JSON.stringify(eventsOf(step)[0]?.data), nested);
  });

  it('is all of it for an event that is nested too deeply for JSON to be written: its bytes', async () => {
    const stream = await scene.stream();
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    await stream.put('done', nested);
    const step = await wait(scene.agent(), { subject: stream.subject('done'), startFrom: 'all' });
    assertOutputs(step, { verdict: 'matched', count: '1' });
    const [event] = eventsOf(step);
    assert.equal(Buffer.from(event?.dataBase64 ?? '', 'base64').toString(), nested);
  });

  it('is exact even when JavaScript numbers are not: integers beyond 2^53 in outputs and eventFile, also in a structured event', async () => {
    const stream = await scene.stream();
    const data = '{"id":9007199254740993,"ids":[-12345678901234567890],"text":"9007199254740993"}';
    await stream.put('plain', data);
    await stream.put('structured', `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":${data}}`, {
      'Content-Type': 'application/cloudevents+json',
    });
    for (const suffix of ['plain', 'structured']) {
      const step = await wait(scene.agent(), {
        subject: stream.subject(suffix),
        startFrom: 'all',
        match: "data.text == '9007199254740993'",
        outputs: 'id=data.id\nids=data.ids\nall=data',
      });
      assertOutputs(step, {
        verdict: 'matched',
        'event.id': '9007199254740993',
        'event.ids': '[-12345678901234567890]',
        'event.all': data,
      });
      assert.ok(readFileSync(step.outputs.get('eventFile') ?? '', 'utf8').includes(`"data":${data}`));
    }
  });

  it('leaves the verdict alone when it cannot be written: only the outputs of the files are empty', async () => {
    const stream = await scene.stream();
    const folder = temporaryFolder('gone-');
    const agent = scene.agent({ variables: { 'Agent.TempDirectory': folder } });
    const { ended } = await beginWait(agent, { subject: stream.subject('done') });
    rmSync(folder, { recursive: true });
    await stream.put('done', {});
    const step = await ended;
    assert.equal(step.result, 'Succeeded', step.logText);
    assertOutputs(step, { verdict: 'matched', eventFile: '', receiptFile: '' });
    assert.match(step.warnings.join('\n'), /can't be written/);
  });
});
