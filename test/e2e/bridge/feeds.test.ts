import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readsChanges, type PackageChange } from '../../support/azureDevOps/feeds.ts';
import { signInAsked, throttled } from '../../support/azureDevOps/moods.ts';
import type { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { feedMetric, FeedsScene, reads } from '../../support/bridge/feedsBridge.ts';

/** Pushes this many versions of a package. */
function push({ feed }: FeedsScene, name: string, count: number, more: Record<string, unknown> = {}): PackageChange[] {
  return Array.from({ length: count }, (_, version) => feed.push(name, `1.0.${version}`, more));
}

function feedLines(bridge: BridgeProcess) {
  return bridge.lines.filter(({ event }) => event === 'feed');
}

describe('Changes of packages', () => {
  test("become events once, from the bridge's first start on", async () => {
    await using scene = await FeedsScene.open();
    push(scene, 'old', 700);
    const bridge = await scene.startReader();
    const pushed = push(scene, 'web', 3);
    const updated = scene.feed.update(pushed[0]!);
    // The change feed has only the newest change of each version, so either both were read, or only the newer one.
    await scene.until('the update', async () => (await scene.stored()) >= 3);
    await scene.until('the newest change', async () =>
      (await scene.events()).some(({ data }) => data === JSON.stringify(updated)),
    );
    const deleted = scene.feed.delete(pushed[1]!);
    await scene.until('the deletion', async () =>
      (await scene.events()).some(({ data }) => data === JSON.stringify(deleted)),
    );
    bridge.signal('SIGTERM');
    assert.equal(await bridge.ended, 0, bridge.text);
    const before = await scene.stored();

    const meanwhile = push(scene, 'api', 2);
    await using next = await scene.startReader();
    await scene.until('what came meanwhile', async () => (await scene.stored()) >= before + 2);
    const events = await scene.events();
    assert.deepEqual(
      events.slice(before).map(({ data }) => data),
      meanwhile.map((change) => JSON.stringify(change)),
    );
    assert.equal(new Set(events.map(({ header }) => header('Nats-Msg-Id'))).size, events.length);
    const last = events.at(-1)!;
    assert.deepEqual(
      [last.subject, last.header('ce-type'), last.header('ce-subject'), last.header('ce-source')],
      [
        'azdo.contoso.Shop.package.changed.v1',
        'azdo.package.changed.v1',
        'packages/api/1.0.1',
        `${scene.azure.url}${scene.project.id}`,
      ],
    );
    assert.equal(await feedMetric(next, 'feed_changes_total', 'feed="Shop/packages",outcome="stored"'), 2);
    assert.ok((await feedMetric(next, 'feed_last_read_timestamp_seconds', 'feed="Shop/packages"')) > 1.7e9);
    const page = (await next.admin('/')).text;
    assert.match(page, /<td data-of="Feed">Shop\/packages<\/td><td data-of="State"><span class="good">is read here</);
    assert.doesNotMatch(bridge.text + next.text, new RegExp(scene.azure.pat));
  });

  test('are read by one of two replicas, and by the other if that one stops', async () => {
    await using scene = await FeedsScene.open();
    await using one = await scene.startReader();
    await using other = await scene.start();
    await other.ready(200);
    const changes = push(scene, 'web', 20);
    await scene.has(changes);
    const page = (await other.admin('/')).text;
    assert.match(page, /<td data-of="Feed">Shop\/packages<\/td><td data-of="State"><span class="good">is read by /);
    assert.deepEqual(reads(other), []);

    const stoppedAt = Date.now();
    one.signal('SIGTERM');
    assert.equal(await one.ended, 0, one.text);
    await other.until('the other one reads', () => (reads(other).length > 0 ? true : undefined));
    const took = Date.now() - stoppedAt;
    assert.ok(took < 2_000, `it took ${took} ms, as if the lease hadn't been handed back`);
    changes.push(...push(scene, 'api', 20));
    await scene.has(changes);
  });

  test('are neither lost nor stored twice if the reader is killed in the middle', async (t) => {
    await using scene = await FeedsScene.open();
    await using one = await scene.startReader();
    await using other = await scene.start();
    await other.ready(200);
    const changes = push(scene, 'web', 1_000, { description: 'x'.repeat(5_000) });
    // A page has 500 changes, so this is the middle of one.
    await scene.until('the middle of a page', async () => {
      const stored = await scene.stored();
      assert.ok(stored < changes.length, 'everything was stored before the test could stop the bridge');
      return stored % 500 > 50 && stored % 500 < 250;
    });
    await one[Symbol.asyncDispose]();
    const killedAt = Date.now();
    await scene.has(changes);
    t.diagnostic(`The other one had stored the rest ${Date.now() - killedAt} ms later.`);
    const duplicates = await feedMetric(other, 'feed_changes_total', 'feed="Shop/packages",outcome="duplicate"');
    assert.ok(duplicates > 0, 'nothing was read twice, so the test proved nothing');
  });

  test('may be large, many and hostile', async () => {
    await using scene = await FeedsScene.open();
    await using bridge = await scene.startReader();
    const hostile = '##vso[task.setvariable]\r\n\u202e"${}*.>';
    const changes = [
      ...Array.from({ length: 10 }, (_, version) =>
        scene.feed.push('large', `${version}`, { readme: 'x'.repeat(2e6) }),
      ),
      scene.feed.push(hostile, hostile, { publishDate: hostile }),
      ...push(scene, 'web', 600),
    ];
    // Together they're larger than the largest response.
    await scene.has(changes);
    const odd = (await scene.events())[10]!;
    assert.equal(odd.subject, 'azdo.contoso.Shop.package.changed.v1');
    assert.match(odd.header('ce-subject'), /^packages\/##vso\[task\.setvariable\]%20%20%E2%80%AE%22\$\{\}\*\.>\//);
    assert.equal(odd.header('ce-time'), '');
    assert.doesNotMatch(bridge.text, /"level":"(warning|error)".*"event":"feed"/);
    assert.equal(await feedMetric(bridge, 'feed_trouble', 'feed="Shop/packages"'), 0);
  });

  test('wait while NATS is down', async () => {
    await using scene = await FeedsScene.open();
    await using bridge = await scene.startReader();
    const changes = push(scene, 'web', 3);
    await scene.has(changes);
    await scene.server.kill();
    changes.push(...push(scene, 'api', 3));
    await bridge.until('trouble', () => feedLines(bridge).find(({ level }) => level === 'warning'));
    await scene.server.restart();
    await scene.admin.connected();
    await scene.has(changes);
    await scene.until('the end of the trouble', async () => {
      return (await feedMetric(bridge, 'feed_trouble', 'feed="Shop/packages"')) === 0;
    });
    const warnings = feedLines(bridge).filter(({ level }) => level === 'warning');
    assert.ok(warnings.length <= 3, bridge.text);
  });

  test('wait while Azure DevOps asks for a pause, and the bridge stays ready', async () => {
    await using scene = await FeedsScene.open();
    await using bridge = await scene.startReader();
    const from = bridge.lines.length;
    const calm = scene.azure.feel(throttled({ retryAfter: 0.4 }), { when: readsChanges });
    const changes = push(scene, 'web', 3);
    await bridge.until('throttling', () => feedLines(bridge).find(({ state }) => state === 'throttled'));
    const asked = () => scene.azure.requests.filter((request) => readsChanges(request) && request.status === 429);
    await scene.until('three refusals', () => asked().length >= 3);
    const [first, , third] = asked();
    assert.ok(third!.at - first!.at >= 750, `two pauses of 400 ms took ${third!.at - first!.at} ms`);
    await bridge.ready(200);
    assert.equal(await feedMetric(bridge, 'feed_trouble', 'feed="Shop/packages"'), 1);
    assert.match(
      (await bridge.admin('/')).text,
      /<li>Feed Shop\/packages: <span class="bad">Azure DevOps asks for a pause/,
    );
    assert.equal(await scene.stored(), 0);
    calm();
    await scene.has(changes);
    await bridge.until('the end', () =>
      feedLines(bridge)
        .slice(-1)
        .find(({ state }) => state === 'reading'),
    );
    const states = bridge.lines.slice(from).filter(({ event }) => event === 'feed');
    assert.deepEqual(
      states.map(({ state }) => state),
      ['throttled', 'reading'],
    );

    const welcome = scene.azure.feel(signInAsked('page'), { when: readsChanges });
    await bridge.until('a refused sign-in', () => feedLines(bridge).find(({ state }) => state === 'signIn'));
    assert.equal(((await bridge.ready(200)) as { azureDevOps: string }).azureDevOps, 'ok');
    welcome();
    changes.push(...push(scene, 'api', 3));
    await scene.has(changes);
  });

  test("come from several feeds, including the organization's", async () => {
    const every = 'every: 100ms';
    await using scene = await FeedsScene.open(
      `[{ project: Shop, feed: packages, ${every} }, { project: "Orders & Co", feed: "Größe & Co", ${every} }, { feed: all, ${every} }]`,
    );
    const orders = scene.azure.feeds.add('Größe & Co', scene.azure.organization.projects[1]);
    const all = scene.azure.feeds.add('all');
    await using bridge = await scene.startReader(3);
    for (const feed of [scene.feed, orders, all]) feed.push('web', '1.0.0');
    await scene.until('three events', async () => (await scene.stored()) === 3);
    const events = await scene.events();
    assert.deepEqual(events.map(({ subject }) => subject).sort(), [
      'azdo.contoso.-.package.changed.v1',
      'azdo.contoso.Orders---Co.package.changed.v1',
      'azdo.contoso.Shop.package.changed.v1',
    ]);
    assert.equal(events.find(({ subject }) => subject.includes('.-.'))?.header('ce-source'), scene.azure.url);
    assert.equal(await feedMetric(bridge, 'feed_changes_total', 'feed="Orders & Co/Größe & Co",outcome="stored"'), 1);
  });

  test('of a missing or forbidden feed are asked for slowly until it can be read', async () => {
    await using scene = await FeedsScene.open(
      '[{ project: Shop, feed: later, every: 100ms }, { project: Shop, feed: packages, every: 100ms }]',
    );
    scene.feed.closedTo.add('Ada Example');
    const rights = 'Give the identity the role Feed and Upstream Reader in the settings of the feed';
    const checked = await scene.command('check');
    assert.equal(checked.status, 1);
    assert.match(
      checked.stdout,
      new RegExp(
        `^error: hooks\\.feeds\\[0\\]: there is no feed "later" in the project "Shop", or the bridge's identity may not see it\\. .*${rights}.*Packaging \\(Read\\)`,
        'm',
      ),
    );
    assert.match(
      checked.stdout,
      new RegExp(
        `^error: hooks\\.feeds\\[1\\]: the feed "packages" .* may not be read: .* \\(status 403\\)\\. ${rights}`,
        'm',
      ),
    );

    await using bridge = await scene.start();
    for (const state of ['refused 404', 'refused 403'])
      await bridge.until(state, () => feedLines(bridge).find((line) => line['state'] === state));
    const later = scene.azure.feeds.add('later', scene.project);
    scene.feed.closedTo.clear();
    await bridge.until('feeds that are read', () => (reads(bridge).length >= 2 ? true : undefined));
    await scene.has([later.push('web', '1')]);
    assert.equal((await scene.command('check')).status, 0);
  });
});
