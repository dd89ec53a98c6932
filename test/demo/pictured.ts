/**
 * Plays the beginning of the demo for the pictures of the listing, and prints as JSON what the bridge then shows of it. The
 * bridge, the tasks and nats-server are real; Azure DevOps is a stand-in, which is why this isn't among the scripts.
 * Usage: npm run pictures, which runs it
 */
import assert from 'node:assert/strict';
import type { picturedBridge } from '../../scripts/pictures/bridge.ts';
import type { StartedRun } from '../support/azureDevOps/builds.ts';
import { ExamplesBridge } from '../support/bridge/examplesBridge.ts';

const LIMIT_MS = 60_000;

const signal = AbortSignal.timeout(LIMIT_MS);
await using world = await ExamplesBridge.start();
const { azure, bridge, nats } = world;

await carryOut(world.queue('build-web'));
const { event } = await world.decisionOn('deploy-web', 'CI', 1);
const deployment = await world.started(event?.id ?? '');
await carryOut(deployment);
await world.postEnd(deployment);

await world.postEnd(world.queue('shop-build'), 'succeeded');
const { decision: announced } = await world.decisionOn('announce-build', 'AZDO', 2);
assert.equal(announced, 'started');

const unsigned = await nats.client
  .jetstream()
  .publish('ci.shop.image-ready.v1', JSON.stringify({ image: 'shop/web:1', digest: 'latest', region: 'eu' }));
const { decision } = await world.decisionOn('deploy-web', 'CI', unsigned.seq);
assert.equal(decision, 'deadLetter');

const ids = [String(deployment.id), `CI:${unsigned.seq}`];
const whys = [];
for (const id of ids) {
  const { status, stdout, stderr } = await world.command('why', id);
  assert.equal(status, 0, stderr);
  whys.push({ id, text: stdout.trimEnd() });
}
const { text: statusPage } = await bridge.admin('/');
const shown: ReturnType<typeof picturedBridge> = { whys, statusPage, organization: azure.url };
process.stdout.write(JSON.stringify(shown));

async function carryOut(run: StartedRun): Promise<void> {
  assert.equal((await world.carryOut(run, { signal })).result, 'Succeeded', run.pipeline.name);
}
