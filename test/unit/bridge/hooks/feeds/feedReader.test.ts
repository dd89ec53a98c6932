import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Outcome } from '../../../../../bridge/azureDevOps/client.ts';
import { Cursors } from '../../../../../bridge/hooks/feeds/cursor.ts';
import { FeedReader } from '../../../../../bridge/hooks/feeds/feedReader.ts';
import { Lease } from '../../../../../bridge/jetStream/lease.ts';
import { EventLog } from '../../../../../bridge/log.ts';
import { TIMING } from '../../../../../bridge/timing.ts';
import { TaskError } from '../../../../../shared/errors.ts';
import { Feed } from '../../../../support/azureDevOps/feeds.ts';
import { SHOP } from '../../../../support/bridge/hookPosts.ts';
import { Receiver } from '../../../../support/bridge/hookReceiver.ts';
import { headerOf, largerThan, textOf } from '../../../../support/bridge/memoryNats.ts';
import { until } from '../../../../support/nats/openService.ts';

type Refused = Exclude<Outcome, { kind: 'ok' }>;

function ok(body: unknown): Outcome {
  return { kind: 'ok', status: 200, body, retryAfterMs: undefined, continuationToken: undefined };
}

/** One replica that reads an in-memory feed until the test ends. */
class Scene implements AsyncDisposable {
  readonly receiver = new Receiver();
  readonly feed = new Feed('packages', undefined);
  readonly asked: string[] = [];
  readonly counts: Record<string, number> = {};
  /** The response to `packagechanges` instead of the feed's changes. */
  answer: ((after: number, size: number) => Outcome | undefined) | undefined;
  /** The feed's id in the response about the feed itself. */
  feedId: string | undefined = 'feed-1';
  trouble: boolean | undefined;
  #log = '';
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  get bucket() {
    return this.receiver.bucket;
  }

