import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listsBuilds, startsRun } from '../../support/azureDevOps/kinds.ts';
import { reset, signInAsked, throttled, unavailable } from '../../support/azureDevOps/moods.ts';
import { RunsScene } from '../../support/bridge/runsBridge.ts';

function startsOf({ azure }: RunsScene): number {
  return azure.requests.filter(startsRun).length;
}

describe('An event', () => {
  test('starts one run, and no second one when it is published twice', async () => {
    await using scene = await RunsScene.open();
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    await scene.settled();
    const [run, ...others] = scene.azure.runs;
    assert.deepEqual(others, []);
    assert.deepEqual(run?.parameters, { natsEventId: 'e-1', image: 'web:1' });
    assert.equal(run.ref, 'refs/heads/main');
    const decisions = await scene.decisions();
    assert.deepEqual(
      decisions.map(({ decision, event, followed }) => [decision, event?.id, followed?.['run']]),
      [
        ['started', 'e-1', run.id],
        ['duplicate', 'e-1', run.id],
      ],
    );
    const metrics = (await bridge.admin('/metrics')).text;
    assert.match(metrics, /^nats_bridge_events_total\{route="deploy",outcome="started"\} 1$/m);
    assert.match(metrics, /^nats_bridge_runs_queued_total 1$/m);
    assert.match(metrics, /^nats_bridge_route_paused\{route="deploy"\} 0$/m);
    assert.match(metrics, /^nats_bridge_event_to_run_seconds_count 1$/m);
  });

  test("is acknowledged once the audit stream has what was decided, which also a stream that isn't there delays", async () => {
    await using scene = await RunsScene.open();
    await using bridge = await scene.start();
    await scene.admin.manager.streams.delete('BRIDGE_AUDIT');
    await scene.publish('e-1');
    await bridge.logged('routeWaits');
    assert.deepEqual(await scene.left(), { all: 1, held: 1 });
    await scene.setUp();
    await scene.settled();
    assert.deepEqual(
      (await scene.decisions()).map(({ decision, followed }) => [decision, followed?.['run']]),
      [['started', scene.azure.runs[0]?.id]],
    );
    assert.equal(scene.azure.runs.length, 1);
  });

  test('that does not match is counted and summarised', async () => {
    await using scene = await RunsScene.open({ route: ["match: data.image == 'api:1'"] });
    await using bridge = await scene.start();
    for (const id of ['a', 'b', 'c']) await scene.publish(id);
    await scene.settled();
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0);
    const decisions = await scene.decisions();
    assert.equal(decisions.length, 1);
    assert.deepEqual(decisions[0]?.followed, { count: 3, stream: 'ci', firstSequence: 1, lastSequence: 3 });
    assert.equal(startsOf(scene), 0);
  });

  test('with a value outside its pattern is a dead letter that can be replayed', async () => {
    await using scene = await RunsScene.open();
    await using bridge = await scene.start();
    await scene.publish('e-1', { image: 'web 1' });
    await bridge.logged('deadLetter');
    await scene.settled();
    const [letter] = await scene.letters();
    assert.equal(letter?.data, '{"image":"web 1"}');
    assert.deepEqual(
      ['Bridge-Reason', 'Bridge-Route', 'Bridge-Stream', 'Bridge-Sequence', 'Bridge-Subject', 'ce-id'].map(
        letter.header,
      ),
      ['unsafeValue', 'deploy', 'ci', '1', 'ci.done', 'e-1'],
    );
    assert.deepEqual((await scene.decisions()).at(-1)?.followed, { deadLetter: 1 });
    assert.equal(startsOf(scene), 0);
    const again = await scene.command(['deadLetters', 'replay', '1']);
    assert.match(again.stdout, /^1\trefused\tunsafeValue\t/);
    const tolerant = ['parameters: { natsEventId: event.id, image: { value: data.image, pattern: "^[a-z0-9 :]+$" } }'];
    const replayed = await scene.command(['deadLetters', 'replay', '1'], tolerant);
    assert.match(replayed.stdout, /^1\tdone\trun=\d+\turl=/, replayed.stderr);
    const twice = await scene.command(['deadLetters', 'replay', '1'], tolerant);
    assert.match(twice.stdout, /^1\trefused\tduplicate\t/);
    assert.deepEqual(
      scene.azure.runs.map(({ parameters }) => parameters),
      [{ natsEventId: 'e-1', image: 'web 1' }],
    );
  });

  test('that Azure DevOps refuses is a dead letter with its own words', async () => {
    const image = { name: 'image', type: 'string', values: ['api:1'], default: 'api:1' } as const;
    const id = { name: 'natsEventId', type: 'string', default: '' } as const;
    await using scene = await RunsScene.open({ pipeline: { parameters: [id, image] }, route: ['pauseAfter: 2'] });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await bridge.logged('runFailed');
    await scene.publish('e-2');
    await bridge.logged('routePaused');
    await scene.publish('e-3', { image: 'api:1' });
    const [letter] = await scene.letters();
    assert.equal(letter?.header('Bridge-Reason'), 'refused');
    assert.match(letter.header('Bridge-Detail'), /\(status 400\)$/);
    assert.match(letter.header('Nats-Msg-Id'), /^deploy\.[0-9a-f]{64}$/);
    assert.equal(scene.azure.runs.length, 0);
    await scene.until('a metric of the pause', async () =>
      (await bridge.admin('/metrics')).text.includes('nats_bridge_route_paused{route="deploy"} 1'),
    );
    assert.deepEqual(
      (await scene.decisions()).map(({ decision, followed }) => [decision, followed?.['deadLetter']]),
      [
        ['deadLetter', 1],
        ['deadLetter', 2],
        ['paused', undefined],
      ],
    );
    const intents = await scene.admin.connection.jetstream().views.kv('BRIDGE_INTENTS');
    assert.match((await intents.get('pause.deploy'))?.string() ?? '', /"reason":"2 runs in a row/);
    await intents.delete('pause.deploy');
    await scene.settled();
    assert.equal(scene.azure.runs.length, 1);
  });
});

