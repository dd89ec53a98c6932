import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseArgs } from 'node:util';
import { connect } from 'nats';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { readMarkdown, yamlBlocks } from '../../support/documents/documents.ts';
import { runPipelineFile, temporaryFolder, type Connection, type LocalAgent } from '../../../localAgent/index.ts';
import {
  assertOutputs,
  assertSucceeded,
  beginWait,
  eventsOf,
  natsHeaders,
  publish,
  Scenario,
  wait,
} from '../../support/agent/scenario.ts';

const PASSWORD = 'pass-of-everybody';
const README = readMarkdown(ROOT, 'README.md');
const SENDERS = readMarkdown(ROOT, 'docs/senders.md');
const PERMISSIONS = readFileSync(path.join(ROOT, 'docs/permissions.md'), 'utf8');
const subject = 'ci.shop.image-ready.v1';

/** The block of permissions that the page prints for a step of this kind. */
function permissionsOf(kind: string): string {
  const block = new RegExp(`<!-- permissions:${kind} -->\\s+\`\`\`text\\n(.*?)\`\`\``, 's').exec(PERMISSIONS)?.[1];
  assert.ok(block, kind);
  return block;
}

const USERS = {
  everything: '',
  both: permissionsOf('publishAndWait'),
  publisher: permissionsOf('publishToStream'),
  waiter: permissionsOf('waitFound'),
  coreWaiter: permissionsOf('waitCore'),
};

type User = keyof typeof USERS;

async function startScene(): Promise<Scenario> {
  const users = Object.entries(USERS).map(([user, block]) => `{ user: ${user}, password: ${PASSWORD}\n${block} }`);
  const config = `authorization { users: [\n${users.join('\n')}\n] }`;
  const scene = await Scenario.start({ config }, { user: 'everything', pass: PASSWORD });
  await scene.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
  return scene;
}

function connectionOf({ server }: Scenario, username: User): Connection {
  return { url: server.url, scheme: 'UsernamePassword', parameters: { username, password: PASSWORD } };
}

function agentOf(scene: Scenario, user: User): LocalAgent {
  return scene.agent({ connection: connectionOf(scene, user) });
}

describe('The documented permissions are enough', { concurrency: 4 }, () => {
  let scene: Scenario;
  before(async () => {
    scene = await startScene();
  });
  after(() => scene[Symbol.asyncDispose]());

  const agent = (user: User): LocalAgent => agentOf(scene, user);

  it("for the README's first pipeline, which is twelve lines long and succeeds", async () => {
    const [steps = ''] = yamlBlocks(README);
    assert.equal(steps.trim().split('\n').length, 12);
    const sources = temporaryFolder('first-pipeline-');
    const file = path.join(sources, 'azure-pipelines.yml');
    writeFileSync(file, `steps:\n${steps}`);
    const run = await runPipelineFile(file, { sources, connections: { 'nats-ci': connectionOf(scene, 'both') } });
    const [published, waited] = run.jobs.flatMap((job) => job.steps);
    assert.ok(published !== undefined && waited !== undefined);
    assertSucceeded(published);
    assertSucceeded(waited);
    assertOutputs(waited, { verdict: 'matched', sequence: published.outputs.get('sequence') ?? '' });
    assert.match(waited.logText, /verdict="matched"/);
  });

  it('for a user who only publishes, and for another who only waits', async () => {
    assertSucceeded(await publish(agent('publisher'), { subject, payload: '{ "by": "publisher" }' }));
    assertSucceeded(await wait(agent('waiter'), { subject, startFrom: 'all', match: "data.by == 'publisher'" }));
  });

  it('for a user who waits on core NATS', async () => {
    const { ended } = await beginWait(agent('coreWaiter'), { subject, delivery: 'core' });
    scene.client.publish(subject, '{}');
    assertSucceeded(await ended);
  });
});

it('Events sent with nats pub, as documented, are found by a wait and distinguished', async () => {
  await using scene = await startScene();
  const commands = [README, SENDERS].flatMap(({ text }) => [...text.matchAll(/^nats pub (?:.*\\\n)*.*/gm)]);
  assert.equal(commands.length, 3);
  const client = await connect({ servers: scene.server.url, user: 'publisher', pass: PASSWORD });
  for (const [command] of commands) {
    const { jetstream, words, headers } = readCommand(command);
    assert.ok(jetstream && words[0] === subject, command);
    const { duplicate } = await client.jetstream().publish(subject, words[1] ?? '', { headers: natsHeaders(headers) });
    assert.equal(duplicate, false, command);
  }
  await client.close();
  const inputs = { subject, startFrom: 'all', match: "data.region == 'eu'", correlationId: 'release-7', count: '2' };
  const both = await wait(agentOf(scene, 'waiter'), inputs);
  assertSucceeded(both);
  assert.deepEqual(
    eventsOf(both).map(({ data }) => (data as { image: string }).image),
    ['shop/web:42', 'shop/web:43'],
  );
  const cloudEvent = await wait(agentOf(scene, 'waiter'), {
    subject,
    startFrom: 'all',
    match: "event.type == 'com.example.image.ready'",
  });
  assertSucceeded(cloudEvent);
  assertOutputs(cloudEvent, { messageId: 'web-43', correlationId: 'release-7' });
});

/** The words of a shell command after `nats pub`, and its options. */
function readCommand(command: string): { jetstream: boolean; words: string[]; headers: Record<string, string> } {
  const { values, positionals } = parseArgs({
    args: [...command.replaceAll('\\\n', '').matchAll(/'([^']*)'|(\S+)/g)].map(
      ([, quoted, bare]) => quoted ?? bare ?? '',
    ),
    options: {
      jetstream: { type: 'boolean', default: false },
      header: { type: 'string', multiple: true, default: [] },
    },
    allowPositionals: true,
  });
  const headers = Object.fromEntries(values.header.map((header) => header.split(/:(.*)/s).slice(0, 2)));
  return { jetstream: values.jetstream, words: positionals.slice(2), headers };
}
