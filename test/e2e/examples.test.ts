import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runPipelineFile, temporaryFolder } from '../support/localAgent/index.ts';
import type { PipelineRun, StepRun } from '../support/localAgent/index.ts';
import { cloudEvent, headerFields, natsHeaders, Scenario } from '../support/scenario.ts';

const EXAMPLES = path.join(import.meta.dirname, '../../examples');
/** An example that waits for longer is cancelled. */
const LONGEST_MS = 30_000;
const run = new Set<string>();

interface CdEvent {
  readonly context: Record<string, string>;
  readonly subject: { readonly id: string; readonly content: Record<string, unknown> };
  readonly customData?: unknown;
}

describe('Each example', { concurrency: 3 }, () => {
  let scene: Scenario;
  before(async () => {
    scene = await Scenario.start();
    await scene.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
    await scene.manager.streams.add({ name: 'RELEASE', subjects: ['release.>'] });
    await scene.manager.streams.add({ name: 'CDEVENTS', subjects: ['dev.cdevents.>'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  /** Runs an example in a copy of the examples, since it writes files there. `change` alters its text. */
  async function runExample(name: string, buildId: string, change = (yaml: string) => yaml): Promise<PipelineRun> {
    run.add(name);
    const sources = temporaryFolder('examples-');
    cpSync(EXAMPLES, sources, { recursive: true });
    const file = path.join(sources, name);
    writeFileSync(file, change(readFileSync(file, 'utf8')));
    return runPipelineFile(file, {
      sources,
      variables: { 'Build.BuildId': buildId },
      signal: AbortSignal.timeout(LONGEST_MS),
      connections: { 'nats-ci': { url: scene.server.url, scheme: 'None' } },
    });
  }

  function stepOf({ jobs }: PipelineRun, displayName: string): StepRun {
    const step = jobs.flatMap(({ steps }) => steps).find((candidate) => candidate.displayName === displayName);
    assert.ok(step, `no step "${displayName}"`);
    return step;
  }

  /** Answers the question of one run, as a person's tool does. */
  async function answer(buildId: string, decision: string): Promise<void> {
    const questions = scene.client.subscribe('release.shop.approval-requested.v1');
    for await (const question of questions) {
      if (question.headers?.get('ce-correlationid') !== buildId) continue;
      assert.deepEqual(question.json(), { release: buildId, requestedBy: 'Ada Lovelace' });
      const payload = { release: buildId, decision, by: 'Grace Hopper' };
      const headers = natsHeaders(cloudEvent({ id: `answer-${buildId}`, correlationid: buildId }));
      await scene.client.jetstream().publish('release.shop.approval.v1', JSON.stringify(payload), { headers });
      return;
    }
  }

  it('image-ready.yml: the deployment goes on with the image the build published', async () => {
    const pipeline = await runExample('image-ready.yml', '42');
    assert.equal(pipeline.result, 'Succeeded', stepOf(pipeline, 'Wait until the image is ready').logText);
    assert.match(stepOf(pipeline, 'Deploy').logText, /^Deploying shop\/web:42 at sha256:[0-9a-f]{64}$/m);
  });

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
    const pipeline = await runExample('cdevents.yml', '43');
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
    const pipeline = await runExample('cdevents.yml', '44', (yaml) =>
      yaml.replace('"content": {}', '"content": { "x": 1 }'),
    );
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

  it('approval-signal.yml: an approval releases', async () => {
    const [pipeline] = await Promise.all([runExample('approval-signal.yml', '1'), answer('1', 'approved')]);
    assert.equal(pipeline.result, 'Succeeded', stepOf(pipeline, 'Wait for the decision').logText);
    assert.match(stepOf(pipeline, 'Release if approved').logText, /^Releasing, approved by Grace Hopper$/m);
  });

  it('approval-signal.yml: a rejection fails the run at once', async () => {
    const [pipeline] = await Promise.all([runExample('approval-signal.yml', '2'), answer('2', 'rejected')]);
    assert.equal(pipeline.result, 'Failed');
    const decision = stepOf(pipeline, 'Wait for the decision');
    assert.equal(decision.outputs.get('verdict'), 'negative');
    assert.match(decision.errors.join(), /^Negative: /);
    assert.equal(stepOf(pipeline, 'Release if approved').result, 'Skipped');
  });

  it('approval-signal.yml: when nobody decides in time, the run goes on without releasing', async () => {
    const pipeline = await runExample('approval-signal.yml', '3', (yaml) => {
      assert.ok(yaml.includes('timeout: 2h\n'));
      return yaml.replace('timeout: 2h\n', 'timeout: 2s\n');
    });
    assert.equal(pipeline.result, 'SucceededWithIssues');
    assert.equal(stepOf(pipeline, 'Wait for the decision').outputs.get('verdict'), 'timedOut');
    assert.match(stepOf(pipeline, 'Release if approved').logText, /^Nobody decided in time; not releasing$/m);
  });
});

it('no example is left out', () => {
  const files = readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' });
  assert.deepEqual(files.filter((file) => /\.ya?ml$/.test(file)).sort(), [...run].sort());
});
