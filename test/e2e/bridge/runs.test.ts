import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { listsBuilds, startsRun } from '../../support/azureDevOps/kinds.ts';
import { reset, signInAsked, throttled, unavailable } from '../../support/azureDevOps/moods.ts';
import { runBridge, type BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { EVENT_ID, RunsScene } from '../../support/bridge/runsBridge.ts';

describe('An event', () => {
  let scene: RunsScene;
  let bridge: BridgeProcess;
  /** One per test, each with its own subject. */
  let routes: readonly (readonly string[])[];
  before(async () => {
    scene = await RunsScene.open();
    const image = { name: 'image', type: 'string', values: ['api:1'], default: 'api:1' } as const;
    const strict = scene.azure.pipelines.declare({ parameters: [EVENT_ID, image] });
    const route = (name: string, ...lines: string[]) => [`name: ${name}`, `subject: ci.${name}.done`, ...lines];
    routes = [
      route('plain'),
      route('unsafe'),
      route(
        'refused',
        `pipeline: { project: ${strict.project.name}, id: ${strict.id}, branch: refs/heads/main }`,
        'pauseAfter: 2',
      ),
      ...['throttled', 'signIn'].map((name) => route(name, 'maxDeliver: 1')),
      route('reset'),
      route('unavailable', 'maxDeliver: 2'),
      route('circle'),
      route('preview', 'mode: preview'),
      route('other', "match: data.image == 'api:1'", 'correlationId: c-1'),
    ];
    await scene.setUp(...routes);
    bridge = await scene.start(...routes);
  });
  after(async () => {
    await bridge[Symbol.asyncDispose]();
    await scene[Symbol.asyncDispose]();
  });

  const publish = (route: string, id: string, image = 'web:1', attributes: Readonly<Record<string, string>> = {}) =>
    scene.publish(`${route}-${id}`, { image }, attributes, { subject: `ci.${route}.done` });
  const logged = (event: string, route: string) =>
    bridge.until(`${event} of ${route}`, () =>
      bridge.lines.find((line) => line.event === event && line['route'] === route),
    );
  const runsOf = (route: string) =>
    scene.azure.runs.filter(({ parameters }) => parameters['natsEventId']?.startsWith(`${route}-`));
  const startsOf = (route: string) =>
    scene.azure.requests.filter((request) => startsRun(request) && request.body.includes(`${route}-`));

  test('starts one run, even if it is published twice', async () => {
    await publish('plain', '1');
    await publish('plain', '1');
    await logged('runStarted', 'plain');
    await scene.settled('plain');
    const [run, ...others] = runsOf('plain');
    assert.deepEqual(others, []);
    assert.deepEqual(run?.parameters, { natsEventId: 'plain-1', image: 'web:1' });
    assert.equal(run.ref, 'refs/heads/main');
    const decisions = await scene.decisions('plain');
    assert.deepEqual(
      decisions.map(({ decision, event, followed }) => [decision, event?.id, followed?.['run']]),
      [
        ['started', 'plain-1', run.id],
        ['duplicate', 'plain-1', run.id],
      ],
    );
    const metrics = (await bridge.admin('/metrics')).text;
    assert.match(metrics, /^nats_bridge_events_total\{route="plain",outcome="started"\} 1$/m);
    assert.match(metrics, /^nats_bridge_runs_queued_total 1$/m);
    assert.match(metrics, /^nats_bridge_route_paused\{route="plain"\} 0$/m);
    assert.match(metrics, /^nats_bridge_event_to_run_seconds_count 1$/m);
  });

  test('with a value outside its pattern is a dead letter that can be replayed', async () => {
    const sequence = await publish('unsafe', '1', 'web 1');
    await logged('deadLetter', 'unsafe');
    await scene.settled('unsafe');
    const [letter] = await scene.letters('unsafe');
    assert.equal(letter?.data, '{"image":"web 1"}');
    assert.deepEqual(
      ['Bridge-Reason', 'Bridge-Route', 'Bridge-Stream', 'Bridge-Sequence', 'Bridge-Subject', 'ce-id'].map(
        letter.header,
      ),
      ['unsafeValue', 'unsafe', 'ci', String(sequence), 'ci.unsafe.done', 'unsafe-1'],
    );
    assert.deepEqual((await scene.decisions('unsafe')).at(-1)?.followed, { deadLetter: letter.seq });
    assert.equal(startsOf('unsafe').length, 0);
    const number = String(letter.seq);
    const replay = (...of: typeof routes) => scene.command(['deadLetters', 'replay', number], ...of);
    assert.match((await replay(...routes)).stdout, new RegExp(`^${number}\trefused\tunsafeValue\t`));
    const tolerant = [
      ...['name: unsafe', 'subject: ci.unsafe.done'],
      'parameters: { natsEventId: event.id, image: { value: data.image, pattern: "^[a-z0-9 :]+$" } }',
    ];
    assert.equal(
      (await replay([...tolerant, 'mode: preview'])).stdout,
      `${number}\trefused\tpreview\tnothing was done: the route is preview; set its mode to on, then replay this again\n`,
    );
    const away = scene.configuration(tolerant).replace(scene.azure.url, 'http://127.0.0.1:9/contoso');
    const refused = await runBridge(['deadLetters', 'replay', number], away, scene.options);
    assert.match(
      refused.stdout,
      new RegExp(`^${number}\trefused\tUnreachable\tAzure DevOps can't be asked now: [^\n]+\n$`),
    );
    assert.doesNotMatch(refused.stdout, /Unreachable:/);
    const marked = (await runBridge(['deadLetters', 'list'], away, scene.options)).stdout;
    assert.match(marked, /\trefused at \S+ by [^\t]+: Unreachable: Azure DevOps can't be asked now: /);
    const replayed = await replay(tolerant);
    assert.match(replayed.stdout, new RegExp(`^${number}\tdone\trun=\\d+\turl=`), replayed.stderr);
    const again = await replay(tolerant);
    assert.match(
      again.stdout,
      new RegExp(`^${number}\trefused\tduplicate\tnothing was done: it was replayed at .+: run \\d+\n$`),
    );
    assert.equal(again.status, 0);
    assert.deepEqual(
      runsOf('unsafe').map(({ parameters }) => parameters),
      [{ natsEventId: 'unsafe-1', image: 'web 1' }],
    );
  });

  test("that Azure DevOps refuses is a dead letter with Azure DevOps' message", async () => {
    await publish('refused', '1');
    await logged('runFailed', 'refused');
    await publish('refused', '2');
    await logged('routePaused', 'refused');
    await publish('refused', '3', 'api:1');
    const letters = await scene.letters('refused');
    const [letter] = letters;
    assert.equal(letter?.header('Bridge-Reason'), 'refused');
    assert.match(letter.header('Bridge-Detail'), /\(status 400\)$/);
    assert.match(letter.header('Nats-Msg-Id'), /^refused\.[0-9a-f]{64}$/);
    assert.equal(runsOf('refused').length, 0);
    await scene.until('a metric of the pause', async () =>
      (await bridge.admin('/metrics')).text.includes('nats_bridge_route_paused{route="refused"} 1'),
    );
    assert.deepEqual(
      (await scene.decisions('refused')).map(({ decision, followed }) => [decision, followed?.['deadLetter']]),
      [
        ['deadLetter', letter.seq],
        ['deadLetter', letters[1]?.seq],
        ['paused', undefined],
      ],
    );
    const intents = await scene.admin.connection.jetstream().views.kv('BRIDGE_INTENTS');
    assert.match((await intents.get('pause.refused'))?.string() ?? '', /"reason":"2 runs in a row/);
    await intents.delete('pause.refused');
    await scene.settled('refused');
    assert.equal(runsOf('refused').length, 1);
  });

  test('waits for as long as Azure DevOps throttles, which costs no attempt', async () => {
    scene.azure.feel(throttled({ retryAfter: 1 }), { times: 2, when: startsRun });
    await publish('throttled', '1');
    await logged('runStarted', 'throttled');
    const times = startsOf('throttled').map(({ at }) => at);
    assert.equal(times.length, 3);
    for (const [index, at] of times.entries())
      if (index > 0) assert.ok(at - times[index - 1]! >= 950, `${times.map((time) => time - times[0]!).join()} ms`);
    assert.equal((await bridge.logged('azureDevOpsPaused'))['pauseMs'], 1_000);
    await bridge.logged('azureDevOpsResumed');
    const events = bridge.lines.map(({ event }) => event).filter((event) => event.startsWith('azureDevOps'));
    assert.deepEqual(events, ['azureDevOpsPaused', 'azureDevOpsResumed']);
    assert.equal(runsOf('throttled').length, 1);
  });

  test('gets another request after a pause if Azure DevOps redirects to its sign-in page', async () => {
    scene.azure.feel(signInAsked('page'), { times: 1, when: startsRun });
    await publish('signIn', '1');
    await logged('runStarted', 'signIn');
    const [first, second] = startsOf('signIn');
    assert.ok(second!.at - first!.at >= 100);
    assert.equal(runsOf('signIn').length, 1);
  });

  test('starts one run even if Azure DevOps stores it and breaks the connection', async () => {
    scene.azure.feel(reset({ done: true }), { times: 1, when: startsRun });
    const asked = scene.azure.requests.length;
    await publish('reset', '1');
    assert.equal((await logged('runStarted', 'reset'))['found'], true);
    await scene.settled('reset');
    assert.deepEqual([runsOf('reset').length, startsOf('reset').length], [1, 1]);
    assert.ok(scene.azure.requests.slice(asked).some(listsBuilds));
  });

  test('is a dead letter if Azure DevOps is unavailable for too many attempts', async () => {
    const isBack = scene.azure.feel(unavailable(503), { when: startsRun });
    await publish('unavailable', '1');
    assert.equal((await logged('runFailed', 'unavailable'))['reason'], 'attempts');
    await scene.settled('unavailable');
    isBack();
    assert.equal((await scene.letters('unavailable'))[0]?.header('Bridge-Reason'), 'attempts');
    assert.equal(startsOf('unavailable').length, 2);
  });

  test('does not start its route in a circle', async () => {
    let run = '4711';
    for (let hop = 0; hop <= 3; hop++) {
      await publish('circle', String(hop), 'a', { azprunid: run });
      await scene.until(`run ${hop}`, () => runsOf('circle').length === hop + 1);
      await scene.settled('circle');
      run = String(runsOf('circle').at(-1)!.id);
    }
    await publish('circle', '4', 'a', { azprunid: run });
    await logged('deadLetter', 'circle');
    assert.equal((await scene.letters('circle'))[0]?.header('Bridge-Reason'), 'loop');
    assert.equal(runsOf('circle').length, 4);
  });

  test('gets a decision but no run if its route is in preview', async () => {
    await publish('preview', '1');
    await scene.settled('preview');
    await scene.until('a decision', async () => (await scene.decisions('preview')).length === 1);
    assert.equal((await scene.decisions('preview'))[0]?.decision, 'preview');
    assert.equal(startsOf('preview').length, 0);
    const { eventId, stream, sequence } = await logged('runPreviewed', 'preview');
    assert.deepEqual([eventId, stream], ['preview-1', 'ci']);
    const [text, json] = await Promise.all([
      scene.command(['why', 'preview-1'], ...routes),
      scene.command(['why', `ci:${String(sequence)}`, '--json'], ...routes),
    ]);
    assert.match(
      text.stdout,
      /route preview: preview\n +would have started a run with image="web:1", natsEventId="preview-1"\n/,
    );
    const { chain } = JSON.parse(json.stdout) as { chain: { kind: string; parameters?: unknown }[] };
    assert.deepEqual(chain.find(({ kind }) => kind === 'decision')?.parameters, {
      ...{ image: 'web:1', natsEventId: 'preview-1' },
    });
  });

  test('that does not match is counted, and summarised when the bridge stops', async () => {
    // At once, so that no summary comes in between.
    const sequences = await Promise.all(
      ['c-1', 'c-1', 'c-2'].map((correlationid, index) => publish('other', String(index), 'web:1', { correlationid })),
    );
    await scene.settled('other');
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0);
    const [summary, ...others] = await scene.decisions('other');
    const [firstSequence, , lastSequence] = sequences;
    assert.equal(summary?.reason, '2 notMatching, 1 with another correlation id');
    assert.deepEqual([summary.followed, others], [{ count: 3, stream: 'ci', firstSequence, lastSequence }, []]);
    assert.equal(startsOf('other').length, 0);
  });
});

describe('Replicas', () => {
  test('ack an event only after the audit stream has the decision, even if that stream is missing', async () => {
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

  test('start one run even if one is killed before it gets the response', async () => {
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
    assert.deepEqual([scene.azure.runs.length, scene.azure.requests.filter(startsRun).length], [1, 1]);
  });
});

/** A metric of the route; undefined where there is none. */
async function routeMetric(bridge: BridgeProcess, name: string): Promise<string | undefined> {
  const line = new RegExp(`^nats_bridge_route_${name}{route="deploy"} (.+)$`, 'm');
  return line.exec((await bridge.admin('/metrics')).text)?.[1];
}

describe('A route', () => {
  test('takes events of hooks only if it allows them', async () => {
    const more = 'hooks: { stream: ci, subjectPrefix: ci, passwordEnvs: [PAT] }';
    await using scene = await RunsScene.open({ more });
    const routes = [true, false].map((allowed) => [`name: ${allowed ? 'open' : 'closed'}`, `allowHooks: ${allowed}`]);
    await scene.setUp(...routes);
    await using bridge = await scene.start(...routes);
    await scene.publish('e-1');
    for (const [route, outcome] of [
      ['open', 'started'],
      ['closed', 'hooksNotAllowed'],
    ] as const) {
      await scene.settled(route);
      const line = `nats_bridge_events_total{route="${route}",outcome="${outcome}"} 1`;
      await scene.until(line, async () => (await bridge.admin('/metrics')).text.includes(line));
    }
    assert.equal(scene.azure.runs.length, 1);
  });

  test('needs only the permissions that setup prints', async () => {
    const users = (block: string) => `authorization { users: [
      { user: admin, password: pw }
      { user: bridge, password: pw, ${block} }
    ] }`;
    await using scene = await RunsScene.open({ users: users('permissions: {}') });
    const printed = (await scene.command(['setup'])).stdout;
    const block = printed.slice(printed.indexOf('permissions: {'));
    for (const grant of ['$JS.ACK.ci.bridge-deploy.>', '$JS.API.CONSUMER.MSG.NEXT.ci.bridge-deploy']) {
      // An optional grant that covers the same messages would be enough, too.
      const without = block.replace(`"${grant}"`, '').replace('"$JS.API.CONSUMER.MSG.NEXT.ci.*"', '');
      await scene.server.reload(users(without));
      const lacking = await scene.command(['check']);
      assert.equal(lacking.status, 1);
      assert.ok(lacking.stdout.startsWith(`error: permission to publish to ${grant}: it is missing.`), lacking.stdout);
    }
    await scene.server.reload(users(block.replace('"$JS.API.STREAM.INFO.ci"', '')));
    assert.match(
      (await scene.command(['check'])).stdout,
      /^error: stream ci: the user may not publish to \$JS\.API\.STREAM\.INFO\.ci\. Grant it .+\. Or correct the stream of route deploy\.$/m,
    );
    await scene.server.reload(users(block));
    const checked = await scene.command(['check']);
    assert.deepEqual(
      [checked.status, checked.stdout.match(/^error|missing|does not need/gm)],
      [0, null],
      checked.stdout,
    );
    await using bridge = await scene.start();
    await scene.until(
      'route without pending events',
      async () => (await routeMetric(bridge, 'oldest_pending_seconds')) === '0',
    );
    await scene.until('route that is up', async () => (await routeMetric(bridge, 'up')) === '1');
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    await scene.settled();
    await scene.publish('e-2', { image: 'a b' });
    await bridge.logged('deadLetter');
    await scene.settled();
    assert.ok(!/may not publish|does not let/.test(bridge.text), bridge.text);

    // Without the permission to get events, and the optional one to look at the oldest.
    const next = '$JS.API.CONSUMER.MSG.NEXT.ci.bridge-deploy';
    const [, get = ''] = /"([^"]+)" {2}# optional: .*nats_bridge_route_oldest_pending_seconds/.exec(block) ?? [];
    assert.equal(get, '$JS.API.STREAM.MSG.GET.ci');
    await scene.server.reload(
      users([next, '$JS.API.CONSUMER.MSG.NEXT.ci.*', get].reduce((all, one) => all.replace(`"${one}"`, ''), block)),
    );
    bridge.signal('SIGTERM');
    await bridge.ended;
    await using lacking = await scene.start();
    await scene.until(
      'route without pending events',
      async () => (await routeMetric(lacking, 'oldest_pending_seconds')) === '0',
    );
    await lacking.logged('routeDown');
    await scene.publish('e-3');
    await scene.until(
      'event of unknown age',
      async () => (await routeMetric(lacking, 'oldest_pending_seconds')) === undefined,
    );
    assert.equal(await routeMetric(lacking, 'up'), '0');
    const listed = await scene.command(['routes', 'list']);
    assert.equal(listed.status, 1);
    const denied = (subject: string) => `The NATS server does not let this user publish to "${subject}"`;
    const cells = listed.stdout.trimEnd().split('\n')[1]?.split('\t') ?? [];
    assert.deepEqual([cells[3], cells[4], cells.at(-1)], ['1', '?', `down: ${denied(next)}`]);
    assert.deepEqual(listed.stderr.trimEnd().split('\n').slice(-2), [
      `The route deploy gets no events: ${denied(next)}.`,
      `The oldest event of deploy isn't known: ${denied(get)}.`,
    ]);
    const page = (await lacking.admin('/')).text.replaceAll('&quot;', '"');
    assert.match(page, /Route <span class="bad">deploy<\/span> is down: Denied: /);
    assert.ok(page.includes(`age unknown: ${denied(get)}`), page);
  });

  test('without its consumer says so, and how to create it', async () => {
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
    const alarm = /<li>Route <span class="bad">deploy<\/span> is down: The consumer "bridge-deploy" of /;
    assert.match((await bridge.admin('/')).text.replaceAll('&quot;', '"'), alarm);
    await scene.command(['setup', '--apply']);
    await scene.publish('e-1');
    await bridge.logged('runStarted');
    assert.doesNotMatch((await bridge.admin('/')).text, /is down/);
  });

  test('without its stream says so, as do check and setup, with the option that creates it', async () => {
    await using scene = await RunsScene.open();
    await scene.admin.manager.streams.delete('ci');
    await using bridge = await scene.start();
    assert.match(
      String((await bridge.logged('routeDown'))['reason']),
      /^The stream "ci" doesn't exist\. Create it and the consumer: nats-event-bridge setup --apply --create-stream 'ci=(\S+)'\.$/,
    );
    const { status, stderr } = await scene.command(['setup', '--apply']);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^consumer bridge-deploy of ci: its stream doesn't exist\. Create both: repeat this with --create-stream 'ci=\S+'\.$/m,
    );
    const [, option = ''] =
      /^error: stream ci: it doesn't exist\..* create it: nats-event-bridge setup --apply --create-stream '(.*)'\.$/m.exec(
        (await scene.command(['check'])).stdout,
      ) ?? [];
    assert.equal((await scene.command(['setup', '--apply', '--create-stream', option])).status, 0);
    await scene.publish('e-1');
    await bridge.logged('runStarted');
  });

  test('works with a warning if its pipeline has no natsEventId', async () => {
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
