import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import { BUILD, hookBody } from '../../support/bridge/hookPosts.ts';
import { passwordOf, SECRET } from '../../support/bridge/hooksOverHttp.ts';
import { EVENT_ID } from '../../support/bridge/runsBridge.ts';
import { WaitsScene } from '../../support/bridge/waitsScene.ts';

/** Takes a time that grows with the square of the list. */
const QUADRATIC = 'data[?length($.data[?@ > `1`]) == `0`]';
const SLOW = JSON.stringify(Array.from({ length: 6_000 }, () => 2));
const SLOW_WAITS = 5;
const BACKLOG = 8_000;
const BACKLOG_WAITS = 20;
const MANY = 400;
const ROUNDS = 12;
/** The first slow event holds up everybody while each wait on it is interrupted; the median round is beyond that. */
const STALLS_MS = 1_000;

test('slow expressions, a backlog and many waits of others hold up no wait, hook or run for long', async (t) => {
  await using scene = await WaitsScene.open({
    files: { secret: SECRET },
    more: ({ pipelines }) => {
      const { id, project } = pipelines.declare({ parameters: [EVENT_ID] });
      return `hooks: { passwordFiles: [secret], events: [{ event: build.complete, project: "*" }] }
runs:
  - name: deploy
    subject: ci.run
    stream: CI
    pipeline: { project: ${project.name}, id: ${id}, branch: refs/heads/main }
    parameters: { natsEventId: event.id }
    maxPerMinute: 10000`;
    },
  });
  const { azure } = scene;
  for (let sent = 0; sent < BACKLOG; sent += 500)
    await Promise.all(Array.from({ length: 500 }, () => scene.publish({ ok: false }, { subject: 'ci.backlog' })));
  const bridge = await scene.start();
  const project = azure.organisation.projects[0]!;
  const signIn = Buffer.from(`hooks.${project.id}:${passwordOf(project.id)}`).toString('base64');
  let hooks = 0;

  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const began = performance.now();
    await work();
    return performance.now() - began;
  };
  const wait = async (): Promise<number> => {
    const { task } = await scene.wait(bridge, { subject: 'ci.mine', match: 'data.ok', startFrom: 'now' });
    return timed(async () => {
      await scene.publish({ ok: true }, { subject: 'ci.mine' });
      assert.equal(await scene.ended(task), 'succeeded');
    });
  };
  const hook = () =>
    timed(async () => {
      const members = { id: `h-${++hooks}`, resourceContainers: undefined };
      const body = hookBody('build.complete', { ...BUILD, project }, members);
      const headers = { authorization: `Basic ${signIn}`, 'content-type': 'application/json' };
      const answer = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', headers, body });
      const text = await answer.text();
      assert.ok(answer.status === 200 && text.includes('"stream":"AZDO"'), text);
    });
  const run = () =>
    timed(async () => {
      const asked = azure.requests.filter(startsRun).length;
      await scene.publish({}, { subject: 'ci.run' });
      await azure.asked(asked + 1, startsRun);
    });
  /** @param beside publishes events of others */
  const measured = async (beside: () => Promise<unknown> = () => Promise.resolve()) => {
    const times: Record<'wait' | 'hook' | 'run', number[]> = { wait: [], hook: [], run: [] };
    for (let round = 0; round < ROUNDS; round++) {
      await beside();
      times.wait.push(await wait());
      times.hook.push(await hook());
      times.run.push(await run());
    }
    return Object.entries(times).map(([name, all]) => [name, median(all), Math.max(...all)] as const);
  };

  await measured();
  const quiet = await measured();

  const others = [
    ...Array.from({ length: SLOW_WAITS }, () => ({ subject: 'ci.slow', match: QUADRATIC })),
    ...Array.from({ length: BACKLOG_WAITS }, () => ({ subject: 'ci.backlog', match: 'data.ok', startFrom: 'all' })),
    ...Array.from({ length: MANY }, (_, index) => ({ subject: 'ci.many', match: `data.n == \`${index}\`` })),
  ];
  const theirs = [];
  for (const inputs of others) theirs.push(await scene.wait(bridge, inputs));
  const loud = await measured(async () => {
    await scene.publish(SLOW, { subject: 'ci.slow' });
    for (let index = 0; index < 2; index++) await scene.publish({ n: -1 }, { subject: 'ci.many' });
  });

  for (const [index, [name, before, mostBefore]] of quiet.entries()) {
    const [, since, most] = loud[index]!;
    const shown = [before, since, mostBefore, most].map((ms) => ms.toFixed(1));
    t.diagnostic(
      `${name}: median ${shown[0]} ms alone, ${shown[1]} ms beside others; most ${shown[2]} and ${shown[3]} ms`,
    );
    assert.ok(since <= 10 * before + STALLS_MS, `${name}: ${shown.join()}`);
  }
  // The others were there, and those that cost too much were ended.
  const slow = theirs.slice(0, SLOW_WAITS);
  for (const { task } of slow) {
    assert.equal(await scene.ended(task), 'failed');
    assert.match(task.logText, /^Verdict: error/);
  }
});

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1]!;
}
