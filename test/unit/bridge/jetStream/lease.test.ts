import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Lease } from '../../../../bridge/jetStream/lease.ts';
import { MemoryBucket } from '../../../support/bridge/memoryNats.ts';

const KEY = 'lease.x';
const RENEW = 2_000;
const STALE = 6_000;

/** Candidates for one lease, and a clock that the test moves. */
class Scene {
  readonly bucket = new MemoryBucket();
  readonly troubles: unknown[] = [];
  now = 1_000_000;
  #pauses: { readonly until: number; readonly wake: () => void }[] = [];

  candidate(holder: string, bucket = this.bucket): Lease {
    return new Lease({
      ...{ bucket, key: KEY, holder, renewMs: RENEW, staleMs: STALE },
      now: () => this.now,
      pause: (ms, signal) => this.#pause(ms, signal),
      onTrouble: (error) => void this.troubles.push(error),
    });
  }

  /** Moves the clock in steps, and lets pending work settle after each. */
  async pass(ms: number): Promise<void> {
    for (const end = this.now + ms; this.now < end;) {
      this.now = Math.min(end, this.now + 500);
      const due = this.#pauses.filter(({ until }) => until <= this.now);
      this.#pauses = this.#pauses.filter(({ until }) => until > this.now);
      for (const { wake } of due) wake();
      await settled();
    }
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#pauses.push({ until: this.now + ms, wake });
      signal.addEventListener('abort', wake);
    });
  }
}

/** Resolves when everything that waits only for promises has settled. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Work that runs until its signal aborts, and counts of its beginnings and ends. */
function work() {
  const seen = { began: 0, ended: 0 };
  const run = async (held: AbortSignal) => {
    seen.began++;
    await new Promise<void>((resolve) => held.addEventListener('abort', () => resolve()));
    seen.ended++;
  };
  return { seen, run };
}

describe('A lease', () => {
  test('belongs to the first candidate for as long as it is renewed', async () => {
    const scene = new Scene();
    const [one, other] = [scene.candidate('one'), scene.candidate('other')];
    assert.equal(await one.acquire(), true);
    assert.equal(await other.acquire(), false);
    for (let time = 0; time < 5 * STALE; time += RENEW) {
      scene.now += RENEW;
      assert.equal(await one.renew(), true);
      assert.equal(await other.acquire(), false);
    }
    assert.deepEqual([one.holder, other.holder], ['one', 'one']);
    assert.deepEqual(scene.bucket.texts, { [KEY]: '{"holder":"one"}' });
  });

  test('is taken over by a candidate that has seen it unchanged for long enough', async () => {
    const scene = new Scene();
    const [one, other] = [scene.candidate('one'), scene.candidate('other')];
    await one.acquire();
    scene.now += 4 * STALE;
    assert.equal(await other.acquire(), false, 'a lease seen for the first time was taken');
    scene.now += STALE - 1;
    assert.equal(await other.acquire(), false);
    scene.now += 1;
    assert.equal(await other.acquire(), true);
    assert.equal(one.isHeld, false);
    assert.equal(await one.renew(), false);
    assert.equal(other.isHeld, true);
    assert.deepEqual(scene.bucket.texts, { [KEY]: '{"holder":"other"}' });
  });

  test('has one holder even if several find it stale at once', async () => {
    const scene = new Scene();
    await scene.candidate('gone').acquire();
    const others = ['a', 'b', 'c'].map((name) => scene.candidate(name));
    for (const other of others) await other.acquire();
    scene.now += STALE;
    const took = await Promise.all(others.map((other) => other.acquire()));
    assert.equal(took.filter(Boolean).length, 1);
    assert.equal(others.filter(({ isHeld }) => isHeld).length, 1);
  });

  test('is lost as soon as others may take it, even if the bucket is down', async () => {
    const scene = new Scene();
    const one = scene.candidate('one');
    await one.acquire();
    scene.bucket.failure = new Error('away');
    scene.now += STALE - 1;
    assert.equal(await one.renew(), true);
    scene.now += 1;
    assert.equal(one.isHeld, false);
    assert.equal(await one.renew(), false);
    scene.bucket.failure = undefined;
    assert.equal(await one.renew(), true, 'the lease was lost although nobody took it');
    assert.deepEqual(
      scene.troubles.map((error) => (error as Error | undefined)?.message),
      ['away', 'away', undefined],
    );
  });

  test('is kept if the response to a renewal was lost', async () => {
    const scene = new Scene();
    const one = scene.candidate('one');
    await one.acquire();
    const { revision } = (await scene.bucket.get(KEY))!;
    await scene.bucket.update(KEY, Buffer.from('{"holder":"one"}'), revision);
    assert.equal(await one.renew(), true);
    assert.equal(await one.renew(), true);
    assert.deepEqual(scene.troubles, []);
  });

  test('is free as soon as it is handed back, which never takes it from a later holder', async () => {
    const scene = new Scene();
    const [one, other] = [scene.candidate('one'), scene.candidate('other')];
    await one.acquire();
    await one.handBack();
    assert.equal(one.isHeld, false);
    assert.equal(await other.acquire(), true);
    scene.now += STALE;
    await one.acquire();
    scene.now += STALE;
    assert.equal(await one.acquire(), true);
    await other.handBack();
    assert.deepEqual(scene.bucket.texts, { [KEY]: '{"holder":"one"}' });
  });

  test('that is unreadable can be taken once it is stale', async () => {
    const scene = new Scene();
    await scene.bucket.create(KEY, Buffer.from('nonsense'));
    const one = scene.candidate('one');
    assert.equal(await one.acquire(), false);
    scene.now += STALE;
    assert.equal(await one.acquire(), true);
  });
});

