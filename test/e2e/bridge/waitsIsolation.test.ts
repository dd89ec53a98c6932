import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { startsRun } from '../../support/azureDevOps/kinds.ts';
import type { BridgeProcess } from '../../support/bridge/bridgeProcess.ts';
import { BUILD, hookBody } from '../../support/bridge/hookPosts.ts';
import { passwordOf, SECRET } from '../../support/bridge/hooksOverHttp.ts';
import { EVENT_ID } from '../../support/bridge/runsBridge.ts';
import { WaitsScene } from '../../support/bridge/waitsScene.ts';
import { cases } from '../../support/hostile/hostile.ts';

/** Takes time quadratic in the length of the list. */
const QUADRATIC = 'data[?length($.data[?@ > `1`]) == `0`]';
const SLOW = JSON.stringify(Array.from({ length: 6_000 }, () => 2));
const SLOW_WAITS = 5;
const BACKLOG = cases({ short: 2_000, long: 8_000 });
const BACKLOG_WAITS = 20;
const MANY = cases({ short: 150, long: 400 });
const ROUNDS = cases({ short: 3, long: 12 });
/** The first slow event holds up everyone until each wait on it is interrupted; the median round isn't affected. */
const STALLS_MS = 1_000;
/** A replica that judged this many events for every wait in a row would do nothing else. */
const SUSTAINED_EACH_10_MS = 20;
const SUSTAINED_ROUNDS = cases({ short: 3, long: 5 });
/** The project of the other waits. */
const OTHERS = 'Orders & Co';

/** How long the tenant's own work takes, by kind, in milliseconds. */
type Times = Readonly<Record<'wait' | 'lateWait' | 'hook' | 'run', readonly number[]>>;

/** The waits, hooks and runs of one tenant among others. */
class Tenant {
  #hooks = 0;

  private constructor(
    readonly scene: WaitsScene,
    readonly bridge: BridgeProcess,
  ) {}

  static async in(scene: WaitsScene): Promise<Tenant> {
    return new Tenant(scene, await scene.start());
  }

