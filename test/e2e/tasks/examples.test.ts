import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PipelineRun } from '../../../localAgent/index.ts';
import {
  assertRunSucceeded,
  EXAMPLES,
  runExample,
  startExamplesServer,
  stepOf,
  type ExampleOptions,
} from '../../support/agent/exampleRun.ts';
import { cloudEvent, natsHeaders, type Scenario } from '../../support/agent/scenario.ts';

describe('The example', { concurrency: 3 }, () => {
  let scene: Scenario;
  before(async () => {
    scene = await startExamplesServer();
  });
  after(() => scene[Symbol.asyncDispose]());

  function run(name: string, buildId: string, options: ExampleOptions = {}): Promise<PipelineRun> {
    return runExample(name, scene.server.url, buildId, options);
  }

  /** Answers what a run says on one subject with an event on another one, as a person's tool or a monitor does. */
  async function answer(buildId: string, question: string, subject: string, payload: object): Promise<void> {
    for await (const { headers } of scene.client.subscribe(question)) {
      if (headers?.get('ce-correlationid') !== buildId) continue;
      await scene.client.jetstream().publish(subject, JSON.stringify(payload), {
        headers: natsHeaders(cloudEvent({ id: `answer-${buildId}`, correlationid: buildId })),
      });
      return;
    }
  }

  it('image-ready.yml: the deployment goes on with the image the build published', async () => {
    const pipeline = await run('image-ready.yml', '42');
    assertRunSucceeded(pipeline);
    assert.match(stepOf(pipeline, 'Deploy').logText, /^Deploying shop\/web:42 at sha256:[0-9a-f]{64}$/m);
  });

  function decide(buildId: string, decision: string): Promise<void> {
    return answer(buildId, 'release.shop.approval-requested.v1', 'release.shop.approval.v1', {
      release: buildId,
      decision,
      by: 'Grace Hopper',
    });
  }

  it('approval-signal.yml: an approval releases', async () => {
    const [pipeline] = await Promise.all([run('approval-signal.yml', '1'), decide('1', 'approved')]);
    assertRunSucceeded(pipeline);
    assert.match(stepOf(pipeline, 'Release').logText, /^Releasing, approved by Grace Hopper$/m);
    assert.equal(stepOf(pipeline, 'Say that the question has expired').result, 'Skipped');
  });

  it('approval-signal.yml: a rejection fails the run at once', async () => {
    const [pipeline] = await Promise.all([run('approval-signal.yml', '2'), decide('2', 'rejected')]);
    assert.equal(pipeline.result, 'Failed');
    const decision = stepOf(pipeline, 'Wait for the decision');
    assert.equal(decision.outputs.get('verdict'), 'negative');
    assert.match(decision.errors.join(), /^Negative: /);
    assert.equal(stepOf(pipeline, 'Release').result, 'Skipped');
    assert.equal(stepOf(pipeline, 'Say that the question has expired').result, 'Skipped');
  });

  it('approval-signal.yml: when nobody decides in time, the run does not release and takes the question back', async () => {
    const pipeline = await run('approval-signal.yml', '3', {
      change: (yaml) => yaml.replace('timeout: 2h\n', 'timeout: 2s\n'),
    });
    assert.equal(pipeline.result, 'SucceededWithIssues');
    assert.equal(stepOf(pipeline, 'Wait for the decision').outputs.get('verdict'), 'timedOut');
    assert.equal(stepOf(pipeline, 'Release').result, 'Skipped');
    assert.equal(
      stepOf(pipeline, 'Say that the question has expired').outputs.get('subject'),
      'release.shop.approval-expired.v1',
    );
  });

  it('fan-in-regions.yml: two regions let traffic shift, three end the run', async () => {
    const pipeline = await run('fan-in-regions.yml', '51');
    assertRunSucceeded(pipeline);
    assert.equal(stepOf(pipeline, 'Wait for two regions').outputs.get('count'), '2');
    assert.equal(stepOf(pipeline, 'Wait for all regions').outputs.get('count'), '3');
    assert.match(stepOf(pipeline, 'Shift all of the traffic').logText, /^All regions serve$/m);
  });

  it('fan-in-regions.yml: a region that says it twice counts once, and one that is silent is named', async () => {
    const pipeline = await run('fan-in-regions.yml', '52', {
      change: (yaml) =>
        yaml.replace('us: { region: us }', 'again: { region: eu }').replace(/30m(?=\s+onTimeout)/, '4s'),
    });
    assert.equal(pipeline.result, 'Failed');
    assert.equal(stepOf(pipeline, 'Shift half of the traffic').result, 'Succeeded');
    assert.equal(stepOf(pipeline, 'Wait for all regions').outputs.get('missing'), 'us');
    assert.equal(stepOf(pipeline, 'Shift all of the traffic').result, 'Skipped');
    assert.match(stepOf(pipeline, 'Name the regions that are missing').errors.join(), /Not deployed in time to us/);
  });

  function judge(buildId: string, verdict: string, errorRate: number): Promise<void> {
    return answer(buildId, 'ci.shop.canary-started.v1', 'ci.shop.canary-verdict.v1', {
      release: buildId,
      verdict,
      errorRate,
    });
  }
  const resultsOf = ({ jobs }: PipelineRun): string[] => jobs.map(({ name, result }) => `${name} ${result}`);

  it('canary-verdict.yml: a good canary is promoted', async () => {
    const [pipeline] = await Promise.all([run('canary-verdict.yml', '61'), judge('61', 'good', 0.001)]);
    assertRunSucceeded(pipeline);
    assert.deepEqual(resultsOf(pipeline), ['Canary Succeeded', 'Promote Succeeded', 'RollBack Skipped']);
    assert.match(stepOf(pipeline, 'Promote').logText, /error rate 0\.001$/m);
  });

  it('canary-verdict.yml: a bad one is rolled back', async () => {
    const [pipeline] = await Promise.all([run('canary-verdict.yml', '62'), judge('62', 'bad', 0.2)]);
    assert.deepEqual(resultsOf(pipeline), ['Canary Failed', 'Promote Skipped', 'RollBack Succeeded']);
    assert.match(stepOf(pipeline, 'Roll back').logText, /to the old release, verdict negative$/m);
  });

  it('canary-verdict.yml: so is one of which nobody says anything, and one that is cancelled', async () => {
    const silent = await run('canary-verdict.yml', '63', {
      change: (yaml) => yaml.replace('timeout: 20m', 'timeout: 2s'),
    });
    assert.deepEqual(resultsOf(silent), ['Canary Failed', 'Promote Skipped', 'RollBack Succeeded']);
    assert.match(stepOf(silent, 'Roll back').logText, /verdict timedOut$/m);
    const cancel = new AbortController();
    const cancelled = await run('canary-verdict.yml', '64', {
      signal: cancel.signal,
      onLine: ({ text }) => text.startsWith('waiting ') && cancel.abort(),
    });
    assert.deepEqual(resultsOf(cancelled), ['Canary Canceled', 'Promote Skipped', 'RollBack Succeeded']);
  });
});

it('no example is left out', () => {
  const tests = readdirSync(import.meta.dirname).filter((file) => file.startsWith('example'));
  const texts = tests.map((file) => readFileSync(path.join(import.meta.dirname, file), 'utf8'));
  const run = texts.flatMap((text) =>
    [...text.matchAll(/\brun(?:Example)?\(\s*'([^']+\.yml)'/g)].map(([, name]) => name),
  );
  const files = readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' });
  assert.deepEqual(files.filter((file) => /\.ya?ml$/.test(file)).sort(), [...new Set(run)].sort());
});