describe('Azure DevOps', () => {
  test('that throttles is left alone for as long as it asks, which costs no attempt', async () => {
    await using scene = await RunsScene.open({ route: ['maxDeliver: 1'] });
    scene.azure.feel(throttled({ retryAfter: 1 }), { times: 2, when: startsRun });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    const times = scene.azure.requests.filter(startsRun).map(({ at }) => at);
    assert.equal(times.length, 3);
    for (const [index, at] of times.entries())
      if (index > 0) assert.ok(at - times[index - 1]! >= 950, `${times.map((time) => time - times[0]!).join()} ms`);
    assert.equal((await bridge.logged('azureDevOpsPaused'))['pauseMs'], 1_000);
    assert.equal(scene.azure.runs.length, 1);
  });

  test('that sends to its sign-in is asked again after a pause', async () => {
    await using scene = await RunsScene.open({ route: ['maxDeliver: 1'] });
    scene.azure.feel(signInAsked('page'), { times: 1, when: startsRun });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    const [first, second] = scene.azure.requests.filter(startsRun);
    assert.ok(second!.at - first!.at >= 100);
    assert.equal(scene.azure.runs.length, 1);
  });

  test('that stores a run and breaks the connection is looked at: there is one run', async () => {
    await using scene = await RunsScene.open();
    scene.azure.feel(reset({ done: true }), { times: 1, when: startsRun });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    const line = await bridge.logged('runStarted');
    assert.equal(line['found'], true);
    await scene.settled();
    assert.deepEqual([scene.azure.runs.length, startsOf(scene)], [1, 1]);
    assert.ok(scene.azure.requests.some(listsBuilds));
  });

  test('that is unavailable for too many attempts leaves a dead letter', async () => {
    await using scene = await RunsScene.open({ route: ['maxDeliver: 2'] });
    scene.azure.feel(unavailable(503), { when: startsRun });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    assert.equal((await bridge.logged('runFailed'))['reason'], 'attempts');
    await scene.settled();
    assert.equal((await scene.letters())[0]?.header('Bridge-Reason'), 'attempts');
    assert.equal(startsOf(scene), 2);
  });
});

describe('Replicas', () => {
  test('take over from one that is killed before it has heard the answer: there is one run', async () => {
    await using scene = await RunsScene.open();
    let killed = () => {};
    const isKilled = new Promise<void>((resolve) => (killed = resolve));
    let hasAsked = false;
    scene.azure.feel(
      async (_, answer) => {
        await answer();
        hasAsked = true;
        await isKilled;
        return 'reset';
      },
      { times: 1, when: startsRun },
    );
    const first = await scene.start();
    await scene.publish('e-1');
    await scene.until('request for a run', () => hasAsked);
    await first[Symbol.asyncDispose]();
    killed();
    await using second = await scene.start();
    const line = await second.logged('runStarted');
    assert.equal(line['found'], true);
    await scene.settled();
    assert.deepEqual([scene.azure.runs.length, startsOf(scene)], [1, 1]);
  });
});

