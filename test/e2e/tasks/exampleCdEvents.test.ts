import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { runExample, startExamplesServer, stepOf } from '../../support/agent/exampleRun.ts';
import { headerFields } from '../../support/agent/scenario.ts';
import type { Scenario } from '../../support/agent/scenario.ts';

interface CdEvent {
  readonly context: Record<string, string>;
  readonly subject: { readonly id: string; readonly content: Record<string, unknown> };
  readonly customData?: unknown;
}

describe('The example', { concurrency: 2 }, () => {
  let scene: Scenario;
  before(async () => {
    scene = await startExamplesServer();
  });
  after(() => scene[Symbol.asyncDispose]());

  /** The CDEvent of a type that one run has published, with the attributes of its envelope. */
  async function cdEvent(
    type: string,
    run: string,
  ): Promise<{ readonly payload: CdEvent; readonly attributes: Record<string, string> }> {
    const { state } = await scene.manager.streams.info('CDEVENTS');
    for (let seq = state.last_seq; seq > 0; seq--) {
      const { header, data } = await scene.manager.streams.getMessage('CDEVENTS', { seq });
      const attributes = Object.fromEntries(
        headerFields(header).flatMap(([name, value]) =>
          name.startsWith('ce-') ? [[name.slice('ce-'.length), decodeURIComponent(value)]] : [],
        ),
      ) as Record<string, string>;
      if (attributes['type'] === `dev.cdevents.${type}.0.3.0` && attributes['correlationid'] === run)
        return { payload: JSON.parse(Buffer.from(data).toString()) as CdEvent, attributes };
    }
    throw new Error(`The run ${run} has published no ${type}.`);
  }

  it('cdevents.yml: the image and the end of the run are told as CDEvents', async () => {
    const pipeline = await runExample('cdevents.yml', scene.server.url, '43');
    assert.equal(pipeline.result, 'Succeeded', stepOf(pipeline, 'Say that the image is published').logText);
    for (const type of ['artifact.published', 'pipelinerun.finished']) {
      const { payload, attributes } = await cdEvent(type, '43-1');
      const { context, subject } = payload;
      assert.equal(context.type, `dev.cdevents.${type}.0.3.0`);
      assert.equal(context.specversion, '0.5.1');
      const { id, source, timestamp } = context;
      const { id: inEnvelope, source: from, type: typed, time, subject: about, correlationid } = attributes;
      assert.deepEqual(
        { id: inEnvelope, source: from, type: typed, time, subject: about, correlationid },
        { id, source, type: context.type, time: timestamp, subject: subject.id, correlationid: '43-1' },
      );
    }
    assert.match(
      (await cdEvent('artifact.published', '43-1')).payload.subject.id,
      /^pkg:oci\/web@sha256%3A[0-9a-f]{64}\?/,
    );
    assert.equal((await cdEvent('pipelinerun.finished', '43-1')).payload.subject.content.outcome, 'success');
  });

  it('cdevents.yml: a run that fails is told as a failure', async () => {
    const pipeline = await runExample('cdevents.yml', scene.server.url, '44', {
      change: (yaml) => yaml.replace('"content": {}', '"content": { "x": 1 }'),
    });
    assert.equal(pipeline.result, 'Failed');
    assert.match(
      stepOf(pipeline, 'Say that the image is published').errors.join(),
      /^ContractViolation: .*\/subject\/content: must not have property "x"/,
    );
    const { payload } = await cdEvent('pipelinerun.finished', '44-1');
    assert.equal(payload.context.chainId, '44-1');
    assert.equal(payload.subject.content.outcome, 'failure');
    assert.deepEqual(payload.customData, { azureResult: 'Failed' });
  });
});
