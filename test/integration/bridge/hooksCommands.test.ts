import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { apiError } from '../../support/azureDevOps/apiError.ts';
import {
  broken,
  redirected,
  reset,
  retryAfterOnSuccess,
  signInAsked,
  throttled,
  unavailable,
} from '../../support/azureDevOps/moods.ts';
import { json, type RecordedRequest } from '../../support/azureDevOps/standInServer.ts';
import type { StoredStatus } from '../../support/azureDevOps/subscriptions.ts';
import { HookCommandScene, OLD_SECRET, passwordOf, type Row } from '../../support/bridge/hookCommands.ts';

const RUN_STATE = 'ms.vss-pipelines.run-state-changed-event';
const EVENTS = `[{ event: build.complete, project: Shop, inputs: { definitionName: web } }, { event: ${RUN_STATE}, project: Shop }]`;
const creates = ({ method, path }: RecordedRequest) => method === 'POST' && path.endsWith('/subscriptions');

function column(rows: readonly Row[], name: string): (string | undefined)[] {
  return rows.map((row) => row[name]);
}

function methods(requests: readonly RecordedRequest[]): string[] {
  return requests.map(({ method }) => method);
}

describe('The subscriptions', { concurrency: 2 }, () => {
  test('are repaired only if someone changed them', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    await scene.here('apply');
    const [shop] = scene.azure.organization.projects;
    const projectId = shop!.id;
    const others = [
      scene.azure.subscriptions.add({
        ...{ eventType: 'build.complete', publisherInputs: { projectId } },
        consumerInputs: { url: 'https://other.example.com/hooks' },
      }),
      scene.azure.subscriptions.add({
        ...{ consumerId: 'slack', publisherInputs: { projectId } },
        consumerInputs: { url: scene.url },
      }),
    ];
    const all = scene.azure.subscriptions.all;
    const build = () => scene.subscriptions.find(({ eventType }) => eventType === 'build.complete')!;
    const cases: readonly (readonly [what: () => void, action: string, methods: string[]])[] = [
      [() => void all.delete(build().id), 'create', ['POST']],
      ...(['disabledBySystem', 'disabledByUser', 'disabledByInactiveIdentity'] as const).map(
        (status) => [() => (build().status = status), 'recreate', ['POST', 'DELETE']] as const,
      ),
      [() => (build().resourceVersion = '1.0'), 'update', ['PUT']],
      [() => (build().consumerInputs['resourceDetailsToSend'] = 'minimal'), 'update', ['PUT']],
      [() => delete build().consumerInputs['messagesToSend'], 'update', ['PUT']],
      [() => (build().consumerInputs['basicAuthUsername'] = 'hooks'), 'update', ['PUT']],
      [() => (build().publisherInputs['definitionName'] = 'api'), 'create', ['POST', 'DELETE']],
      [() => (build().publisherInputs['buildStatus'] = 'Failed'), 'create', ['POST', 'DELETE']],
    ].map(([what, action, expected]) => [what as () => void, action as string, expected as string[]]);
    for (const [index, [change, action, expected]] of cases.entries()) {
      change();
      const planned = column((await scene.here('plan')).rows, 'ACTION');
      assert.ok(planned.includes(action) && planned.includes('unchanged'), `${index}: ${planned.join()}`);
      const asked = scene.azure.requests.length;
      const { status, stderr } = await scene.here('apply');
      assert.equal(status, 0, stderr);
      assert.deepEqual(methods(scene.changes(asked)), expected, String(index));
      assert.equal(scene.subscriptions.length, 2, String(index));
      const { status: now, resourceVersion, consumerInputs, publisherInputs } = build();
      assert.deepEqual(
        [now, resourceVersion, consumerInputs['messagesToSend'], consumerInputs['basicAuthUsername']],
        ['enabled', '2.0', 'none', `hooks.${projectId}`],
      );
      assert.deepEqual([publisherInputs['definitionName'], publisherInputs['buildStatus']], ['web', '']);
      assert.equal(consumerInputs['basicAuthPassword'], passwordOf(OLD_SECRET, projectId));
    }
    assert.ok(others.every(({ id }) => all.has(id)));

    // What hooks.events no longer lists goes.
    scene.replace(EVENTS, `[{ event: ${RUN_STATE}, project: Shop }]`);
    const removed = await scene.here('apply');
    assert.deepEqual([removed.status, removed.stderr], [0, '1 removed, 1 unchanged.\n']);
    assert.deepEqual([scene.subscriptions.length, all.size], [1, 3]);
  });

  test('are one per project that the identity sees, across all pages', async () => {
    const projects = Array.from({ length: 250 }, (_, index) => ({ id: randomUUID(), name: `P${index}` }));
    await using scene = await HookCommandScene.open({ events: "[{ event: git.push, project: '*' }]", projects });
    const own = scene.azure.signIn.addPat({ name: 'Manager', projects: projects.slice(1).map(({ name }) => name) });
    scene.write('pat', own);
    const applied = await scene.here('apply');
    assert.deepEqual([applied.status, applied.stderr], [0, '249 created.\n']);
    const ids = scene.subscriptions.map(({ publisherInputs }) => publisherInputs['projectId']);
    assert.deepEqual(new Set(ids), new Set(projects.slice(1).map(({ id }) => id)));
    const names = scene.subscriptions.map(({ consumerInputs }) => consumerInputs['basicAuthUsername']);
    assert.deepEqual(
      names,
      ids.map((id) => `hooks.${id}`),
    );
    assert.match((await scene.here('apply')).stderr, /^There is nothing to do: 249 unchanged\.\n$/);
  });

  test('are completed by a second run if the first was interrupted', async () => {
    await using scene = await HookCommandScene.open({
      events: `[{ event: git.push, project: '*' }, { event: ${RUN_STATE}, project: Shop }]`,
    });
    // Stored, and the answer is lost: nobody knows.
    scene.azure.feel(reset({ done: true }), { times: 1, when: creates });
    const first = await scene.here('apply');
    assert.equal(first.status, 1);
    assert.deepEqual(column(first.rows, 'RESULT'), ['failed', 'left', 'left']);
    assert.match(
      first.stderr,
      /^failed: ConnectionLost: Creating git\.push in Shop failed: .+\. Run the command again: it finds out what was done\.\n/,
    );
    assert.match(first.stderr, /\n1 failed, 2 left\. Run the command again to do the rest\.\n$/);
    const second = await scene.here('apply');
    assert.deepEqual([second.status, second.stderr], [0, '2 created, 1 unchanged.\n']);
    assert.equal(scene.subscriptions.length, 3);

    // A duplicate, as a crash in between may leave one, goes.
    const [one] = scene.subscriptions;
    scene.azure.subscriptions.add({ ...one!, id: randomUUID() });
    assert.equal((await scene.here('apply')).stderr, '1 removed, 3 unchanged.\n');
    assert.equal(scene.subscriptions.length, 3);
  });

  test("keep delivering events if their successor can't be created", async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    await scene.here('apply');
    const [build, run] = scene.subscriptions;
    build!.publisherInputs['definitionName'] = 'api';
    run!.status = 'disabledBySystem';
    const [shop] = scene.azure.organization.projects;
    const evil = `##vso[x]\u001b[31m no ${passwordOf(OLD_SECRET, shop!.id)} here`;
    const isBuild = ({ body }: RecordedRequest) => body.includes('build.complete');
    const mood = scene.azure.feel(async () => apiError(400, 'SubscriptionInputException', evil), {
      when: (request) => creates(request) && isBuild(request),
    });
    const applied = await scene.here('apply');
    assert.equal(applied.status, 1);
    assert.deepEqual(column(applied.rows, 'RESULT'), ['failed', 'done', 'left']);
    assert.deepEqual(column(applied.rows, 'ACTION'), ['create', 'recreate', 'remove-superseded']);
    assert.match(
      applied.stderr,
      /^failed: InvalidInput: Creating build\.complete in Shop, definitionName web failed \(status 400\): ##_?vso/,
    );
    assert.ok(applied.stderr.includes('\\u{1b}[31m no *** here'), applied.stderr);
    assert.ok(scene.azure.subscriptions.all.has(build!.id));
    mood();
    assert.deepEqual((await scene.here('apply')).stderr, '1 created, 1 removed, 1 unchanged.\n');
    assert.ok(!scene.azure.subscriptions.all.has(build!.id));
    assert.ok(!scene.printed.includes(passwordOf(OLD_SECRET, shop!.id)));
  });
});

