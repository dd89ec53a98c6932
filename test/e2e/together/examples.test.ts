import assert from 'node:assert/strict';
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { assertRunSucceeded, EXAMPLES, stepOf } from '../../support/agent/exampleRun.ts';
import type { StartedRun } from '../../support/azureDevOps/builds.ts';
import { runBridgeOn } from '../../support/bridge/bridgeProcess.ts';
import { ExamplesBridge } from '../../support/bridge/examplesBridge.ts';
import { createOperatorMode } from '../../support/nats/natsAccounts.ts';

describe('The example', () => {
  let world: ExamplesBridge;
  before(async () => {
    world = await ExamplesBridge.start();
  });
  after(() => world[Symbol.asyncDispose]());

  it('bridge.yml: check --offline finds no problems in the files, which lack only the secrets', async () => {
    const folder = temporaryFolder('examples-');
    cpSync(EXAMPLES, folder, { recursive: true });
    writeFileSync(path.join(folder, 'bridge.creds'), await (await createOperatorMode()).creds());
    writeFileSync(path.join(folder, 'hook-secret'), 'the secret of a test');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const configurations = files.filter((file) => path.basename(file) === 'bridge.yml');
    assert.deepEqual(configurations, ['bridge.yml']);
    for (const file of configurations) {
      const { status, stdout, stderr } = await runBridgeOn(path.join(folder, file), ['check', '--offline']);
      assert.equal(status, 0, stdout + stderr);
      assert.doesNotMatch(stdout + stderr, /warning|error/);
    }
  });

  it('bridge.yml: check finds no problems in NATS and Azure DevOps', async () => {
    const { status, stdout, stderr } = await world.command('check');
    assert.equal(status, 0, stdout + stderr);
    // An older server can't tell what its user may do.
    assert.equal(stdout.replace(/^warning: permissions of the user: .*\n/, ''), '');
  });

  /** Runs the build, which publishes an image; resolves with the step's outputs. */
  async function publish(build: StartedRun): Promise<ReadonlyMap<string, string>> {
    const pipeline = await world.carryOut(build);
    assertRunSucceeded(pipeline);
    return stepOf(pipeline, 'Say that the image is ready').outputs;
  }

  it('start-from-event-publisher.yml: its event starts one deployment, even if it is published again', async () => {
    const build = world.queue('build-web');
    const first = await publish(build);
    const { decision, event, schemaDigest } = await world.decisionOn('deploy-web', 'CI', Number(first.get('sequence')));
    assert.equal(decision, 'started');
    assert.equal(schemaDigest, first.get('schemaDigest'));
    assert.equal((await publish(build)).get('duplicate'), 'true');
    const deployment = await world.started(event?.id ?? '');
    assert.equal(deployment.pipeline.name, 'deploy-web');
    assert.equal(runsFor('image', `shop/web:${build.id}`).length, 1);
  });

  it("start-from-event.yml: the deployment gets the event's image, and `why` shows the whole chain", async () => {
    const build = world.queue('build-web');
    await publish(build);
    const deployment = await world.started(`shop-web-${build.id}`);
    const pipeline = await world.carryOut(deployment);
    assertRunSucceeded(pipeline);
    const deployed = new RegExp(`^Deploying shop/web:${build.id} at sha256:[0-9a-f]{64}$`, 'm');
    assert.match(stepOf(pipeline, 'Deploy').logText, deployed);
    assert.equal((await world.postEnd(deployment)).outcome, 'delivered');
    const { status, stdout, stderr } = await world.command('why', String(deployment.id), '--json');
    assert.equal(status, 0, stderr);
    const { chain } = JSON.parse(stdout) as { chain: Record<string, unknown>[] };
    assert.deepEqual(
      chain.map(({ kind, stream, run, route, decision, id }) =>
        kind === 'event' ? { stream, run } : kind === 'run' ? { id } : { route, decision },
      ),
      [
        { stream: 'CI', run: build.id },
        { route: 'deploy-web', decision: 'started' },
        { id: deployment.id },
        { stream: 'AZDO', run: deployment.id },
      ],
    );
  });

  it('start-from-event.yml: an unsigned event starts nothing', async () => {
    const data = JSON.stringify({ image: 'evil/web:1', digest: `sha256:${'0'.repeat(64)}`, region: 'eu' });
    const { seq } = await world.nats.client.jetstream().publish('ci.shop.image-ready.v1', data);
    const { decision, reason } = await world.decisionOn('deploy-web', 'CI', seq);
    assert.deepEqual([decision, reason], ['deadLetter', 'untrusted: it is not signed']);
    assert.deepEqual(runsFor('image', 'evil/web:1'), []);
  });

  it('announce-build.yml: only successful builds of another pipeline are announced', async () => {
    const end = async (run: StartedRun, result?: 'failed'): Promise<string> => {
      const { outcome, eventId } = await world.postEnd(run, result ?? 'succeeded');
      assert.equal(outcome, 'delivered');
      return eventId;
    };
    const [failed, build, next] = [world.queue('shop-build'), world.queue('shop-build'), world.queue('shop-build')];
    await end(failed, 'failed');
    const run = await world.started(await end(build));
    const pipeline = await world.carryOut(run);
    assertRunSucceeded(pipeline);
    const { streams } = await world.nats.client.jetstreamManager();
    const announced = await streams.getMessage('CI', { last_by_subj: 'ci.shop.build-succeeded.v1' });
    const { pipeline: name, runId, commit } = announced.json<Record<string, unknown>>();
    assert.deepEqual({ name, runId, commit }, { name: 'shop-build', runId: build.id, commit: build.commit });
    assert.equal(announced.header.get('Nats-Msg-Id'), `shop-build-${build.id}`);
    assert.equal(announced.header.get('ce-correlationid'), build.commit);
    assert.equal(announced.header.get('ce-azprunid'), String(run.id));

    // Its own end announces nothing. The next build's end shows that the bridge got past it.
    await end(run);
    await world.started(await end(next));
    const announcements = world.azure.runs.filter(({ pipeline: { name } }) => name === 'announce-build');
    assert.deepEqual(
      announcements.map(({ parameters }) => parameters['runId']),
      [build, next].map(({ id }) => String(id)),
    );
  });

  function runsFor(parameter: string, value: string): readonly StartedRun[] {
    return world.azure.runs.filter(({ parameters }) => parameters[parameter] === value);
  }
});