  static scene(): Promise<WaitsScene> {
    return WaitsScene.open({
      files: { secret: SECRET },
      rules: "[{ projects: ['*'], pipelines: ['*'], subjects: [ci.>], maxOpen: 10000 }]",
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
  }

  /** @param beside publishes the others' events before each round */
  async measured(rounds: number, beside: () => Promise<unknown> = () => Promise.resolve()): Promise<Times> {
    const times: Record<keyof Times, number[]> = { wait: [], lateWait: [], hook: [], run: [] };
    for (let round = 0; round < rounds; round++) {
      await beside();
      times.wait.push(await this.#wait());
      times.lateWait.push(await this.#lateWait());
      times.hook.push(await this.#hook());
      times.run.push(await this.#run());
    }
    return times;
  }

  async #wait(): Promise<number> {
    const { scene, bridge } = this;
    const { task } = await scene.wait(bridge, { subject: 'ci.mine', match: 'data.ok', startFrom: 'now' });
    return timed(async () => {
      await scene.publish({ ok: true }, { subject: 'ci.mine' });
      assert.equal(await scene.ended(task), 'succeeded');
    });
  }

  /** A wait that has to catch up, because its event came before. */
  async #lateWait(): Promise<number> {
    const { scene, bridge } = this;
    const after = await scene.publish({ ok: true }, { subject: 'ci.mine' });
    await scene.publish({ ok: true }, { subject: 'ci.mine' });
    const startFrom = { startFrom: 'sequence', startSequence: String(after) };
    return timed(async () => {
      const { task } = await scene.wait(bridge, { subject: 'ci.mine', match: 'data.ok', ...startFrom });
      assert.equal(await scene.ended(task), 'succeeded');
    });
  }

  async #hook(): Promise<number> {
    const { scene, bridge } = this;
    const project = scene.azure.organization.projects[0]!;
    const signIn = Buffer.from(`hooks.${project.id}:${passwordOf(project.id)}`).toString('base64');
    return timed(async () => {
      const members = { id: `h-${++this.#hooks}`, resourceContainers: undefined };
      const body = hookBody('build.complete', { ...BUILD, project }, members);
      const headers = { authorization: `Basic ${signIn}`, 'content-type': 'application/json' };
      const answer = await fetch(`${bridge.publicUrl}/hooks`, { method: 'POST', headers, body });
      const text = await answer.text();
      assert.ok(answer.status === 200 && text.includes('"stream":"AZDO"'), text);
    });
  }

  async #run(): Promise<number> {
    const { scene } = this;
    return timed(async () => {
      const asked = scene.azure.requests.filter(startsRun).length;
      await scene.publish({}, { subject: 'ci.run' });
      await scene.azure.asked(asked + 1, startsRun);
    });
  }
}

test("others' slow expressions, backlog and many waits hold up no wait, hook or run for long", async (t) => {
  await using scene = await Tenant.scene();
  for (let sent = 0; sent < BACKLOG; sent += 500)
    await Promise.all(Array.from({ length: 500 }, () => scene.publish({ ok: false }, { subject: 'ci.backlog' })));
  const tenant = await Tenant.in(scene);
  await tenant.measured(ROUNDS);
  const quiet = await tenant.measured(ROUNDS);

  const others = [
    ...Array.from({ length: SLOW_WAITS }, () => ({ subject: 'ci.slow', match: QUADRATIC })),
    ...Array.from({ length: BACKLOG_WAITS }, () => ({ subject: 'ci.backlog', match: 'data.ok', startFrom: 'all' })),
    ...Array.from({ length: MANY }, (_, index) => ({ subject: 'ci.many', match: `data.n == \`${index}\`` })),
  ];
  const theirs = [];
  for (const inputs of others) theirs.push(await scene.wait(tenant.bridge, inputs, { project: OTHERS }));
  const loud = await tenant.measured(ROUNDS, async () => {
    await scene.publish(SLOW, { subject: 'ci.slow' });
    for (let index = 0; index < 2; index++) await scene.publish({ n: -1 }, { subject: 'ci.many' });
  });
  compare(t, quiet, loud);
  // The others did wait, and those that cost too much were ended.
  const slow = theirs.slice(0, SLOW_WAITS);
  for (const { task } of slow) {
    assert.equal(await scene.ended(task), 'failed');
    assert.match(task.logText, /^Verdict: error/);
  }
});

test("others' many waits on a busy subject hold up no wait, hook or run for long", async (t) => {
  await using scene = await Tenant.scene();
  const tenant = await Tenant.in(scene);
  await tenant.measured(SUSTAINED_ROUNDS);
  const quiet = await tenant.measured(SUSTAINED_ROUNDS);
  const theirs = [];
  for (let index = 0; index < MANY; index++) {
    // A function may take long, so the bridge has to limit its time.
    const inputs = { subject: 'ci.many', match: `data.n == \`${index}\` && length(data.of) > \`0\`` };
    theirs.push(await scene.wait(tenant.bridge, inputs, { project: OTHERS }));
  }
  const stop = new AbortController();
  const publish = async () => {
    while (!stop.signal.aborted) {
      for (let index = 0; index < SUSTAINED_EACH_10_MS; index++)
        scene.admin.connection.publish('ci.many', JSON.stringify({ n: -1, of: 'many' }));
      await delay(10);
    }
  };
  const publishing = publish();
  // Lets judging fall well behind publishing.
  await delay(3_000);
  const loud = await tenant.measured(SUSTAINED_ROUNDS).finally(() => stop.abort());
  await publishing;
  compare(t, quiet, loud);
  for (const { task } of theirs) assert.notEqual(task.task.state, 'completed');
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function compare(t: TestContext, quiet: Times, loud: Times): void {
  for (const name of Object.keys(quiet) as (keyof Times)[]) {
    const [before, since] = [median(quiet[name]), median(loud[name])];
    const shown = [before, since, Math.max(...quiet[name]), Math.max(...loud[name])].map((ms) => ms.toFixed(1));
    t.diagnostic(
      `${name}: median ${shown[0]} ms alone, ${shown[1]} ms beside others; most ${shown[2]} and ${shown[3]} ms`,
    );
    assert.ok(since <= 10 * before + STALLS_MS, `${name}: ${shown.join()}`);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1]!;
}
