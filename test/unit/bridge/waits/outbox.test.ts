import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OpenWaits, Known, WaitListener } from '../../../../bridge/waits/openWaits.ts';
import { Outbox, type Decided, type Told } from '../../../../bridge/waits/outbox.ts';
import { bucketKey, cancelled, type WaitState } from '../../../../bridge/waits/record.ts';
import { keyOf, Records, waiting } from '../../../support/bridge/judgeReplica.ts';
import { MemoryBucket } from '../../../support/bridge/memoryNats.ts';

const HOUR = 3_600_000;
const DONE: Told = { kind: 'done' };

/** An outbox over an in-memory bucket, and a clock that the test moves. */
class Scene {
  now = 1_000_000;
  readonly bucket = new MemoryBucket();
  readonly records = new Records(this.bucket);
  /** The tasks reported to Azure DevOps, and when. */
  readonly asked: { readonly instance: string; readonly token: string; readonly at: number }[] = [];
  readonly events: string[] = [];
  answer: (decided: Decided) => Told | Promise<Told> = () => DONE;
  readonly #known = new Map<string, Known>();
  #listener: WaitListener = () => {};
  #pauses: { readonly until: number; readonly wake: () => void }[] = [];
  readonly #stop = new AbortController();

  isAuditAway = false;

  constructor() {
    const waits = {
      all: { [Symbol.iterator]: () => this.#known.values() },
      listen: (listener: WaitListener) => {
        this.#listener = listener;
        return () => {};
      },
    } as unknown as OpenWaits;
    const outbox = new Outbox(
      {
        ...{ waits, store: this.records.store, now: () => this.now, random: () => 0 },
        ...{ firstPause: 1_000, longestPause: 60_000, sweepMs: 60_000 },
        tells: async (decided) => {
          const { key, call } = decided;
          this.asked.push({ instance: key.instance, token: call.token, at: this.now });
          return this.answer(decided);
        },
        pause: (ms) => new Promise((wake) => this.#pauses.push({ until: this.now + ms, wake })),
        onTold: async ({ key }, problem) => {
          if (this.isAuditAway) throw new Error('no leader');
          const state = (await this.records.store.get(key))?.record.state.state;
          this.events.push(`told while ${state}${problem ?? ''}`);
        },
        onAbandoned: (_, reason) => this.events.push(`abandoned ${reason}`),
        onLater: (_, reason, ms) => this.events.push(`later ${reason} ${ms}`),
        onTrouble: (error) => this.events.push(`trouble ${String(error)}`),
      },
      this.#stop.signal,
    );
    void outbox.run();
  }

  /** Stores a wait, and lets the replica know. */
  async add(number: number, state: WaitState): Promise<void> {
    await this.records.add(number, state);
    this.hear(number, state);
  }

  hear(number: number, state: WaitState): void {
    const place = bucketKey(keyOf(number));
    const revision = this.bucket.values.get(place)!.revision;
    const at = state.state === 'ended' ? state.endedAt : state.state === 'tombstone' ? state.at : 0;
    const known = { state: state.state, place, revision, at } as Known;
    this.#known.set(place, known);
    this.#listener(known, undefined, { key: keyOf(number), planUrl: '', state });
  }

  async pass(ms: number): Promise<void> {
    this.now += ms;
    const due = this.#pauses.filter(({ until }) => until <= this.now);
    this.#pauses = this.#pauses.filter(({ until }) => until > this.now);
    for (const { wake } of due) wake();
    await settled();
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const decided = (token = 'token') => cancelled({ ...waiting({}).call, token }, undefined, 0);

describe('The outbox', () => {
  test('reports a decision once, notes it before closing the record, and erases the token', async () => {
    const scene = new Scene();
    await scene.add(1, decided());
    await settled();
    const state = await scene.records.state(1);
    assert.ok(state?.state === 'ended' && state.sent && !JSON.stringify(state).includes('token'));
    assert.deepEqual([scene.asked.length, scene.events], [1, ['told while decided']]);
  });

  test('keeps a record open until its ending could be noted', async () => {
    const scene = new Scene();
    scene.isAuditAway = true;
    await scene.add(1, decided());
    await settled();
    assert.deepEqual([(await scene.records.state(1))?.state, scene.events], ['decided', ['trouble Error: no leader']]);
    scene.isAuditAway = false;
    await scene.pass(1_000);
    assert.equal((await scene.records.state(1))?.state, 'ended');
    assert.equal(scene.events.at(-1), 'told while decided');
  });

  test('reads a record again only if it was written since', async () => {
    const scene = new Scene();
    await scene.add(1, decided());
    await settled();
    // The test creates it, the outbox closes it, and the test reads it when it is reported.
    assert.equal(scene.bucket.calls, 3);
    scene.answer = async () => {
      scene.answer = () => DONE;
      await scene.records.change(2, () => decided('newer'));
      return DONE;
    };
    await scene.add(2, decided());
    await settled();
    assert.deepEqual(
      scene.asked.map(({ token }) => token),
      ['token', 'token', 'newer'],
    );
  });

  test('tries again with growing pauses, for as long as it takes', async () => {
    const scene = new Scene();
    scene.answer = () => ({ kind: 'later', retryAfterMs: undefined, reason: 'it answers 503' });
    await scene.add(1, decided());
    await settled();
    for (const ms of [999, 1, 1_999, 1, 4_000]) await scene.pass(ms);
    const begun = scene.asked[0]!.at;
    assert.deepEqual(
      scene.asked.map(({ at }) => at - begun),
      [0, 1_000, 3_000, 7_000],
    );
    assert.equal(scene.events[0], 'later it answers 503 1000');
    scene.answer = () => DONE;
    await scene.pass(8_000);
    assert.equal((await scene.records.state(1))?.state, 'ended');
  });

  test('pauses all reports to an organization that asks for it', async () => {
    const scene = new Scene();
    scene.answer = () => ({ kind: 'later', retryAfterMs: 30_000, reason: 'it answers 429' });
    await scene.add(1, decided());
    await settled();
    scene.answer = () => DONE;
    await scene.add(2, decided());
    await scene.pass(29_000);
    assert.equal(scene.asked.length, 1);
    await scene.pass(1_000);
    assert.equal(scene.asked.length, 3);
    assert.equal((await scene.records.state(2))?.state, 'ended');
  });

  test('gives up if the plan is gone, and reports that', async () => {
    const scene = new Scene();
    scene.answer = () => ({ kind: 'gone', reason: 'the plan is gone' });
    await scene.add(1, decided());
    await settled();
    const state = await scene.records.state(1);
    assert.ok(state?.state === 'ended' && !state.sent);
    assert.deepEqual(scene.events, ['abandoned the plan is gone']);
  });

  test('reports again with a newer token, even one that comes just after the end', async () => {
    const scene = new Scene();
    let answers = 0;
    scene.answer = async () => {
      if (answers++ === 0) await scene.records.change(1, () => decided('newer'));
      return { kind: 'gone', reason: 'the token has expired' };
    };
    await scene.add(1, decided());
    await settled();
    assert.deepEqual(
      scene.asked.map(({ token }) => token),
      ['token', 'newer'],
    );
    scene.answer = () => DONE;
    await scene.records.change(1, () => decided('newest'));
    scene.hear(1, decided('newest'));
    await settled();
    assert.equal(scene.asked.at(-1)?.token, 'newest');
    assert.equal((await scene.records.state(1))?.state, 'ended');
  });

  test('removes ended waits after a day, and a cancel without a wait after an hour', async () => {
    const scene = new Scene();
    const { planUrl, timeline, inputs, digest, owner, planVersion } = waiting({}).call;
    const call = { planUrl, timeline, inputs, digest, owner, planVersion };
    const { ending } = decided() as Extract<WaitState, { state: 'decided' }>;
    await scene.add(1, { state: 'ended', call, endedAt: scene.now, ending, sent: true });
    await scene.add(2, { state: 'tombstone', at: scene.now });
    await scene.pass(HOUR - 1);
    assert.equal(scene.bucket.values.size, 2);
    await scene.pass(60_001);
    assert.equal(await scene.records.state(2), undefined);
    assert.equal((await scene.records.state(1))?.state, 'ended');
    await scene.pass(23 * HOUR);
    assert.equal(scene.bucket.values.size, 0);
  });
});
