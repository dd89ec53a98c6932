import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { hookBodies } from '../../support/azureDevOps/hookBodies.ts';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import { reset } from '../../support/azureDevOps/moods.ts';
import { BridgeProcess, NODE_VERSIONS, runBridge } from '../../support/bridge/bridgeProcess.ts';
import { RunsScene } from '../../support/bridge/runsBridge.ts';
import { hooksConfiguration, hooksFiles, passwordOf } from '../../support/bridge/hooksOverHttp.ts';
import { isLong } from '../../support/form.ts';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

/**
 * Pairs of Node.js and nats-server: the oldest and newest, or all in the long form. The other tests are thorough, but
 * most run on one pair only.
 */
const PAIRS = isLong
  ? NODE_VERSIONS.flatMap((node) => (['2.9', '2.10', '2.15'] as const).map((line) => [node, line] as const))
  : ([
      ['24', '2.9'],
      ['20', '2.15'],
    ] as const);

for (const [node, line] of PAIRS)
  test(`an administrator's day with Node ${node} and nats-server ${line}`, async () => {
    await using server = await startNatsServer({ binary: natsServerBinary(line), maxPayload: 3 * 1_024 * 1_024 });
    await using azure = await AzureDevOps.start();
    const [project] = azure.organization.projects;
    assert.ok(project);
    const { buildCompleted, gitPushed } = hookBodies({ organization: azure.organization, project });
    const yaml = (...names: string[]) => {
      const events = names.map((eventType) => ({ eventType }));
      return `${hooksConfiguration(server.url, azure, events)}timing: { readiness: 10ms }\n`;
    };
    const options = { ...hooksFiles(azure), node };
    const command = async (...args: string[]) => runBridge(args, yaml('build.complete', 'git.push'), options);

    const before = await command('check');
    assert.equal(before.status, 1);
    assert.match(before.stdout, /^error: stream AZDO: it doesn't exist\./m);
    const applied = await command('setup', '--apply');
    assert.equal(applied.status, 0, applied.stderr);
    const after = await command('check');
    assert.deepEqual([after.status, after.stdout.match(/^error/gm)], [0, null], after.stdout);

    // Its configuration has no pushes yet.
    await using bridge = await BridgeProcess.start(yaml('build.complete'), options);
    await bridge.ready(200);
    const authorization = `Basic ${Buffer.from(`hooks.${project.id}:${passwordOf(project.id)}`).toString('base64')}`;
    const post = async (hook: unknown) => {
      const headers = { authorization, 'content-type': 'application/json' };
      const body = JSON.stringify(hook);
      const answer = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', headers, body });
      return [answer.status, await answer.json()];
    };
    const [build, other] = [buildCompleted(), buildCompleted()];
    assert.deepEqual(await post(build), [200, { stream: 'AZDO', sequence: 1, duplicate: false }]);
    assert.deepEqual(await post(build), [200, { stream: 'AZDO', sequence: 1, duplicate: true }]);
    assert.deepEqual(await post(gitPushed()), [200, { deadLetter: 1 }]);
    await server.kill();
    await bridge.ready(503);
    assert.equal((await post(other))[0], 503);
    await server.restart();
    await bridge.ready(200);
    assert.deepEqual(await post(other), [200, { stream: 'AZDO', sequence: 2, duplicate: false }]);

    const listed = await command('deadLetters', 'list');
    assert.match(listed.stdout, /^1\t\S+\thooks\tnotConfigured\t/m);
    const shown = await command('deadLetters', 'show', '1');
    assert.match(shown.stdout, /"eventType":"git\.push"/);
    const replayed = await command('deadLetters', 'replay', '1', '--reason', 'pushes are configured now');
    assert.deepEqual([replayed.status, replayed.stdout], [0, '1\tdone\tstream=AZDO\tsequence=3\n']);
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0, bridge.text);

    await using admin = await Admin.connect([server.url]);
    const subjects = [1, 2, 3].map(async (seq) => (await admin.manager.streams.getMessage('AZDO', { seq })).subject);
    assert.deepEqual(await Promise.all(subjects), [
      'azdo.contoso.Shop.build.completed.v1',
      'azdo.contoso.Shop.build.completed.v1',
      'azdo.contoso.Shop.git.pushed.v1',
    ]);
    assert.equal((await admin.manager.streams.info('AZDO')).state.messages, 3);
  });

for (const [node, line] of PAIRS)
  test(`an event starts one run with Node ${node} and nats-server ${line}`, async () => {
    await using scene = await RunsScene.open({
      ...{ node, line, more: 'contracts: { image: image.json }', files: { 'image.json': '{ "required": ["image"] }' } },
      route: ['subject: [ci.web.done, ci.api.done]', 'contract: image'],
    });
    const checked = await scene.command(['check']);
    assert.deepEqual([checked.status, checked.stdout.match(/^error/gm)], [0, null], checked.stdout);
    await using bridge = await scene.start();
    await bridge.ready(200);
    scene.azure.feel(reset({ done: true }), { times: 1, when: startsRun });
    await scene.publish('lost', { image: 'web:1' }, {}, { subject: 'ci.web.done' });
    await bridge.logged('runStarted');
    await scene.publish('invalid', {}, {}, { subject: 'ci.api.done' });
    await scene.publish('elsewhere', {}, {}, { subject: 'ci.done' });
    await scene.publish('lost', { image: 'web:1' }, {}, { subject: 'ci.web.done' });
    await bridge.logged('deadLetter');
    await scene.settled();
    const started = () => scene.azure.runs.map(({ parameters }) => parameters);
    assert.deepEqual(started(), [{ natsEventId: 'lost', image: 'web:1' }]);

    const listed = await scene.command(['deadLetters', 'list']);
    assert.match(listed.stdout, /^1\t\S+\truns\tdeploy\t\d+\tinvalid: .*image/m);
    await scene.server.kill();
    await bridge.ready(503);
    await scene.server.restart();
    await bridge.ready(200);
    await scene.admin.connected();
    await scene.publish('later', { image: 'api:1' }, {}, { subject: 'ci.api.done' });
    await scene.until('second run', () => scene.azure.runs.length === 2);
    await scene.settled();
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0, bridge.text);
    assert.deepEqual(started()[1], { natsEventId: 'later', image: 'api:1' });
  });
