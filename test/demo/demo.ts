/**
 * The main job on real parts, on one screen: a build publishes an event, the Event Bridge verifies it and starts the
 * deployment, and the deployment's end becomes an event, too; then a release waits for a decision without an agent. The servers, the bridge of dist/bridge and the tasks of the
 * packed .vsix are real; only Azure DevOps is a stand-in, which is why this isn't among the scripts.
 * Usage: npm run demo
 * Exit code: 0 when all of it has happened, 130 after Ctrl+C, otherwise 1.
 */
import assert from 'node:assert/strict';
import type { LogLine } from '../../localAgent/index.ts';
import { cancelOnInterrupt } from '../../localAgent/runReport.ts';
import { reasonOf } from '../../shared/errors.ts';
import { natsHeaders } from '../support/agent/scenario.ts';
import { cloudEvent } from '../support/event.ts';
import { ExamplesBridge } from '../support/bridge/examplesBridge.ts';

const LIMIT_MS = 60_000;
const WIDTH = Math.max(100, Math.min(process.stdout.columns || 120, 160));
const WHO = 12;

const interrupt = cancelOnInterrupt();
const signal = AbortSignal.any([interrupt, AbortSignal.timeout(LIMIT_MS)]);
const aborted = new Promise<never>((_, reject) => {
  signal.addEventListener('abort', () => reject(new Error(interrupt.aborted ? 'interrupted' : 'it takes too long')));
});
let world: ExamplesBridge | undefined;
let begin = Date.now();
try {
  await Promise.race([demonstrate(), aborted]);
} catch (error) {
  console.error(`\ndemo: ${reasonOf(error)}`);
  process.exitCode = interrupt.aborted ? 130 : 1;
}
await world?.[Symbol.asyncDispose]();
// What an interrupt has left under way ends here.
process.exit();

async function demonstrate(): Promise<void> {
  world = await ExamplesBridge.start();
  const { nats, azure } = world;
  console.log(`
A build's event starts the deployment through the Event Bridge. Then a release waits for a decision, without an agent.
  real        nats-server ${nats.server.version}; the Event Bridge of dist/bridge with examples/bridge.yml; the tasks of dist/*.vsix
  stand-ins   Azure DevOps, and the agent that runs build-web (examples/start-from-event-publisher.yml), deploy-web
              (examples/start-from-event.yml) and release-web (examples/approval-signal-agentless.yml)

    ms │ ${'who'.padEnd(WHO)} │ what
───────┼${'─'.repeat(WHO + 2)}┼${'─'.repeat(WIDTH - WHO - 11)}`);
  begin = Date.now();

  const build = world.queue('build-web');
  tell('Azure DevOps', `run ${build.id} of build-web begins, by ${build.identity.name}`);
  const built = await world.carryOut(build, { signal, onLine: (line) => tellLine('build-web', line) });
  assert.equal(built.result, 'Succeeded', 'the build failed');

  const { decision, event, schemaDigest } = await world.decisionOn('deploy-web', 'CI', 1);
  assert.equal(decision, 'started', 'the bridge started no run');
  tell('Event Bridge', `event CI:1 is signed by the trusted key ${event?.signer}`);
  tell(
    'Event Bridge',
    `… and fits the contract image-ready.v1, ${schemaDigest}, so the route deploy-web asks for a run`,
  );
  const deployment = await world.started(event?.id ?? '');
  tell('Azure DevOps', `run ${deployment.id} of deploy-web begins, by ${deployment.identity.name}, with`);
  tell(
    '',
    Object.entries(deployment.parameters)
      .map((pair) => pair.join('='))
      .join(' '),
  );
  const deployed = await world.carryOut(deployment, { signal, onLine: (line) => tellLine('deploy-web', line) });
  assert.equal(deployed.result, 'Succeeded', 'the deployment failed');
  tell('Azure DevOps', `run ${deployment.id} has ${deployment.result}; service hook build.complete to the bridge`);
  const { answer } = await world.postEnd(deployment);
  assert.equal(answer?.status, 200, `the bridge refused the service hook: ${answer?.text}`);
  const { streams } = await nats.client.jetstreamManager();
  const { subject, seq } = await streams.getMessage('AZDO', { seq: 1 });
  tell('Event Bridge', `event AZDO:${seq} is ${subject}`);

  const forged = JSON.stringify({ image: 'evil/web:1', digest: `sha256:${'0'.repeat(64)}`, region: 'eu' });
  const unsigned = await nats.client.jetstream().publish('ci.shop.image-ready.v1', forged);
  tell('somebody', `published ci.shop.image-ready.v1 of evil/web:1, CI:${unsigned.seq}`);
  const refused = await world.decisionOn('deploy-web', 'CI', unsigned.seq);
  assert.equal(refused.decision, 'deadLetter', 'the bridge trusted an unsigned event');
  tell('Event Bridge', `event CI:${unsigned.seq} is a dead letter, ${refused.reason}`);
  assert.equal(azure.runs.length, 2, 'the bridge started more or fewer than two runs');

  await release(world);

  console.log(
    `\nWhy did ${deployment.pipeline.name} run, and what came of it?\n$ nats-event-bridge why ${deployment.id}`,
  );
  const why = await world.command('why', String(deployment.id));
  assert.equal(why.status, 0, why.stderr);
  for (const line of why.stdout.trimEnd().split('\n')) console.log(wrapped(line));
  console.log(`
Next: npm run pipeline -- FILE.yml --nats runs your own pipeline, with a NATS server for it. See docs/README.md.`);
}