describe('Work under a lease', () => {
  test('stays with one candidate, and passes to another if that one falls silent', async () => {
    const scene = new Scene();
    const stop = new AbortController();
    const cut = new MemoryBucket();
    // The first one's link to the bucket breaks later.
    const way = new Proxy(scene.bucket, {
      get: (bucket, name) => {
        const value: unknown = Reflect.get(cut.failure === undefined ? bucket : cut, name);
        return typeof value === 'function' ? value.bind(cut.failure === undefined ? bucket : cut) : value;
      },
    });
    const [first, second] = [work(), work()];
    const [one, other] = [scene.candidate('one', way), scene.candidate('other')];
    const running = [one.run(stop.signal, first.run)];
    await settled();
    running.push(other.run(stop.signal, second.run));
    await scene.pass(10 * STALE);
    assert.deepEqual(
      [first.seen, second.seen],
      [
        { began: 1, ended: 0 },
        { began: 0, ended: 0 },
      ],
    );

    cut.failure = new Error('away');
    await scene.pass(STALE);
    assert.deepEqual(first.seen, { began: 1, ended: 1 }, 'the watcher was not told in time');
    await scene.pass(2 * RENEW);
    assert.deepEqual(second.seen, { began: 1, ended: 0 });

    cut.failure = undefined;
    await scene.pass(5 * STALE);
    assert.deepEqual([first.seen.began, second.seen], [1, { began: 1, ended: 0 }]);
    stop.abort();
    await Promise.all(running);
    assert.deepEqual(second.seen, { began: 1, ended: 1 });
    assert.deepEqual(scene.bucket.texts, { [KEY]: '{"holder":""}' });
  });

  test('ends in time when the lease is lost, even if the bucket never answers', async () => {
    const scene = new Scene();
    const stop = new AbortController();
    const { seen, run } = work();
    const lease = scene.candidate('one');
    const running = lease.run(stop.signal, run);
    await settled();
    const { update } = scene.bucket;
    let answer = () => {};
    scene.bucket.update = () => new Promise((resolve) => (answer = () => resolve(undefined)));
    await scene.pass(STALE - 500);
    assert.deepEqual(seen, { began: 1, ended: 0 });
    await scene.pass(500);
    assert.deepEqual(seen, { began: 1, ended: 1 });
    scene.bucket.update = update.bind(scene.bucket);
    answer();
    stop.abort();
    await running;
  });

  test("passes to the next candidate at that one's next look when it ends", async () => {
    const scene = new Scene();
    const [stopOne, stop] = [new AbortController(), new AbortController()];
    const [first, second] = [work(), work()];
    const running = [scene.candidate('one').run(stopOne.signal, first.run)];
    await settled();
    running.push(scene.candidate('other').run(stop.signal, second.run));
    await scene.pass(RENEW);
    stopOne.abort();
    await running[0];
    await scene.pass(RENEW);
    assert.deepEqual([first.seen.ended, second.seen.began], [1, 1]);
    stop.abort();
    await running[1];
  });
});
