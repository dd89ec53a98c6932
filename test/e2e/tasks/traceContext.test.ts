import assert from 'node:assert/strict';
import { parseTraceparent } from '../../../shared/event/traceContext.ts';
import type { LocalAgent, StepRun } from '../../../localAgent/index.ts';
import { assertSucceeded, publish, underEachNode, wait } from '../../support/agent/scenario.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

underEachNode('A trace', (scene, it) => {
  /** The trace and span a step's output names. */
  function spanOf(step: StepRun): { readonly traceId: string; readonly spanId: string } {
    assertSucceeded(step);
    return parseTraceparent(step.outputs.get('traceparent') ?? '') ?? assert.fail('the step has no traceparent');
  }

  /** An event of another sender that carries the trace, and the step `wait` that found it. */
  async function waitForTraced(agent: LocalAgent): Promise<void> {
    const stream = await scene.stream();
    await stream.put('requested', '{}', { traceparent: PARENT });
    assert.equal(spanOf(await wait(agent, { subject: stream.subject('requested') })).traceId, TRACE);
  }

  for (const [how, variables, env] of [
    ['the env of the step', {}, { TRACEPARENT: '$(wait.traceparent)' }],
    ['a variable of the pipeline', { TRACEPARENT: '$(wait.traceparent)' }, {}],
  ] as const) {
    it(`continues from the awaited event to the one published next, by ${how}`, async () => {
      const agent = scene.agent({ variables });
      await waitForTraced(agent);
      const stream = await scene.stream();
      const step = await publish(agent, { subject: stream.subject('done'), payload: '{}' }, { env });
      const { traceId, spanId } = spanOf(step);
      assert.equal(traceId, TRACE);
      assert.notEqual(spanId, parseTraceparent(PARENT)?.spanId, 'the event shares its span with the step');
      const { header } = await stream.stored(1);
      assert.equal(header.get('traceparent'), step.outputs.get('traceparent'));
      assert.equal(header.get('ce-traceparent'), step.outputs.get('traceparent'));
    });
  }

  it('passes from a publishing pipeline through one that waits and publishes to a third', async () => {
    const stream = await scene.stream();
    const [first, second, third] = [0, 1, 2].map(() => scene.agent()) as [LocalAgent, LocalAgent, LocalAgent];
    const begun = spanOf(await publish(first, { subject: stream.subject('built'), payload: '{}' }));
    await wait(second, { subject: stream.subject('built') });
    const env = { TRACEPARENT: '$(wait.traceparent)' };
    const answered = spanOf(await publish(second, { subject: stream.subject('tested'), payload: '{}' }, { env }));
    const ended = spanOf(await wait(third, { subject: stream.subject('tested') }));
    assert.deepEqual([answered.traceId, ended.traceId], [begun.traceId, begun.traceId]);
    assert.equal(ended.spanId, answered.spanId);
    assert.notEqual(answered.spanId, begun.spanId);
  });

  for (const [why, traceparent] of [
    ['the event that was waited for has none', ''],
    ['the step that should set it has not run', '$(wait.traceparent)'],
    ['it is invalid', `${PARENT}-x`],
  ] as const) {
    it(`starts anew if ${why}`, async () => {
      const stream = await scene.stream();
      const inputs = { subject: stream.subject('built'), payload: '{}' };
      const step = await publish(scene.agent(), inputs, { env: { TRACEPARENT: traceparent } });
      assert.notEqual(spanOf(step).traceId, TRACE);
      assert.deepEqual(step.warnings, []);
    });
  }
});