  get lines(): Record<string, string>[] {
    return this.#log
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, string>);
  }

  /** The logged states. */
  get states(): string[] {
    return this.lines.filter(({ event }) => event === 'feed').map(({ state }) => state!);
  }

  get stored(): string[] {
    return this.receiver.publisher.on('azdo.').map((message) => headerOf(message, 'ce-subject')!);
  }

  get cursor(): Record<string, unknown> {
    return JSON.parse(this.bucket.texts['feed.k'] ?? '{}') as Record<string, unknown>;
  }

  start(project = 'Shop'): FeedReader {
    const { receiver, bucket } = this;
    const pause = async (ms: number, signal: AbortSignal) => {
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, Math.min(ms, 5)));
    };
    const lease = new Lease({
      ...{ bucket, key: 'feed-lease.k', holder: 'here', renewMs: 20, staleMs: 60_000, now: Date.now, pause },
      onTrouble: (error) => reader.leaseTrouble(error),
    });
    const reader: FeedReader = new FeedReader({
      ...receiver.judging,
      now: Date.now,
      feed: { project, feed: 'packages', everyMs: 5 },
      azureDevOps: { ask: (path) => Promise.resolve(this.#answerTo(path)) },
      lease,
      cursors: new Cursors(bucket, 'feed.k', 'Shop/packages'),
      deadLetters: {
        write: async ({ reason, payload, messageId }) => {
          this.counts[reason] = (this.counts[reason] ?? 0) + 1;
          this.letters.push({ payload: Buffer.from(payload).toString(), messageId });
          return 1;
        },
      },
      log: new EventLog((line) => (this.#log += line), Date.now),
      timing: { ...TIMING, firstPause: 1, longestPause: 5, feedRefused: 200, feedLookup: 50 },
      pause,
      metrics: {
        changed: (outcome, count) => (this.counts[outcome] = (this.counts[outcome] ?? 0) + count),
        read: () => {},
        trouble: (isThere) => (this.trouble = isThere),
      },
    });
    this.#running = reader.run(this.#stop.signal);
    return reader;
  }

  readonly letters: { payload: string; messageId: string | undefined }[] = [];

  #answerTo(path: string): Outcome {
    this.asked.push(path);
    const { pathname, searchParams } = new URL(path, 'http://x/');
    if (pathname.startsWith('/_apis/projects/')) return ok({ id: SHOP.id, name: 'Shop' });
    if (!pathname.endsWith('/packagechanges'))
      return this.feedId === undefined
        ? { kind: 'refused', status: 404, typeKey: undefined, message: 'nothing' }
        : ok({ id: this.feedId, name: 'packages' });
    const [after, size] = [Number(searchParams.get('continuationToken')), Number(searchParams.get('batchSize'))];
    const changes = this.feed.changes.filter((one) => one.packageVersionChange.continuationToken > after);
    return this.answer?.(after, size) ?? ok({ packageChanges: changes.slice(0, size) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

/** A scene with an empty feed, whose reader is past the old changes. */
async function reading(): Promise<Scene> {
  const scene = new Scene();
  scene.start();
  await until(() => scene.cursor['isPastOld'] === true, 'the old is passed over');
  return scene;
}

describe('The reader of a feed', () => {
  test('skips old changes, and stores each later one once and in order', async () => {
    await using scene = new Scene();
    for (let version = 0; version < 1_100; version++) scene.feed.push('old', `1.0.${version}`);
    const reader = scene.start();
    await until(() => scene.cursor['isPastOld'] === true, 'the old is passed over');
    for (let version = 0; version < 1_100; version++) scene.feed.push('new', `1.0.${version}`);
    await until(() => scene.stored.length === 1_100, 'all new ones are stored');
    assert.deepEqual(
      scene.stored,
      Array.from({ length: 1_100 }, (_, version) => `packages/new/1.0.${version}`),
    );
    assert.deepEqual(scene.counts, { skipped: 1_100, stored: 1_100 });
    const [last] = scene.feed.changes.slice(-1);
    await until(() => scene.cursor['token'] === last!.packageVersionChange.continuationToken, 'the cursor is there');
    assert.equal(textOf(scene.receiver.publisher.on('azdo.').at(-1)!), JSON.stringify(last));
    assert.deepEqual([reader.state.kind, scene.states], ['reading', ['skipping', 'reading']]);
    assert.deepEqual(
      [...new Set(scene.asked.map((path) => path.replace(/continuationToken=\d+/, 'continuationToken=N')))],
      [
        '_apis/projects/Shop?api-version=7.1',
        'Shop/_apis/packaging/Feeds/packages?api-version=7.1',
        'Shop/_apis/packaging/Feeds/packages/packagechanges?continuationToken=N&batchSize=500&api-version=7.1',
      ],
    );
  });

  test('moves the cursor only after storing a whole page', async () => {
    await using scene = await reading();
    const { publisher } = scene.receiver;
    publisher.failure = (message) =>
      headerOf(message, 'ce-subject')?.endsWith('/3') ? new TaskError('Timeout', 'no answer') : undefined;
    for (const version of '12345') scene.feed.push('web', version);
    await until(() => (scene.counts['duplicate'] ?? 0) >= 2, 'it was tried again');
    assert.deepEqual([scene.stored.length, scene.cursor['token'], scene.trouble], [2, 0, true]);
    publisher.failure = () => undefined;
    await until(() => scene.stored.length === 5, 'all are stored');
    await until(() => scene.trouble === false, 'the trouble is over');
    assert.deepEqual(scene.states.slice(-2), ['storing', 'reading']);
  });

  test('continues from the cursor of another replica that has moved it', async () => {
    await using scene = await reading();
    const { revision } = (await scene.bucket.get('feed.k'))!;
    const other = JSON.stringify({ feed: '', feedId: 'feed-1', token: 2, isPastOld: true });
    // The other replica moves it while this one stores what it read.
    scene.receiver.publisher.failure = () => {
      void scene.bucket.update('feed.k', Buffer.from(other), revision);
      return undefined;
    };
    scene.feed.push('web', '1');
    scene.feed.push('web', '2');
    scene.feed.push('web', '3');
    const asksAfter = (token: number) => scene.asked.some((path) => path.includes(`continuationToken=${token}&`));
    await until(() => asksAfter(3) || asksAfter(7), 'it goes on');
    assert.ok(asksAfter(2), scene.asked.slice(-5).join('\n'));
    assert.equal(scene.stored.length, 3);
  });

  test('detects a continuation token that does not advance', async () => {
    await using scene = await reading();
    const change = scene.feed.push('web', '1');
    const times: number[] = [];
    scene.answer = (after) => {
      times.push(Date.now());
      return ok({ packageChanges: [change], nextPackageContinuationToken: after });
    };
    await until(() => times.length === 4, 'it is tried again');
    assert.ok(times[3]! - times[0]! >= 590, `three pauses of 200 ms took ${times[3]! - times[0]!} ms`);
    assert.deepEqual([scene.stored, scene.states.slice(-1)], [[], ['unreadable']]);
    assert.match(scene.lines.at(-1)!['text']!, /continuation token doesn't go on from 0$/);
  });

  test('asks for fewer changes at once after too large a response', async () => {
    await using scene = await reading();
    const most = 100;
    scene.answer = (_, size) =>
      size > most
        ? { kind: 'open', status: undefined, retryAfterMs: undefined, message: 'too large', isTooLarge: true }
        : undefined;
    for (let version = 0; version < 300; version++) scene.feed.push('web', `${version}`);
    await until(() => scene.stored.length === 300, 'all are stored');
    assert.equal(scene.trouble, false);
  });

  test('stores a malformed or oversized change as a dead letter, and continues', async () => {
    await using scene = await reading();
    scene.receiver.publisher.failure = largerThan(10_000);
    const nested = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000)) as unknown;
    const deep = { packageVersionChange: { continuationToken: 1, packageVersion: nested } };
    const [large, fine] = [scene.feed.push('web', '1', { readme: 'x'.repeat(20_000) }), scene.feed.push('web', '2')];
    scene.answer = (after) =>
      after >= 100
        ? undefined
        : ok({
            packageChanges: [7, null, deep, large, fine],
            nextPackageContinuationToken: 100,
          });
    await until(() => scene.stored.length === 1, 'the good one is stored');
    await until(() => scene.cursor['token'] === 100, 'the cursor has passed them');
    assert.deepEqual(
      [scene.counts['unusable'], scene.counts['tooLarge'], scene.counts['deadLetter'], scene.counts['stored']],
      [3, 1, 4, 1],
    );
    assert.equal(scene.letters[3]!.payload, JSON.stringify(large));
    assert.match(scene.letters[3]!.messageId!, /^package\.changed\./);
  });

  test('reports when each problem begins and ends', async () => {
    await using scene = await reading();
    const troubles: readonly Refused[] = [
      { kind: 'throttled', retryAfterMs: 120, message: 'slow down' },
      { kind: 'signIn', message: 'not you' },
      { kind: 'unreachable', message: 'no way' },
      { kind: 'open', status: 503, retryAfterMs: undefined, message: 'away' },
      { kind: 'refused', status: 404, typeKey: undefined, message: 'no such feed' },
      { kind: 'refused', status: 403, typeKey: undefined, message: 'no rights' },
    ];
    for (const trouble of troubles) {
      let asked = 0;
      scene.answer = () => {
        asked++;
        return trouble;
      };
      const before = scene.states.length;
      await until(() => asked >= 3, `three attempts with ${trouble.kind}`);
      assert.deepEqual([scene.states.length - before, scene.trouble], [1, true], trouble.kind);
      scene.answer = undefined;
      await until(() => scene.trouble === false, 'it is over');
    }
    assert.deepEqual(
      scene.states.filter((state) => state !== 'reading' && state !== 'skipping'),
      ['throttled', 'signIn', 'unreachable', 'open', 'refused 404', 'refused 403'],
    );
    const refused = scene.lines.find(({ state }) => state === 'refused 404')!;
    assert.equal(
      refused['text'],
      `there is no feed "packages" in the project "Shop", or the bridge's identity may not see it`,
    );
    assert.match(refused['remedy']!, /role Feed and Upstream Reader.*scope Packaging \(Read\)/);
  });

  test('pauses for as long as Azure DevOps asks', async () => {
    await using scene = await reading();
    const times: number[] = [];
    scene.answer = () => {
      times.push(Date.now());
      return { kind: 'throttled', retryAfterMs: 200, message: 'slow down' };
    };
    await until(() => times.length === 2, 'it asks again');
    assert.ok(times[1]! - times[0]! >= 195, `it waited ${times[1]! - times[0]!} ms`);
  });

  test('retries slowly after a refusal', async () => {
    await using scene = await reading();
    const times: number[] = [];
    scene.answer = () => {
      times.push(Date.now());
      return { kind: 'refused', status: 404, typeKey: undefined, message: 'no such feed' };
    };
    await until(() => times.length === 4, 'it asks again');
    assert.ok(times[3]! - times[0]! >= 590, `three pauses of 200 ms took ${times[3]! - times[0]!} ms`);
  });

  test('reads a feed that replaced another one from its first change on', async () => {
    await using scene = await reading();
    for (const version of '123') scene.feed.push('web', version);
    await until(() => scene.stored.length === 3 && Number(scene.cursor['token']) > 0, 'the first feed is read');
    scene.feedId = 'feed-2';
    await until(() => scene.cursor['feedId'] === 'feed-2', 'it is noticed');
    await until(() => scene.stored.length === 6, 'its changes are others');
    assert.equal(scene.lines.filter(({ event }) => event === 'feedReplaced').length, 1);
  });

  test("starts without the feed's id, and takes it up later without reading anything twice", async () => {
    await using scene = new Scene();
    scene.feedId = undefined;
    scene.start();
    await until(() => scene.cursor['isPastOld'] === true, 'the old is passed over');
    scene.feed.push('web', '1');
    await until(() => Number(scene.cursor['token']) === 1, 'it is read');
    scene.feedId = 'feed-1';
    const before = scene.asked.length;
    await until(() => scene.asked.slice(before).some((path) => path.includes('packages?')), 'it is asked for');
    scene.feed.push('web', '2');
    await until(() => scene.cursor['feedId'] === 'feed-1', 'the id is known');
    assert.deepEqual([scene.stored.length, scene.counts['duplicate']], [2, undefined]);
  });

  test('never guesses its place', async () => {
    await using scene = new Scene();
    await scene.bucket.create('feed.k', Buffer.from('{"token":"7"}'));
    scene.feed.push('web', '1');
    scene.start();
    await until(() => scene.trouble === true, 'the trouble is reported');
    assert.match(scene.lines.at(-1)!['text']!, /the key feed\.k of the bucket doesn't hold a place in the feed/);
    assert.deepEqual(scene.stored, []);
  });

  test("reads an organization's feed, whose events name no project", async () => {
    await using scene = new Scene();
    scene.start('');
    await until(() => scene.cursor['isPastOld'] === true, 'the old is passed over');
    scene.feed.push('web', '1');
    await until(() => scene.stored.length === 1, 'it is stored');
    assert.equal(scene.receiver.publisher.on('azdo.')[0]!.subject, 'azdo.contoso.-.package.changed.v1');
    assert.ok(scene.asked.every((path) => path.startsWith('_apis/packaging/')));
  });
});
