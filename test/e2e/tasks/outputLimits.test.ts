import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LocalAgent, StepRun } from '../../../localAgent/index.ts';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  beginWait,
  jsonFile,
  Scenario,
  wait,
} from '../../support/agent/scenario.ts';
import { cloudEvent } from '../../support/event.ts';

const LONG = 'x'.repeat(200_000);
const FEW_SECONDS = '3s';
const TRACE = '0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

/** The outputs reach the next step of the job, which starts with them in its environment. */
async function assertNextStepStarts(agent: LocalAgent, step: StepRun): Promise<void> {
  const next = await agent.runScript({ script: 'echo "verdict=$WAIT_VERDICT."' });
  assertSucceeded(next);
  assert.match(next.logText, new RegExp(`^verdict=${step.outputs.get('verdict')}\\.$`, 'm'));
  const bytes = [...step.outputs].reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value), 0);
  assert.ok(bytes <= 64 * 1_024, `${bytes} bytes of outputs`);
}

function assertLeftEmpty(step: StepRun, ...outputs: readonly string[]): void {
  for (const output of outputs) assert.equal(step.outputs.get(output), '', output);
  const left = step.warnings.map((text) => /^The output (\S+) is left empty: .* receiptFile\.$/.exec(text)?.[1]);
  assert.deepEqual(left, outputs, step.warnings.join('\n'));
}

describe('An event with long values for outputs keeps no later step from starting:', { concurrency: 4 }, () => {
  const scene = Scenario.shared({ config: 'max_control_line: 1MB' });

  /** A CloudEvent in JSON. A stream takes headers of 64 KiB only. */
  const structured = (attributes: Readonly<Record<string, string>>): unknown => ({
    ...{ specversion: '1.0', id: 'e-1', source: '/another-sender', type: 'test' },
    ...attributes,
  });

  async function assertLongInReceipt(agent: LocalAgent, step: StepRun, output: string): Promise<void> {
    assertSucceeded(step);
    assertOutputs(step, { verdict: 'matched', count: '1' });
    assertLeftEmpty(step, output);
    await assertNextStepStarts(agent, step);
    const { what } = jsonFile(step, 'receiptFile') as { what: { events: Record<string, string>[] } };
    assert.ok((what.events[0]?.[output] ?? '').length >= 9_000);
  }

  for (const [what, event, output] of [
    ['its id', structured({ id: LONG }), 'messageId'],
    ['its correlation id', structured({ correlationid: LONG }), 'correlationId'],
    ['its id, of letters of two bytes', structured({ id: 'ä'.repeat(9_000) }), 'messageId'],
  ] as const) {
    it(what, async () => {
      const stream = await scene.stream();
      await stream.put('built', event);
      const agent = scene.agent();
      await assertLongInReceipt(agent, await wait(agent, { subject: stream.subject('built') }), output);
    });
  }

  it('its traceparent, which is invalid and dropped', async () => {
    const stream = await scene.stream();
    const future = `01-${TRACE}-what-the-future-brings`;
    const texts = [LONG, `00-${TRACE}-${LONG}`, `01-${TRACE}-${LONG}`, future];
    for (const traceparent of texts) await stream.put('built', structured({ traceparent }));
    const agent = scene.agent();
    for (const [index, text] of texts.entries()) {
      const inputs = { subject: stream.subject('built'), startFrom: 'sequence', startSequence: String(index) };
      const step = await wait(agent, inputs, { name: `wait${index}` });
      assertSucceeded(step);
      assertOutputs(step, { verdict: 'matched', traceparent: text === future ? future : '' });
      assert.deepEqual(step.warnings, []);
    }
    assertSucceeded(await agent.runScript({ script: 'true' }));
  });

  it('its subject', async () => {
    const agent = scene.agent();
    const { ended } = await beginWait(agent, { subject: 'long.>', delivery: 'core' });
    scene.client.publish(`long.${LONG}`, '{}');
    const step = await ended;
    assertSucceeded(step);
    assertLeftEmpty(step, 'subject');
    await assertNextStepStarts(agent, step);
  });

  it('the list of missing values', async () => {
    const stream = await scene.stream();
    const expect = Array.from({ length: 25_000 }, (_, index) => index.toString(36).padStart(4, '0'));
    const agent = scene.agent();
    const step = await wait(agent, {
      ...{ subject: stream.subject('built'), distinctBy: 'data', expect: expect.join('\n') },
      ...{ timeout: FEW_SECONDS, onTimeout: 'succeed' },
    });
    assertSucceeded(step);
    assertOutputs(step, { verdict: 'timedOut', count: '0' });
    assertLeftEmpty(step, 'missing');
    await assertNextStepStarts(agent, step);
    const { result } = jsonFile(step, 'receiptFile') as { result: { missing: string[] } };
    assert.deepEqual(result.missing, expect);
  });

  it('all of them together, where those that the step asked for come first', async () => {
    const stream = await scene.stream();
    const some = 'y'.repeat(14_000);
    const attributes = { id: `i${some}`, correlationid: `c${some}` };
    await stream.put('built', { a: `a${some}`, b: `b${some}`, c: `c${some}` }, cloudEvent(attributes));
    const agent = scene.agent();
    const step = await wait(agent, { subject: stream.subject('built'), outputs: 'a=data.a\nb=data.b\nc=data.c' });
    assertSucceeded(step);
    assertOutputs(step, { verdict: 'matched', 'event.a': `a${some}`, 'event.c': `c${some}`, messageId: `i${some}` });
    assertLeftEmpty(step, 'correlationId');
    await assertNextStepStarts(agent, step);
  });

  it('values that the step asked for but are too long in total: the step fails and points to the file', async () => {
    const stream = await scene.stream();
    await stream.put('built', { text: 'z'.repeat(16_000) });
    const agent = scene.agent();
    const outputs = ['a', 'b', 'c', 'd'].map((name) => `${name}=data.text`).join('\n');
    const step = await wait(agent, { subject: stream.subject('built'), outputs });
    assertFailed(step, 'TooLarge', 'outputs: ', '65536', step.outputs.get('eventFile') ?? 'no eventFile');
    assertOutputs(step, { verdict: 'error' });
    await assertNextStepStarts(agent, step);
  });
});
