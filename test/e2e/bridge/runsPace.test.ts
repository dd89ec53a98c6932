import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import { EVENT_ID, RunsScene } from '../../support/bridge/runsBridge.ts';

/** How long a minute is for a bridge in the tests. */
const MINUTE_MS = 1_200;

function idsOf(scene: RunsScene, image?: string): (string | undefined)[] {
  const runs = scene.azure.runs.filter(({ parameters }) => image === undefined || parameters['image'] === image);
  return runs.map(({ parameters }) => parameters['natsEventId']);
}

describe('A route', () => {
  test('requests as many runs at a time as its concurrency allows', async () => {
    await using scene = await RunsScene.open({ route: ['concurrency: 2', 'maxPerMinute: 1000'] });
    let [underWay, most] = [0, 0];
    scene.azure.feel(
      async (_, answer) => {
        most = Math.max(most, ++underWay);
        await delay(30);
        underWay--;
        return answer();
      },
      { when: startsRun },
    );
    for (let event = 1; event <= 12; event++) await scene.publish(`e-${event}`);
    await using bridge = await scene.start();
    await bridge.logged('runStarted');
    await scene.settled();
    assert.deepEqual([scene.azure.runs.length, most], [12, 2]);
  });

  test('requests no more runs in any minute than maxPerMinute', async () => {
    await using scene = await RunsScene.open({ route: ['maxPerMinute: 3'] });
    for (let event = 1; event <= 8; event++) await scene.publish(`e-${event}`);
    await using bridge = await scene.start();
    await bridge.logged('runStarted');
    await scene.settled();
    assert.equal(scene.azure.requests.filter(startsRun).length, 8);
    // The time that each was let through: its arrival depends on the machine.
    const times = (await postingTimes(scene)).sort((one, other) => one - other);
    assert.equal(times.length, 8);
    for (const [index, at] of times.entries())
      if (index >= 3) assert.ok(at - times[index - 3]! >= MINUTE_MS - 100, times.map((one) => one - times[0]!).join());
  });

  test('pauses in all replicas after pauseAfter failures in a row, and continues when resumed', async () => {
    const image = { name: 'image', type: 'string', values: ['good'], default: 'good' } as const;
    await using scene = await RunsScene.open({ pipeline: { parameters: [EVENT_ID, image] }, route: ['pauseAfter: 2'] });
    await using first = await scene.start();
    const outcomes = ['bad', 'good', 'bad', 'bad'];
    for (const [index, outcome] of outcomes.entries()) {
      await scene.publish(`e-${index + 1}`, { image: outcome });
      await scene.settled();
      if (index < 3) assert.ok(!first.text.includes('routePaused'), `paused after ${index + 1} events`);
    }
    await first.logged('routePaused');
    assert.equal((await scene.letters()).length, 3);
    await using second = await scene.start();
    assert.match(String((await second.logged('routeIsPaused'))['reason']), /^2 runs in a row could not be started/);
    await second.logged('serving');
    await scene.publish('e-5', { image: 'good' });
    await scene.until('event that waits', async () => (await scene.left()).all === 1);
    assert.deepEqual(idsOf(scene), ['e-2']);
    const refused = await scene.command(['deadLetters', 'replay', '1']);
    assert.equal(refused.status, 1);
    assert.match(refused.stdout, /^1\trefused\tpaused\tthe route deploy is paused by .+: 2 runs in a row .+ resume it/);
    assert.deepEqual(idsOf(scene), ['e-2']);
    const intents = await scene.admin.connection.jetstream().views.kv('BRIDGE_INTENTS');
    await intents.delete('pause.deploy');
    await scene.settled();
    assert.deepEqual(idsOf(scene), ['e-2', 'e-5']);
  });

  test('gives up an event that was delivered more than 20 times, without requesting a run', async () => {
    await using scene = await RunsScene.open();
    await scene.publish('e-1');
    const consumer = await scene.admin.connection.jetstream().consumers.get('ci', 'bridge-deploy');
    const deliver = async () => {
      const message = await consumer.next({ expires: 5_000 });
      assert.ok(message !== null);
      message.nak();
      return message.info.deliveryCount;
    };
    for (let time = 1; time <= 20; time++) assert.equal(await deliver(), time);
    await scene.publish('e-2');
    for (let time = 1; time <= 3; time++) await deliver();
    await using bridge = await scene.start();
    const line = await bridge.logged('deadLetter');
    assert.deepEqual([line['reason'], line['sequence']], ['deliveries', 1]);
    await scene.settled();
    const [letter, ...others] = await scene.letters();
    assert.deepEqual([letter?.header('Bridge-Reason'), letter?.header('ce-id'), others], ['deliveries', 'e-1', []]);
    assert.deepEqual(idsOf(scene), ['e-2']);
    // It can still be replayed.
    const replayed = await scene.command(['deadLetters', 'replay', '1']);
    assert.match(replayed.stdout, /^1\tdone\trun=/, replayed.stderr);
    assert.deepEqual(idsOf(scene), ['e-2', 'e-1']);
  });

  test('starts where startFrom says when setup creates its consumer', async () => {
    await using scene = await RunsScene.open();
    await scene.publish('e-1');
    const before = Date.now();
    await scene.until('later millisecond', () => Date.now() > before);
    const time = new Date().toISOString();
    await scene.publish('e-2');
    const routes = ['new', 'all', time].map((startFrom, index) => [
      `name: ${['new', 'all', 'time'][index]}`,
      `parameters: { natsEventId: event.id, image: "'${['new', 'all', 'time'][index]}'" }`,
      `startFrom: ${startFrom}`,
    ]);
    await scene.setUp(...routes);
    await scene.publish('e-3');
    await using bridge = await scene.start(...routes);
    await bridge.logged('runStarted');
    for (const route of ['new', 'all', 'time']) await scene.settled(route);
    const started = ['new', 'all', 'time'].map((route) => idsOf(scene, route).sort());
    assert.deepEqual(started, [['e-3'], ['e-1', 'e-2', 'e-3'], ['e-2', 'e-3']]);
  });

  for (const line of [undefined, '2.10'] as const)
    test(`takes events on several subjects and wildcards, and no others, on nats-server ${line ?? '2.9'}`, async () => {
      await using scene = await RunsScene.open({
        ...{ route: ['subject: [ci.*.ready, "ci.web.>", ci.web.x]'], ...(line && { line }) },
      });
      const checked = await scene.command(['check']);
      assert.deepEqual([checked.status, checked.stdout.match(/^error|consumer/gm)], [0, null], checked.stdout);
      await using bridge = await scene.start();
      const subjects = ['ci.api.ready', 'ci.api.late', 'ci.web.x', 'ci.web.x.y', 'ci.ready', 'ci.web.ready'];
      for (const subject of subjects) await scene.publish(subject, {}, {}, { subject });
      await scene.until('four runs', () => scene.azure.runs.length >= 4);
      await scene.settled();
      assert.deepEqual(idsOf(scene).sort(), ['ci.api.ready', 'ci.web.ready', 'ci.web.x', 'ci.web.x.y']);
      assert.deepEqual(await scene.letters(), []);
      const others = await scene.decisions();
      assert.equal(others.filter(({ decision }) => decision !== 'started').length, 0, JSON.stringify(others));
      assert.ok(bridge.pid > 0);
    });
});

/** When the bridge was about to request each run, in milliseconds since the epoch. */
async function postingTimes({ admin }: RunsScene): Promise<number[]> {
  const bucket = await admin.connection.jetstream().views.kv('BRIDGE_INTENTS');
  const keys: string[] = [];
  for await (const key of await bucket.keys('deploy.*')) keys.push(key);
  return Promise.all(
    keys.map(async (key) => {
      const { posting } = (await bucket.get(key))?.json<{ posting: { time: string } }>() ?? {};
      return Date.parse(posting?.time ?? '');
    }),
  );
}
