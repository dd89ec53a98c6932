import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PipelineRun } from '../../../localAgent/index.ts';
import { assertRunSucceeded, runExample, stepOf, type ExampleOptions } from '../../support/agent/exampleRun.ts';
import { natsHeaders } from '../../support/agent/scenario.ts';
import { LocalWaits } from '../../support/bridge/localWaits.ts';
import { cloudEvent } from '../../support/event.ts';

describe('The example', () => {
  let world: LocalWaits;
  before(async () => {
    world = await LocalWaits.start();
  });
  after(() => world[Symbol.asyncDispose]());

  /** Runs go one after the other, because they share the address that the bridge calls back. */
  function run(name: string, buildId: string, options: ExampleOptions = {}): Promise<PipelineRun> {
    return runExample(name, world.nats.url, buildId, { connections: world.connections, ...options });
  }

  async function publish(buildId: string, subject: string, data: object): Promise<void> {
    const envelope = cloudEvent({ id: `${subject}-${JSON.stringify(data)}-${buildId}`, correlationid: buildId });
    await world.nats.client.jetstream().publish(subject, JSON.stringify(data), { headers: natsHeaders(envelope) });
  }

  /** Publishes the decision as soon as the run asks for it. */
  async function decide(buildId: string, decision: string): Promise<void> {
    for await (const { headers } of world.nats.client.subscribe('release.shop.approval-requested.v1')) {
      if (headers?.get('ce-correlationid') !== buildId) continue;
      await publish(buildId, 'release.shop.approval.v1', { decision });
      return;
    }
  }

  it('approval-signal-agentless.yml: an approval starts the release', async () => {
    const [pipeline] = await Promise.all([run('approval-signal-agentless.yml', '1'), decide('1', 'approved')]);
    assertRunSucceeded(pipeline);
    const decision = stepOf(pipeline, 'Wait for the decision');
    assert.equal(decision.outputs.get('verdict'), 'matched');
    assert.match(decision.logText, /^Verdict: matched$/m);
    assert.match(stepOf(pipeline, 'Release').logText, /^Releasing$/m);
  });

  it('approval-signal-agentless.yml: a rejection stops the release, and the log says why', async () => {
    const [pipeline] = await Promise.all([run('approval-signal-agentless.yml', '2'), decide('2', 'rejected')]);
    assert.equal(pipeline.result, 'Failed');
    const { outputs, logText } = stepOf(pipeline, 'Wait for the decision');
    assert.equal(outputs.get('verdict'), 'negative');
    assert.match(
      logText,
      /^Verdict: negative \(Negative\)\nReason: The event RELEASE \d+ .*data\.decision == 'rejected'/m,
    );
    assert.deepEqual(
      pipeline.jobs.map(({ name, result }) => `${name} ${result}`),
      ['Ask Succeeded', 'Decide Failed', 'Release Skipped'],
    );
  });

  it('approval-signal-agentless.yml: silence stops the release, and the log says what to check', async () => {
    const pipeline = await run('approval-signal-agentless.yml', '3', {
      change: (yaml) => yaml.replace('timeout: 2h', 'timeout: 2s'),
    });
    assert.equal(pipeline.result, 'Failed');
    const { outputs, logText } = stepOf(pipeline, 'Wait for the decision');
    assert.equal(outputs.get('verdict'), 'timedOut');
    assert.match(logText, /^Reason: No matching event came on release\.shop\.approval\.v1 within 2s\. \w/m);
  });

  it('approval-signal-agentless.yml: cancelling the run ends its wait', async () => {
    const cancel = new AbortController();
    const pipeline = await run('approval-signal-agentless.yml', '4', {
      signal: cancel.signal,
      onLine: ({ text }, job) => job === 'Decide' && text.startsWith('Answer 200') && cancel.abort(),
    });
    assert.equal(pipeline.result, 'Canceled');
    assert.match(stepOf(pipeline, 'Wait for the decision').logText, /^Verdict: cancelled \(Cancelled\)$/m);
  });

  it('fan-in-agentless.yml: the traffic shifts after all regions, and a repeated one counts once', async () => {
    for (const region of ['eu', 'us', 'us']) await publish('5', `ci.shop.deployed.${region}.v1`, { region });
    const [pipeline] = await Promise.all([
      run('fan-in-agentless.yml', '5', { variables: { 'System.PipelineStartTime': '2026-01-01 00:00:00+00:00' } }),
      publish('5', 'ci.shop.deployed.apac.v1', { region: 'apac' }),
    ]);
    assertRunSucceeded(pipeline);
    const { outputs } = stepOf(pipeline, 'Wait for all regions');
    assert.deepEqual([outputs.get('count'), outputs.get('missing')], ['3', '']);
    assert.match(stepOf(pipeline, 'Shift the traffic').logText, /^All regions serve$/m);
  });

  it('fan-in-agentless.yml: a silent region is named', async () => {
    for (const region of ['eu', 'apac']) await publish('6', `ci.shop.deployed.${region}.v1`, { region });
    const pipeline = await run('fan-in-agentless.yml', '6', {
      variables: { 'System.PipelineStartTime': '2026-01-01 00:00:00+00:00' },
      change: (yaml) => yaml.replace('timeout: 2h', 'timeout: 2s'),
    });
    assert.equal(pipeline.result, 'Failed');
    assert.equal(stepOf(pipeline, 'Wait for all regions').outputs.get('missing'), 'us');
    assert.match(stepOf(pipeline, 'Wait for all regions').logText, /^Missing: us$/m);
  });
});
