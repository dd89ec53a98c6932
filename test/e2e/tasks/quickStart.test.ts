import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { readMarkdown, yamlBlocks } from '../../support/documents/documents.ts';
import { runPipelineFile, temporaryFolder, type Connection, type LocalAgent } from '../../../localAgent/index.ts';
import { assertOutputs, assertSucceeded, beginWait, publish, Scenario, wait } from '../../support/agent/scenario.ts';

const PASSWORD = 'pass-of-everybody';
const README = readMarkdown(ROOT, 'README.md');
const subject = 'ci.shop.image-ready.v1';

/** The block of permissions that README.md prints for a step of this kind. */
function permissionsOf(kind: string): string {
  const block = new RegExp(`<!-- permissions:${kind} -->\\s+\`\`\`text\\n(.*?)\`\`\``, 's').exec(README.text)?.[1];
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

describe('The permissions in the README are enough', { concurrency: 4 }, () => {
  let scene: Scenario;
  before(async () => {
    const users = Object.entries(USERS).map(([user, block]) => `{ user: ${user}, password: ${PASSWORD}\n${block} }`);
    const config = `authorization { users: [\n${users.join('\n')}\n] }`;
    scene = await Scenario.start({ config }, { user: 'everything', pass: PASSWORD });
    await scene.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  function connectionOf(username: keyof typeof USERS): Connection {
    return { url: scene.server.url, scheme: 'UsernamePassword', parameters: { username, password: PASSWORD } };
  }

  const agent = (user: keyof typeof USERS): LocalAgent => scene.agent({ connection: connectionOf(user) });

  it('for its first pipeline, which is twelve lines long and goes well', async () => {
    const [steps = ''] = yamlBlocks(README);
    assert.equal(steps.trim().split('\n').length, 12);
    const sources = temporaryFolder('first-pipeline-');
    const file = path.join(sources, 'azure-pipelines.yml');
    writeFileSync(file, `steps:\n${steps}`);
    const run = await runPipelineFile(file, { sources, connections: { 'nats-ci': connectionOf('both') } });
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