describe('Trouble with Azure DevOps', { concurrency: 2 }, () => {
  test('that passes is waited out and reported', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    const { azure } = scene;
    const lists = ({ method, path }: RecordedRequest) => method === 'GET' && path.endsWith('/publishers');
    const writes = ({ method }: RecordedRequest) => method !== 'GET';
    azure.feel(throttled({ retryAfter: 0.05 }), { times: 1, when: creates });
    azure.feel(unavailable(503), { times: 2, when: lists });
    azure.feel(signInAsked('page'), { times: 1, when: ({ path }) => path.endsWith('/projects') });
    azure.feel(retryAfterOnSuccess({ retryAfter: 0.5 }), { times: 1, when: writes });
    const applied = await scene.here('apply');
    assert.equal(applied.status, 0, applied.stderr);
    assert.match(applied.stderr, /Waiting 50ms: TF400733: /);
    assert.match(applied.stderr, /Waiting \d+ms: Azure DevOps asks for it\./);
    assert.match(applied.stderr, /\n2 created\.\n$/);

    azure.feel(broken(), { times: 1, when: ({ method }) => method === 'PUT' });
    assert.equal((await scene.here('apply', '--rotate')).status, 0);
  });

  test('that stays is a clear error', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    const { azure } = scene;
    for (const [mood, message] of [
      [
        signInAsked('page'),
        /^Denied: Listing the publishers of service hooks failed: .+ \(status 203\)\. Check hooks\.identity/m,
      ],
      [signInAsked('unauthorized'), /^Denied: .+\(status 401\)/m],
      [redirected('https://evil.example/'), /^Denied: .+\(status 302\)/m],
      [throttled({ retryAfter: 3_600 }), /^Timeout: .+TF400733: .+ Run the command again later/m],
      [unavailable(502), /^ConnectionLost: .+\(status 502\)/m],
      [async () => json(200, { value: 'nothing' }), /^Internal: .+ failed: the answer isn't a list\./m],
    ] as const) {
      const stop = azure.feel(mood);
      const { status, stdout, stderr } = await scene.here('plan');
      stop();
      assert.match(stderr, /^There is no plan, and nothing was changed, since a question to Azure DevOps failed\.$/m);
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, message);
    }
    assert.deepEqual(scene.changes(), []);
    scene.replace(azure.url, 'http://127.0.0.1:1/contoso');
    for (const [action, nothing] of [
      ['check', 'Nothing was checked'],
      ['remove', 'Nothing was changed'],
    ] as const) {
      const { stderr } = await scene.here(action);
      assert.match(stderr, /^Waiting 20ms: Azure DevOps can't be reached: connect ECONNREFUSED 127\.0\.0\.1:1\.$/m);
      assert.match(stderr, new RegExp(`^${nothing}, since a question to Azure DevOps failed\\.$`, 'm'));
      assert.match(
        stderr,
        /^Unreachable: .+ failed: Azure DevOps can't be reached: .+\. Check azureDevOps\.organization, /m,
      );
    }
  });

  test('about permissions names the missing one', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    const { azure } = scene;
    const reader = azure.signIn.addPat({ name: 'Reader' });
    const identity = azure.signIn.identify(`Basic ${Buffer.from(`:${reader}`).toString('base64')}`);
    if (typeof identity === 'string') throw new Error(identity);
    azure.subscriptions.readers.add(identity.id);
    scene.write('pat', reader);
    const applied = await scene.here('apply');
    assert.equal(applied.status, 1);
    assert.match(
      applied.stderr,
      /^failed: Denied: .+\(status 403\): Access denied: Reader .+ Give the identity the permissions View Subscriptions and Edit Subscriptions/,
    );
    assert.match(applied.stderr, /\n2 failed\./);
    assert.equal(azure.subscriptions.all.size, 0);

    // Another identity may manage them than the one that starts runs.
    scene.write('manager', azure.pat);
    scene.replace('hooks:\n', 'hooks:\n  identity: { kind: pat, patFile: manager }\n');
    assert.equal((await scene.here('apply')).stderr, '2 created.\n');
  });

  test("isn't needed to find mistakes in the configuration", async () => {
    const events = '[{ event: build.complet, project: Shop }, { event: git.push, project: Shpo }]';
    await using scene = await HookCommandScene.open({ events });
    const { status, stderr } = await scene.here('apply');
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^hooks\.events\[0\]\.event: no publisher of the organization knows an event "build\.complet"\. The nearest one is "build\.complete"\.\nhooks\.events\[1\]\.project: there is no project "Shpo".+"Shop"/,
    );
    assert.deepEqual(scene.changes(), []);
    scene.replace('publicUrl: "https://bridge.example.com/"', 'publicUrl: ""');
    for (const action of ['plan', 'apply', 'check', 'remove']) {
      const run = await scene.here(action);
      assert.equal(run.status, 1);
      assert.match(run.stderr, /^InvalidInput: http\.publicUrl is missing, .+ Set it to the address/);
    }
    scene.write('bridge.yml', scene.yaml.slice(0, scene.yaml.indexOf('hooks:')));
    assert.match((await scene.here('plan')).stderr, /^InvalidInput: The configuration has no section hooks\./);
  });
});

