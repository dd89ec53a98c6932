import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import { reset } from '../../support/azureDevOps/moods.ts';
import type { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { RunsScene } from '../../support/bridge/runsBridge.ts';

/** A route whose runs show which version of it started them. */
function route(name: string, version: string): string[] {
  return [
    `name: ${name}`,
    `parameters: { natsEventId: event.id, image: "'${version}'" }`,
    ...['maxPerMinute: 10000', 'startFrom: all'],
  ];
}

/** Publishes an event every few milliseconds; `end` stops that, and returns all ids. */
function publishing(scene: RunsScene): { count: () => number; end: () => Promise<string[]> } {
  const ids: string[] = [];
  const ending = new AbortController();
  const done = (async () => {
    while (!ending.signal.aborted) {
      const id = `e-${ids.length + 1}`;
      await scene.publish(id);
      ids.push(id);
      await delay(5);
    }
    return ids;
  })();
  // A failing test closes the link; its own error should be shown, not this one.
  done.catch(() => undefined);
  return {
    count: () => ids.length,
    end: () => {
      ending.abort();
      return done;
    },
  };
}

function startedBy(scene: RunsScene, version: RegExp): string[] {
  return scene.azure.runs
    .filter(({ parameters }) => version.test(parameters['image'] ?? ''))
    .map(({ parameters }) => parameters['natsEventId'] ?? '');
}

async function reload(scene: RunsScene, bridge: BridgeProcess, ...routes: string[][]): Promise<void> {
  const before = bridge.lines.length;
  bridge.write(scene.configuration(...routes));
  await bridge.logged('configurationReloaded', before);
}

const byNumber = (one: string, next: string) => Number(one.slice(2)) - Number(next.slice(2));

test('A route is added, changed, removed and put back under load: each event starts one run per route', async () => {
  const [web, changed, other] = [route('web', 'web-1'), route('web', 'web-2'), route('other', 'other')];
  await using scene = await RunsScene.open({ route: web });
  await scene.setUp(web, other);
  await using bridge = await scene.start(web);
  const some = (version: RegExp) => {
    const before = startedBy(scene, version).length;
    return scene.until(`runs of ${version}`, () => startedBy(scene, version).length >= before + 10);
  };
  const events = publishing(scene);
  await some(/^web-1$/);
  assert.deepEqual(startedBy(scene, /other/), []);
  await reload(scene, bridge, web, other);
  await some(/other/);
  await reload(scene, bridge, changed, other);
  await some(/^web-2$/);
  await reload(scene, bridge, other);
  const [atRemoval, published] = [startedBy(scene, /^web/).length, events.count()];
  await some(/other/);
  await scene.until('more events', () => events.count() > published + 10);
  assert.equal(startedBy(scene, /^web/).length, atRemoval);
  await reload(scene, bridge, changed, other);
  await some(/^web-2$/);
  const ids = await events.end();
  for (const name of ['web', 'other']) await scene.settled(name);
  assert.deepEqual(startedBy(scene, /^web/).sort(byNumber), ids);
  assert.deepEqual(startedBy(scene, /^other/).sort(byNumber), ids);
  assert.deepEqual(await scene.letters(), []);
});

test("Replicas share a route's events, even while one of them stops: each event starts one run", async () => {
  const web = [...route('web', 'web'), 'concurrency: 1'];
  await using scene = await RunsScene.open({ route: web });
  // Events come faster than runs start, so the stopping one has some to hand back.
  scene.azure.feel(
    async (_, answer) => {
      await delay(20);
      return answer();
    },
    { chance: 0.9, when: startsRun },
  );
  // Some responses are lost after the run was stored.
  scene.azure.feel(reset({ done: true }), { times: 3, when: startsRun });
  await using first = await scene.start(web);
  await using second = await scene.start(web);
  const events = publishing(scene);
  const startedIn = ({ lines }: BridgeProcess) => lines.filter(({ event }) => event === 'runStarted').length;
  await scene.until('runs of both', () => [first, second].every((bridge) => startedIn(bridge) >= 10));
  first.signal('SIGTERM');
  assert.equal(await first.ended, 0, first.text);
  const atStop = startedIn(second);
  await scene.until('runs of the second', () => startedIn(second) >= atStop + 10);
  const ids = await events.end();
  await scene.settled('web');
  assert.deepEqual(startedBy(scene, /^web/).sort(byNumber), ids);
  assert.equal(startedIn(first) + startedIn(second), ids.length);
  assert.deepEqual(await scene.letters(), []);
});
