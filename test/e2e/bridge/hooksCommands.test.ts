import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apiError } from '../../support/azureDevOps/apiError.ts';
import { hookBodies } from '../../support/azureDevOps/hookBodies.ts';
import { HookSender } from '../../support/azureDevOps/hookSender.ts';
import type { RecordedRequest } from '../../support/azureDevOps/standInServer.ts';
import { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { HookCommandScene, NEW_SECRET, OLD_SECRET, passwordOf, type Row } from '../../support/bridge/hookCommands.ts';
import { Admin } from '../../support/nats/testStream.ts';

const RUN_STATE = 'ms.vss-pipelines.run-state-changed-event';
const EVENTS = `[{ event: build.complete, project: Shop, inputs: { definitionName: web } }, { event: ${RUN_STATE}, project: Shop }]`;

function column(rows: readonly Row[], name: string): (string | undefined)[] {
  return rows.map((row) => row[name]);
}

function methods(requests: readonly RecordedRequest[]): string[] {
  return requests.map(({ method }) => method);
}

// Tests of changes and trouble are in test/integration/bridge/hooksCommands.test.ts.
describe('The subscriptions', { concurrency: 2 }, () => {
  test('are planned first, created once, and then left alone', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    const planned = await scene.command('plan');
    assert.deepEqual([planned.status, planned.stderr], [0, '2 create.\n']);
    assert.deepEqual(
      planned.rows.map(({ ACTION, EVENT, PROJECT, INPUTS, SUBSCRIPTION, REASON }) => [
        ...[ACTION, EVENT, PROJECT, INPUTS, SUBSCRIPTION, REASON],
      ]),
      [
        ['create', 'build.complete', 'Shop', 'definitionName=web', '-', 'there is none'],
        ['create', RUN_STATE, 'Shop', '-', '-', 'there is none'],
      ],
    );
    assert.deepEqual(scene.changes(), []);
    assert.deepEqual(await scene.orders(), []);

    const applied = await scene.command('apply', '--reason', 'CHG-7');
    assert.deepEqual([applied.status, applied.stderr], [0, '2 created.\n']);
    const [build, run] = scene.subscriptions;
    assert.deepEqual(column(applied.rows, 'SUBSCRIPTION'), [build!.id, run!.id]);
    const [shop] = scene.azure.organization.projects;
    assert.deepEqual(build!.consumerInputs, {
      url: 'https://bridge.example.com/hooks',
      resourceDetailsToSend: 'all',
      messagesToSend: 'none',
      detailedMessagesToSend: 'none',
      basicAuthUsername: `hooks.${shop!.id}`,
      basicAuthPassword: passwordOf(OLD_SECRET, shop!.id),
    });
    assert.deepEqual([build!.resourceVersion, run!.resourceVersion], ['2.0', '5.1-preview.1']);
    assert.deepEqual(
      [build!.publisherInputs['projectId'], build!.publisherInputs['definitionName']],
      [shop!.id, 'web'],
    );

    const asked = scene.azure.requests.length;
    const again = await scene.command('apply');
    assert.deepEqual([again.status, again.stdout], [0, '']);
    assert.equal(again.stderr, 'There is nothing to do: 2 unchanged.\n');
    assert.deepEqual(scene.changes(asked), []);
    assert.deepEqual(column((await scene.command('plan')).rows, 'ACTION'), ['unchanged', 'unchanged']);

    const orders = await scene.orders();
    const facts = orders.map(({ name, decision, reason, user, followed }) => ({
      ...{ name, decision, reason, isOfSomebody: typeof user === 'string' && user !== '' },
      ...(followed as Record<string, unknown>),
    }));
    const common = { name: 'hooks-apply', reason: 'CHG-7', isOfSomebody: true };
    assert.deepEqual(facts, [
      { ...common, decision: 'ordered', url: scene.url, changes: 2 },
      {
        ...{ ...common, decision: 'created', event: 'build.complete', project: 'Shop', inputs: 'definitionName=web' },
        subscription: build!.id,
      },
      { ...common, decision: 'created', event: RUN_STATE, project: 'Shop', inputs: '', subscription: run!.id },
    ]);
    for (const secret of [OLD_SECRET, passwordOf(OLD_SECRET, shop!.id), scene.azure.pat])
      assert.ok(!scene.printed.includes(secret));
  });

  test('move to the newest secret with --rotate', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    await scene.here('apply');
    const [shop] = scene.azure.organization.projects;
    scene.write('secret', NEW_SECRET);
    const asked = scene.azure.requests.length;
    assert.match((await scene.command('apply')).stderr, /nothing to do/);
    const rotated = await scene.command('apply', '--rotate');
    assert.deepEqual([rotated.status, rotated.stderr], [0, '2 updated.\n']);
    assert.deepEqual(methods(scene.changes(asked)), ['PUT', 'PUT']);
    for (const { consumerInputs } of scene.subscriptions)
      assert.equal(consumerInputs['basicAuthPassword'], passwordOf(NEW_SECRET, shop!.id));
    const ordered = (await scene.orders()).findLast(({ decision }) => decision === 'ordered');
    assert.equal((ordered!['followed'] as Row)['rotate'], 'true');
    for (const secret of [OLD_SECRET, NEW_SECRET])
      for (const text of [secret, passwordOf(secret, shop!.id)]) assert.ok(!scene.printed.includes(text));
  });

  test("are removed if they are this bridge's", async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    await scene.here('apply');
    const other = scene.azure.subscriptions.add({
      publisherInputs: { projectId: scene.azure.organization.projects[0]!.id },
      consumerInputs: { url: 'https://other.example.com/hooks' },
    });
    const ids = scene.subscriptions.map(({ id }) => id);
    const removed = await scene.command('remove', '--reason', 'moved', '--json');
    assert.deepEqual([removed.status, removed.stderr], [0, '2 removed.\n']);
    const { subscriptions } = JSON.parse(removed.stdout) as { subscriptions: Row[] };
    assert.deepEqual(column(subscriptions, 'subscription'), ids);
    assert.deepEqual([...scene.azure.subscriptions.all.keys()], [other.id]);
    const orders = (await scene.orders()).filter(({ name }) => name === 'hooks-remove');
    assert.deepEqual(
      orders.map(({ decision, reason }) => [decision, reason]),
      [
        ['ordered', 'moved'],
        ['removed', 'moved'],
        ['removed', 'moved'],
      ],
    );
    const again = await scene.command('remove');
    assert.equal(again.stderr, `There is nothing to do: no subscription posts to ${scene.url}.\n`);
  });
});