describe('A route', () => {
  test('is not started in a circle', async () => {
    await using scene = await RunsScene.open();
    await using bridge = await scene.start();
    let run = '4711';
    for (let hop = 0; hop <= 3; hop++) {
      await scene.publish(`e-${hop}`, { image: 'a' }, { azprunid: run });
      await scene.until(`run ${hop}`, () => scene.azure.runs.length === hop + 1);
      await scene.settled();
      run = String(scene.azure.runs.at(-1)!.id);
    }
    await scene.publish('e-4', { image: 'a' }, { azprunid: run });
    await bridge.logged('deadLetter');
    assert.equal((await scene.letters())[0]?.header('Bridge-Reason'), 'loop');
    assert.equal(scene.azure.runs.length, 4);
  });

  test('in preview decides and starts nothing', async () => {
    await using scene = await RunsScene.open({ route: ['mode: preview'] });
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await scene.settled();
    await scene.until('a decision', async () => (await scene.decisions()).length === 1);
    assert.equal((await scene.decisions())[0]?.decision, 'preview');
    assert.equal(startsOf(scene), 0);
    assert.ok(bridge.pid > 0);
  });

  for (const allowed of [false, true])
    test(`that ${allowed ? 'allows hooks is' : "doesn't allow hooks isn't"} started by their events`, async () => {
      const hooks = 'hooks: { stream: ci, subjectPrefix: ci, passwordEnvs: [PAT] }';
      await using scene = await RunsScene.open({ more: hooks, route: [`allowHooks: ${allowed}`] });
      await using bridge = await scene.start();
      await scene.publish('e-1');
      await scene.settled();
      const outcome = allowed ? 'started' : 'hooksNotAllowed';
      const line = `nats_bridge_events_total{route="deploy",outcome="${outcome}"} 1`;
      await scene.until(line, async () => (await bridge.admin('/metrics')).text.includes(line));
      assert.equal(scene.azure.runs.length, allowed ? 1 : 0);
    });

  test('needs no other permissions than setup prints', async () => {
    const printed = await (async () => {
      await using scene = await RunsScene.open();
      return (await scene.command(['setup'])).stdout;
    })();
    const block = printed.slice(printed.indexOf('permissions: {'));
    const users = `authorization { users: [
      { user: admin, password: pw }
      { user: bridge, password: pw, ${block} }
    ] }`;
    await using scene = await RunsScene.open({ users });
    const checked = await scene.command(['check']);
    assert.deepEqual([checked.status, checked.stdout], [0, ''], checked.stderr);
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    await scene.settled();
    await scene.publish('e-2', { image: 'a b' });
    await bridge.logged('deadLetter');
    await scene.settled();
    assert.ok(!/may not publish|does not let/.test(bridge.text), bridge.text);
  });

  test('without its consumer says so and how to create it', async () => {
    await using scene = await RunsScene.open();
    await scene.admin.manager.consumers.delete('ci', 'bridge-deploy');
    const checked = await scene.command(['check']);
    assert.equal(checked.status, 1);
    assert.match(
      checked.stdout,
      /^error: consumer bridge-deploy of ci: it doesn't exist\. Create it: nats-event-bridge setup --apply\.$/m,
    );
    await using bridge = await scene.start();
    assert.match(
      String((await bridge.logged('routeDown'))['reason']),
      /^The consumer "bridge-deploy" of the stream "ci" can't be used: consumer not found\. Create it: /,
    );
    await scene.command(['setup', '--apply']);
    await scene.publish('e-1');
    await bridge.logged('runStarted');
  });

  test('without its stream says so, and so does setup, which creates none', async () => {
    await using scene = await RunsScene.open();
    await scene.admin.manager.streams.delete('ci');
    await using bridge = await scene.start();
    assert.match(
      String((await bridge.logged('routeDown'))['reason']),
      /^The stream "ci" doesn't exist\. Create it .*\(nats stream add ci\), then the consumer: nats-event-bridge setup --apply\.$/,
    );
    const { status, stderr } = await scene.command(['setup', '--apply']);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^consumer bridge-deploy of ci: its stream doesn't exist\. Create that first \(nats stream add\)/m,
    );
  });

  test('whose pipeline has no natsEventId works, with a warning', async () => {
    await using scene = await RunsScene.open({
      pipeline: { parameters: [{ name: 'image', type: 'string', default: '' }] },
    });
    const { stdout, status } = await scene.command(['check']);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /warning: route deploy: the pipeline \d+ of Shop has no parameter natsEventId/);
    await using bridge = await scene.start();
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    assert.deepEqual(scene.azure.runs[0]?.parameters, { image: 'web:1' });
  });
});
