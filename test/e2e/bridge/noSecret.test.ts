import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import { buildBody, hookBody } from '../../support/bridge/hookPosts.ts';
import { RunsScene } from '../../support/bridge/runsBridge.ts';
import { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';

const SECRET = 'a hook secret that is long enough';
/** One of each per minute. */
const HOOKS = 1_440;
const EVENTS = 1_440;
const AT_ONCE = 16;

test("after a day's traffic, good and bad, no secret is in the log, metrics, status page or audit stream", async () => {
  await using scene = await RunsScene.open({
    files: { 'hook-secret': SECRET },
    more: 'hooks: { passwordFiles: [hook-secret], events: [{ event: build.complete, project: "*" }, { event: git.push, project: "*" }] }',
    route: ['maxPerMinute: 10000', 'pauseAfter: 1000'],
  });
  const { azure } = scene;
  const [project] = azure.organization.projects;
  assert.ok(project);
  const password = createHmac('sha256', SECRET).update(project.id).digest('base64url');
  const basic = (name: string, secret: string) => Buffer.from(`${name}:${secret}`).toString('base64');
  const [pat, signIn] = [basic('', azure.pat), basic(`hooks.${project.id}`, password)];
  const secrets = [azure.pat, pat, SECRET, password, signIn];
  // Azure DevOps' errors quote the secrets it was sent, in several forms.
  let answers = 0;
  azure.feel(
    ({ headers }) => {
      const text = `${headers.authorization}, ${azure.pat}, ${JSON.stringify({ a: azure.pat })}, ${encodeURIComponent(pat)}`;
      const body = JSON.stringify({ $id: '1', message: `Not with ${text}.`, typeKey: 'X', errorCode: 0 });
      const wrong = { status: 400, headers: { 'Content-Type': 'application/json' }, body };
      const page = { ...wrong, status: 503, headers: { 'Content-Type': 'text/html' }, body: text };
      return Promise.resolve(++answers % 2 === 0 ? wrong : page);
    },
    { when: startsRun, chance: 0.02, seed: 1 },
  );
  await using bridge = await BridgeProcess.start(scene.configuration(), scene.options);

  const post = async (number: number): Promise<number> => {
    const bodies = [
      () => buildBody(`hook-${number}`),
      () => hookBody('git.push', { password, repository: { name: azure.pat } }, { id: `hook-${number}` }),
      () => Buffer.from(`{"id": "${password}", "eventType": "${SECRET}`),
    ];
    // Some sign-ins are nearly right.
    const authorization = number % 7 === 0 ? basic(`hooks.${project.id}`, `${password}x`) : signIn;
    const body = bodies[number % bodies.length]!();
    const headers = { authorization: `Basic ${authorization}`, 'content-type': 'application/json' };
    const { status } = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', headers, body });
    return status;
  };
  const statuses = new Map<number, number>();
  for (let number = 0; number < HOOKS; number += AT_ONCE)
    for (const status of await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => post(number + index))))
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
  assert.deepEqual([...statuses.keys()].sort(), [200, 401]);
  for (let number = 0; number < EVENTS; number++) {
    const image = number % 5 === 0 ? `not allowed: ${password}` : 'web:1';
    await scene.publish(`e-${number}`, { image }, number % 11 === 0 ? { subject: azure.pat } : {});
  }
  await scene.settled();

  const seen: [place: string, text: string][] = [
    ['the log', bridge.text],
    ['the metrics', (await bridge.admin('/metrics')).text],
    ['the page', (await bridge.admin('/')).text],
    ['the audit', await auditOf(scene)],
  ];
  assert.ok(azure.runs.length > EVENTS / 2, `${azure.runs.length} runs`);
  assert.ok(
    bridge.text.includes('deadLetter') && bridge.text.includes('Not with'),
    'no event was refused, so the test proved nothing',
  );
  for (const [place, text] of seen)
    for (const secret of secrets) assert.ok(!text.includes(secret), `${place}: ${secret}`);
});

/** Every decision in the audit stream. */
async function auditOf({ admin }: RunsScene): Promise<string> {
  const { first_seq: first, last_seq: last } = (await admin.manager.streams.info('BRIDGE_AUDIT')).state;
  assert.ok(last - first > EVENTS, `${last} decisions`);
  const sequences = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const stored = await Promise.all(sequences.map((seq) => admin.manager.streams.getMessage('BRIDGE_AUDIT', { seq })));
  return stored.map(({ data }) => Buffer.from(data).toString()).join('\n');
}