describe('A running bridge', () => {
  test('stores what its subscriptions post, and shows their state', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS, hooks: '', publicUrl: 'http://127.0.0.1:9/' });
    await scene.here('apply');
    const [build, run] = scene.subscriptions;
    run!.status = 'disabledBySystem';
    const checked = await scene.command('check');
    assert.deepEqual([checked.status, column(checked.rows, 'STATUS')], [1, ['enabled', 'disabledBySystem']]);
    await using bridge = await BridgeProcess.start(scene.yaml, {
      files: { pat: scene.azure.pat, secret: OLD_SECRET, other: OLD_SECRET },
    });
    await bridge.ready(200);
    await using sender = new HookSender();
    // As if the address pointed here.
    const inputs = { ...scene.azure.subscriptions.inputsOf(build!), url: `${bridge.publicUrl}/hooks` };
    const [project] = scene.azure.organization.projects;
    const { organization } = scene.azure;
    const bodies = hookBodies({
      organization,
      project: project!,
      pipeline: { id: 1, name: 'web', folder: '\\', revision: 1 },
    });
    const report = await sender.subscribe(inputs).send(bodies.buildCompleted());
    assert.equal(report.outcome, 'delivered');
    assert.deepEqual(JSON.parse(report.answer!.text), { stream: 'AZDO', sequence: 1, duplicate: false });
    await using admin = await Admin.connect([scene.nats.url]);
    const stored = await admin.manager.streams.getMessage('AZDO', { seq: 1 });
    assert.equal(stored.subject, 'azdo.contoso.Shop.build.completed.v1');

    await bridge.until('the metric', async () => {
      const { text } = await bridge.admin('/metrics');
      return text.includes(`nats_bridge_hook_subscription_state{event="${RUN_STATE}",state="disabledBySystem"} 1`) &&
        text.includes('nats_bridge_hook_subscription_state{event="build.complete",state="enabled"} 1')
        ? true
        : undefined;
    });
    const page = (await bridge.admin('/')).text;
    assert.match(page, /Hook subscriptions at the last self-check/);
    assert.match(page, />1 disabledBySystem</);
    const line = await bridge.until('a finding', () =>
      bridge.lines.find(({ about }) => about === `${RUN_STATE} in Shop`),
    );
    assert.equal(line.level, 'error');
  });

  test('is ready even if it may not see them', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    scene.azure.feel(async () => apiError(403, 'AccessCheckException', 'Access denied'), {
      when: ({ path }) => path.endsWith('/subscriptions'),
    });
    await using bridge = await BridgeProcess.start(scene.yaml, {
      files: { pat: scene.azure.pat, secret: OLD_SECRET, other: OLD_SECRET },
    });
    await bridge.ready(200);
    await bridge.logged('subscriptionsUnknown');
    const page = (await bridge.admin('/')).text;
    assert.match(page, /Unknown: Listing the subscriptions of service hooks failed \(status 403\): Access denied\./);
    assert.ok(!(await bridge.admin('/metrics')).text.includes('hook_subscription_state{'));
  });
});