describe('A check of the subscriptions', { concurrency: 2 }, () => {
  test('finds each problem once, with its fix', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS });
    const missing = await scene.here('check');
    assert.equal(missing.status, 1);
    assert.deepEqual(column(missing.rows, 'STATUS'), ['missing', 'missing']);
    assert.match(
      missing.stderr,
      /error: build\.complete in Shop, definitionName web: it has no subscription\. Run nats-event-bridge hooks apply\.\n/,
    );
    assert.match(missing.stderr, /\n2 missing; 2 problems\.\n$/);

    await scene.here('apply');
    const [build] = scene.subscriptions;
    const well = await scene.here('check');
    assert.deepEqual([well.status, well.stderr], [0, '2 enabled; no problems.\n']);
    assert.deepEqual(column(well.rows, 'LAST DELIVERY'), ['none', 'none']);

    for (const [status, problem] of [
      ['onProbation', /is on probation: Azure DevOps doesn't use it for new events\. .+hooks apply\./],
      ['disabledBySystem', /its status is disabledBySystem: Azure DevOps posts no events\. .+hooks apply\./],
      ['disabledByUser', /its status is disabledByUser: /],
      ['disabledByInactiveIdentity', /its status is disabledByInactiveIdentity: /],
      ['resting' as StoredStatus, /its status is "resting", which the bridge doesn't know/],
    ] as const) {
      build!.status = status;
      const { status: exit, rows, stderr } = await scene.here('check');
      assert.equal(exit, 1);
      assert.ok(column(rows, 'STATUS').includes(status));
      const errors = stderr.split('\n').filter((line) => line.startsWith('error: '));
      assert.deepEqual([errors.length, problem.test(errors[0] ?? '')], [1, true], stderr);
    }
    build!.status = 'enabled';
    build!.resourceVersion = '1.0';
    assert.match(
      (await scene.here('check')).stderr,
      /error: .+ resourceVersion is 1\.0 instead of 2\.0\. Run nats-event-bridge hooks apply\.\n/,
    );
    assert.equal(scene.changes().filter(({ method }) => method !== 'POST').length, 0);
  });

  test('shows the last deliveries, and warns if there has been none for long', async () => {
    await using scene = await HookCommandScene.open({ events: EVENTS, hooks: '  silenceAlarm: 1h\n' });
    await scene.here('apply');
    const [build, run] = scene.subscriptions;
    const at = Date.now() - 2 * 3_600_000;
    build!.notifications.push({ result: 'succeeded', at: at - 1_000 });
    build!.notifications.push({ result: 'failed', at, errorMessage: 'Unauthorized (401) \u001b[31m##vso[x]' });
    build!.notifications.push({ result: 'pending', at: at + 1_000 });
    run!.notifications.push({ result: 'succeeded', at });
    const { status, rows, stderr } = await scene.here('check');
    assert.equal(status, 1);
    const time = new Date(at).toISOString().slice(0, 19);
    assert.ok(rows[0]?.['LAST DELIVERY']?.startsWith(`failed ${time}`));
    assert.ok(rows[1]?.['LAST DELIVERY']?.startsWith(`succeeded ${time}`));
    assert.match(rows[0]?.['SILENT FOR'] ?? '', /^2h/);
    assert.match(
      stderr,
      /error: build\.complete in Shop, definitionName web: its last delivery failed at .+: "Unauthorized \(401\) .+\. Make sure Azure DevOps can reach/,
    );
    assert.match(stderr, /warning: hooks\.silenceAlarm: no subscription has posted an event for 2h/);
    assert.ok(!(stderr + JSON.stringify(rows)).includes('\u001b'));

    build!.notifications.push({ result: 'succeeded', at: Date.now() });
    const { stdout, ...later } = await scene.here('check', '--json');
    assert.deepEqual([later.status, later.stderr], [0, '2 enabled; no problems.\n']);
    const { subscriptions, problems } = JSON.parse(stdout) as { subscriptions: Row[]; problems: unknown[] };
    assert.deepEqual([column(subscriptions, 'last'), problems], [['succeeded', 'succeeded'], []]);

    const stop = scene.azure.feel(unavailable(503), { when: ({ path }) => path.endsWith('/notifications') });
    const blind = await scene.here('check');
    stop();
    assert.equal(blind.status, 0);
    assert.deepEqual(column(blind.rows, 'LAST DELIVERY'), ['unknown', 'unknown']);
    assert.equal(blind.stderr.split('warning: deliveries: ').length, 2);
  });
});