/** A release asks for a decision, and the bridge waits for it in the place of an agent. */
async function release(scene: ExamplesBridge): Promise<void> {
  const run = scene.queue('release-web');
  const released = await scene.carryOut(run, {
    signal,
    onLine: (line, job) => {
      if (/^(connected|POST|Events seen|Waited for)|Starting: (Ask|Release)/.test(line.text)) return;
      if (!line.text.startsWith('Answer 200')) {
        tellLine(job === 'Decide' ? 'no agent' : 'release-web', line);
        return;
      }
      tell('somebody', `publishes release.shop.approval.v1 for run ${run.id}: approved`);
      const headers = natsHeaders(cloudEvent({ id: `approval-${run.id}`, correlationid: String(run.id) }));
      const decision = JSON.stringify({ decision: 'approved' });
      void scene.nats.client.jetstream().publish('release.shop.approval.v1', decision, { headers });
    },
  });
  assert.equal(released.result, 'Succeeded', 'the release failed');
}

/** Prints a line of a step's log; the preamble of each task (its name, version and author) only takes space here. */
function tellLine(who: string, { at, text }: LogLine): void {
  if (/^(={5,}|(Task|Description|Version|Author|Help) +:|##\[section\]Finishing)/.test(text)) return;
  tell(who, text.replace(/^##\[section\]Starting: /, '── '), at);
}

/** Prints what somebody does, and when, on one line. */
function tell(who: string, what: string, at = Date.now()): void {
  const short = what.replace(/([0-9a-f]{8})[0-9a-f]{24,}|(\bU[A-Z2-7]{7})[A-Z2-7]{48}\b/g, '$1$2…');
  const room = WIDTH - WHO - 12;
  const time = who === '' ? '' : String(at - begin);
  const line = short.length > room ? `${short.slice(0, room - 1)}…` : short;
  console.log(`${time.padStart(6)} │ ${who.padEnd(WHO)} │ ${line}`);
}

/** A line of the chain on as many lines as it takes. */
function wrapped(line: string): string {
  const indent = ' '.repeat((/^[ │├└─]*/.exec(line)?.[0].length ?? 0) + 4);
  const room = WIDTH - indent.length;
  const [first = ''] = new RegExp(`^.{1,${WIDTH}}(?=\\s|$)`, 'u').exec(line) ?? [];
  const others = line.slice(first.length).match(new RegExp(`\\S.{0,${room - 1}}(?=\\s|$)|\\S{1,${room}}`, 'gu')) ?? [];
  return [first, ...others.map((part) => indent + part)].join('\n');
}
