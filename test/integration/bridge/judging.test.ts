import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { bucketKey, cancelled, type WaitEnding, type Waiting } from '../../../bridge/waits/record.ts';
import {
  BUCKET,
  JudgeReplica,
  keyOf,
  OTHERS,
  Records,
  waiting,
  type Hooks,
} from '../../support/bridge/judgeReplica.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { openService, until, type OpenService } from '../../support/nats/openService.ts';
import { Admin, type TestStream } from '../../support/nats/testStream.ts';

/** A server with the bucket and a stream of events, which lasts as long as the test. */
class Scene implements AsyncDisposable {
  readonly records: Records;
  readonly #replicas: JudgeReplica[] = [];

  private constructor(
    readonly url: string,
    readonly admin: Admin,
    readonly events: TestStream,
    private readonly service: OpenService,
    private readonly server: AsyncDisposable,
  ) {
    this.records = new Records(service.bus.keyValue(BUCKET));
  }

  static async start(): Promise<Scene> {
    const server = await startNatsServer();
    const admin = await Admin.connect([server.url]);
    await admin.manager.streams.add({
      ...{ name: `KV_${BUCKET}`, subjects: [`$KV.${BUCKET}.>`], max_msgs_per_subject: 1, allow_rollup_hdrs: true },
    });
    return new Scene(server.url, admin, await admin.stream('CI'), await openService(server.url), server);
  }

  /** How a wait has ended, once it has. */
  async ending(number: number): Promise<WaitEnding> {
    let ending: WaitEnding | undefined;
    await until(async () => {
      const state = await this.records.state(number);
      if (state?.state === 'decided') ending = state.ending;
      return ending !== undefined;
    }, `wait ${number} is decided`);
    return ending!;
  }

  /** Resolves when the record of a wait holds that so many events have counted. */
  async counted(number: number, matched: number): Promise<void> {
    await until(async () => {
      const state = await this.records.state(number);
      return state?.state === 'waiting' && state.progress?.counts.matched === matched;
    }, `wait ${number} has counted ${matched}`);
  }

  async replica(...of: readonly [holder?: string, hooks?: Hooks]): Promise<JudgeReplica> {
    const replica = await JudgeReplica.start(this.url, ...of);
    this.#replicas.push(replica);
    return replica;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const replica of this.#replicas) await replica[Symbol.asyncDispose]();
    await this.service[Symbol.asyncDispose]();
    await this.admin[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

/** Holds somebody up until the test lets go. */
class Gate {
  open = () => {};
  readonly opened = new Promise<void>((resolve) => (this.open = resolve));
}

const MATCH = { match: 'data.ok' };
const [YES, NO] = ['{"ok":true}', '{"ok":false}'];

describe('The judge of a stream', { concurrency: 2 }, () => {
  test('finds an event that was stored before, and the first one of several', async () => {
    await using scene = await Scene.start();
    await scene.events.publish('done', NO, YES, YES);
    await scene.replica();
    await scene.records.add(1, waiting(MATCH));
    const { verdict, event, counts, outputs } = await scene.ending(1);
    assert.deepEqual([verdict, event?.sequence, counts.seen], ['matched', 2, 2]);
    assert.deepEqual([outputs['verdict'], outputs['count'], outputs['sequence']], ['matched', '1', '2']);
  });

  test("finds a later event for waits with different correlation ids, and counts the others'", async () => {
    await using scene = await Scene.start();
    await scene.replica();
    for (const number of [1, 2, 3]) await scene.records.add(number, waiting({ correlationId: `c-${number}` }));
    const data = (id: string) =>
      JSON.stringify({ specversion: '1.0', id, source: '/s', type: 't', correlationid: id, data: {} });
    await scene.events.publish('done', data('c-9'), data('c-2'), data('c-1'), data('c-3'));
    const endings = await Promise.all([1, 2, 3].map((number) => scene.ending(number)));
    assert.deepEqual(
      endings.map(({ event, counts }) => [event?.sequence, counts.foreign, counts.seen]),
      [
        [3, 2, 3],
        [2, 1, 2],
        [4, 3, 4],
      ],
    );
  });

  test('loses no event that arrives while a wait catches up, and takes the first', async () => {
    await using scene = await Scene.start();
    const [gate, asked] = [new Gate(), new Gate()];
    await scene.replica('one', {
      beforeLookup: async (from) => {
        if (from !== 1) return;
        asked.open();
        await gate.opened;
      },
    });
    await scene.records.add(1, waiting({ subject: 'CI.other' }));
    await scene.events.publish('done', NO, NO);
    // Once this one has ended, the reader has passed both.
    await scene.records.add(2, waiting({ subject: 'CI.marker' }, { start: { stream: 'CI', after: 2 } }));
    await scene.events.publish('marker', '{}');
    await scene.ending(2);
    await scene.records.add(3, waiting({ ...MATCH, count: '2' }));
    await asked.opened;
    await scene.events.publish('done', YES, NO, YES, YES);
    await scene.records.add(4, waiting({ subject: 'CI.marker' }, { start: { stream: 'CI', after: 7 } }));
    await scene.events.publish('marker', '{}');
    await scene.ending(4);
    assert.equal((await scene.records.state(3))?.state, 'waiting');
    gate.open();
    const { event, counts } = await scene.ending(3);
    assert.deepEqual([event?.sequence, counts.seen, counts.matched, counts.notMatching], [6, 5, 2, 3]);
  });

  test('loses no event that arrives during the last look at the past', async () => {
    await using scene = await Scene.start();
    const [gate, asked] = [new Gate(), new Gate()];
    await scene.replica('one', {
      afterLookup: async (from) => {
        if (from !== 1) return;
        asked.open();
        await gate.opened;
      },
    });
    const marker = (after: number) => waiting({ subject: 'CI.marker' }, { start: { stream: 'CI', after } });
    await scene.records.add(1, marker(0));
    await scene.events.publish('marker', '{}');
    await scene.ending(1);
    await scene.records.add(2, waiting(MATCH));
    await asked.opened;
    await scene.records.add(3, marker(1));
    await scene.events.publish('done', NO, YES, YES);
    await scene.events.publish('marker', '{}');
    await scene.ending(3);
    gate.open();
    const { event, counts } = await scene.ending(2);
    assert.deepEqual([event?.sequence, counts.seen], [3, 2]);
  });

  for (const [what, inputs, first, second] of [
    ['count', { ...MATCH, count: '2' }, YES, YES],
    ['expect', { distinctBy: 'data.name', expect: 'a\nb' }, '{"name":"a"}', '{"name":"b"}'],
  ] as const)
    test(`continues after a leader is killed between two events of ${what}, with exact counts`, async () => {
      await using scene = await Scene.start();
      const killed = await scene.replica('first');
      await scene.records.add(1, waiting(inputs));
      await until(() => killed.leads.has('CI'), 'the first one leads');
      const heir = await scene.replica('second');
      await scene.events.publish('done', '{}', first, '{}');
      await scene.counted(1, 1);
      await killed.kill();
      await scene.events.publish('done', second);
      await until(() => heir.leads.has('CI'), 'the second one leads');
      const { verdict, counts, missing } = await scene.ending(1);
      assert.equal(verdict, 'matched');
      assert.deepEqual([counts.seen, counts.matched, missing], [4, 2, what === 'count' ? 0 : []]);
    });

  test('decides once when two replicas both believe they lead', async () => {
    await using scene = await Scene.start();
    const one = await scene.replica('one');
    const other = await scene.replica('other');
    for (let number = 1; number <= 20; number++) await scene.records.add(number, waiting(MATCH));
    await scene.events.publish('done', YES);
    for (let number = 1; number <= 20; number++) assert.equal((await scene.ending(number)).event?.sequence, 1);
    await until(() => [one, other].filter(({ leads }) => leads.has('CI')).length === 1, 'one of them leads');
  });

  test('leaves a wait alone if it is cancelled while its match is written', async () => {
    await using scene = await Scene.start();
    const cancel = () =>
      scene.records.change(1, (state) =>
        state.state === 'waiting' ? cancelled(state.call, state.progress, Date.now()) : state,
      );
    let updates = 0;
    const replica = await scene.replica('one', {
      beforeUpdate: async (key) => {
        if (key === bucketKey(keyOf(1)) && updates++ === 0) await cancel();
      },
    });
    await scene.records.add(1, waiting(MATCH));
    await scene.events.publish('done', YES);
    assert.equal((await scene.ending(1)).verdict, 'cancelled');
    await until(() => replica.waits.count('decided') === 1, 'the replica knows');
    assert.equal((await scene.ending(1)).verdict, 'cancelled');
    assert.equal(updates, 1);
  });

  test('keeps a token that arrives while a match is written', async () => {
    await using scene = await Scene.start();
    let updates = 0;
    await scene.replica('one', {
      beforeUpdate: async (key) => {
        if (key !== bucketKey(keyOf(1)) || updates++ > 0) return;
        await scene.records.change(1, (state) =>
          state.state === 'waiting' ? { ...state, call: { ...state.call, token: 'newer' } } : state,
        );
      },
    });
    await scene.records.add(1, waiting(MATCH));
    await scene.events.publish('done', YES);
    assert.equal((await scene.ending(1)).verdict, 'matched');
    const state = await scene.records.state(1);
    assert.deepEqual([state?.state === 'decided' && state.call.token, updates], ['newer', 2]);
  });

  test('lets waits that cost much fall back behind those of others, each in the order of the stream', async () => {
    await using scene = await Scene.start();
    // As if everything that is judged took long.
    const clock = { isSlow: true, ahead: 0 };
    const now = () => Date.now() + (clock.isSlow ? (clock.ahead += 10) : clock.ahead);
    const replica = await scene.replica('one', { now });
    const event = (n: number, correlationid = 'other') =>
      JSON.stringify({ specversion: '1.0', id: randomUUID(), source: '/s', type: 't', correlationid, data: { n } });
    const deadline = Date.now() + 600_000;
    const add = (number: number, inputs: Readonly<Record<string, string>>, others: Partial<Waiting> = {}) =>
      scene.records.add(number, waiting(inputs, { deadline, ...others }));
    const numbers = Array.from({ length: 12 }, (_, index) => index + 1);
    for (const number of numbers) await add(number, { match: `data.n == \`${number}\`` });
    await add(21, { match: 'data.n == `9`', failWhen: 'data.n == `5`' });
    await add(22, { match: 'data.n > `3`', count: '3' });
    await add(23, { correlationId: 'mine' });
    await add(24, { match: 'data.n == `100`' });
    await add(25, { match: 'data.n == `12`' }, { deadline: Date.now() + 20_000 });
    await add(OTHERS, { subject: 'CI.others' });
    // Each of them twice, so that the first one has to decide.
    const events = [...numbers, ...numbers].map((n) => event(n));
    await scene.events.publish('done', ...events, event(0, 'mine'));
    await until(() => replica.apart.size > 0, 'they are read for apart');
    // The time of one of them is over, but not all is judged that came before.
    clock.ahead += 30_000;
    await add(26, { match: 'data.n == `12`', count: '2' });
    await scene.events.publish('others', '{}');
    assert.equal((await scene.ending(OTHERS)).event?.sequence, 26);
    assert.equal((await scene.records.state(23))?.state, 'waiting', 'the wait for the other subject came last');
    clock.isSlow = false;
    const endings = await Promise.all(numbers.map((number) => scene.ending(number)));
    assert.deepEqual(
      endings.map(({ verdict, event: one, counts }) => [verdict, one?.sequence, counts.seen]),
      numbers.map((n) => ['matched', n, n]),
    );
    const [failed, counted, correlated] = await Promise.all([21, 22, 23].map((number) => scene.ending(number)));
    assert.deepEqual([failed?.verdict, failed?.event?.sequence], ['negative', 5]);
    assert.deepEqual([counted?.event?.sequence, counted?.counts.matched, counted?.counts.seen], [6, 3, 6]);
    assert.deepEqual([correlated?.event?.sequence, correlated?.counts.seen, correlated?.counts.foreign], [25, 25, 24]);
    const [inTime, late] = await Promise.all([25, 26].map((number) => scene.ending(number)));
    assert.deepEqual([inTime?.verdict, inTime?.event?.sequence], ['matched', 12]);
    assert.deepEqual([late?.event?.sequence, late?.counts.seen], [24, 24]);
    await until(() => replica.apart.size === 0, 'they are read for with the others again');
    const consumers = () => scene.admin.manager.consumers.list('CI').next();
    await until(async () => (await consumers()).length === 1, 'one reader is left');
    await add(27, { correlationId: 'mine' }, { start: { stream: 'CI', after: 26 } });
    await scene.events.publish('done', event(100, 'mine'));
    assert.deepEqual([(await scene.ending(24)).event?.sequence, (await scene.ending(27)).counts.seen], [27, 1]);
    assert.deepEqual(replica.troubles, []);
  });

  test('continues waits that had fallen behind when their leader was killed', async () => {
    await using scene = await Scene.start();
    let ahead = 0;
    const replica = await scene.replica('one', { now: () => Date.now() + (ahead += 10) });
    const deadline = Date.now() + 600_000;
    const numbers = Array.from({ length: 40 }, (_, index) => index + 1);
    for (const number of numbers)
      await scene.records.add(number, waiting({ match: `data.n == \`${number}\`` }, { deadline }));
    await scene.records.add(OTHERS, waiting({ subject: 'CI.others' }, { deadline }));
    await scene.events.publish('done', ...numbers.map((n) => JSON.stringify({ n })));
    await scene.events.publish('others', '{}');
    await scene.ending(OTHERS);
    const { bucket } = scene.records;
    await until(async () => {
      const { sequence } = JSON.parse(Buffer.from((await bucket.get('checkpoint.CI'))?.value ?? '{}').toString());
      return sequence === 41;
    }, 'the checkpoint is where the others are');
    await replica.kill();
    assert.equal(
      (await scene.records.state(40))?.state,
      'waiting',
      'the judge did not fall behind, so the test proved nothing',
    );
    await scene.replica('two');
    const endings = await Promise.all(numbers.map((number) => scene.ending(number)));
    assert.deepEqual(
      endings.map(({ verdict, event: one }) => [verdict, one?.sequence]),
      numbers.map((n) => ['matched', n]),
    );
  });

  test('ends a wait only when all events before its deadline are judged, and ignores later ones', async () => {
    await using scene = await Scene.start();
    await scene.events.publish('done', NO, YES, YES);
    const { timestamp } = await scene.admin.manager.streams.getMessage('CI', { seq: 2 });
    const storedAt = Date.parse(timestamp);
    await scene.records.add(1, waiting(MATCH, { acceptedAt: storedAt - 500, deadline: storedAt }));
    await scene.records.add(2, waiting(MATCH, { acceptedAt: storedAt - 500, deadline: storedAt - 60_000 }));
    await scene.records.add(3, waiting({ subject: 'CI.nothing' }, { deadline: Date.now() + 300 }));
    await scene.records.add(4, waiting({ subject: 'CI.doen' }, { deadline: Date.now() + 300 }));
    // Nobody learns of subjects that the rule doesn't let them read.
    await scene.events.publish('secret', NO);
    await scene.records.add(5, waiting({ subject: 'CI.secert' }, { deadline: Date.now() + 300 }));
    const start = { stream: 'CI', after: 4 };
    await scene.records.add(6, waiting({ ...MATCH, startFrom: 'now' }, { start, deadline: Date.now() + 300 }));
    await scene.replica();
    const [exact, late, silent] = [await scene.ending(1), await scene.ending(2), await scene.ending(3)];
    assert.deepEqual([exact.verdict, exact.event?.sequence], ['matched', 2]);
    assert.deepEqual([late.verdict, late.code, late.outputs['verdict']], ['timedOut', 'Timeout', 'timedOut']);
    assert.deepEqual([silent.verdict, silent.counts.seen], ['timedOut', 0]);
    assert.match(silent.reason, /No matching event came on CI\.nothing within .*No event came at all.*only on others/);
    const [misspelt, secret, passed] = [await scene.ending(4), await scene.ending(5), await scene.ending(6)];
    assert.match(
      misspelt.reason,
      /No event came at all\. Did you mean "CI\.done"\? The stream "CI" holds events there\. /,
    );
    assert.doesNotMatch(secret.reason, /Did you mean|CI\.secret/);
    assert.match(
      passed.reason,
      /The last event there is CI 3 of .* on "CI\.done", before this wait's start: without startFrom, it reads from the run's start/,
    );
  });

  test('reaches the end of a stream whose last events were deleted', async () => {
    await using scene = await Scene.start();
    await scene.events.publish('done', NO, NO, NO);
    await scene.admin.manager.streams.deleteMessage('CI', 3);
    await scene.records.add(1, waiting(MATCH, { deadline: Date.now() + 300 }));
    await scene.replica();
    const { verdict, counts } = await scene.ending(1);
    assert.deepEqual([verdict, counts.seen], ['timedOut', 2]);
  });

  test('lets failWhen decide before a later match', async () => {
    await using scene = await Scene.start();
    await scene.replica();
    await scene.records.add(1, waiting({ ...MATCH, failWhen: 'data.bad' }));
    await scene.events.publish('done', '{"bad":true}', YES);
    const { verdict, event, code, reason } = await scene.ending(1);
    assert.deepEqual([verdict, event?.sequence, code], ['negative', 1, 'Negative']);
    assert.match(reason, /met failWhen/);
  });

  test('begins at a given time', async () => {
    await using scene = await Scene.start();
    await scene.events.publish('done', YES, YES, YES);
    const { timestamp } = await scene.admin.manager.streams.getMessage('CI', { seq: 3 });
    const at = Date.parse(timestamp) + 1;
    await until(() => Date.now() > at, 'the time of the next event is another one');
    const sequence = await scene.events.publish('done', YES);
    await scene.records.add(1, waiting(MATCH, { start: { stream: 'CI', after: 0, at } }));
    await scene.replica();
    assert.equal((await scene.ending(1)).event?.sequence, sequence);
    await scene.records.add(2, waiting(MATCH, { start: { stream: 'CI', after: 0, at } }));
    const { event, counts } = await scene.ending(2);
    assert.deepEqual([event?.sequence, counts.seen], [sequence, 1]);
  });

  test('never acts on a record that was tampered with', async () => {
    await using scene = await Scene.start();
    await scene.records.add(1, waiting(MATCH));
    const { value, revision } = (await scene.records.bucket.get(bucketKey(keyOf(1))))!;
    const text = Buffer.from(value)
      .toString()
      .replace(/"sealed":"./, '"sealed":"?');
    await scene.records.bucket.update(bucketKey(keyOf(1)), Buffer.from(text), revision);
    const replica = await scene.replica();
    await scene.records.add(2, waiting(MATCH));
    await scene.events.publish('done', YES);
    assert.equal((await scene.ending(2)).verdict, 'matched');
    assert.equal(replica.unreadable, 1);
    assert.equal(Buffer.from((await scene.records.bucket.get(bucketKey(keyOf(1))))!.value).toString(), text);
  });

  test('ends the waits on a deleted stream, and stops reading a stream without waits', async () => {
    await using scene = await Scene.start();
    const replica = await scene.replica();
    await scene.records.add(1, waiting(MATCH));
    await until(async () => (await scene.events.consumers()).length === 1, 'it reads');
    await scene.records.change(1, (state) =>
      state.state === 'waiting' ? cancelled(state.call, undefined, Date.now()) : state,
    );
    await until(async () => (await scene.events.consumers()).length === 0, 'it no longer reads');
    await until(() => !replica.leads.has('CI'), 'it no longer leads');
    await scene.records.add(2, waiting(MATCH));
    await until(() => replica.leads.has('CI'), 'it leads again');
    await scene.events.delete();
    const { verdict, code } = await scene.ending(2);
    assert.deepEqual([verdict, code], ['error', 'NoStream']);
  });
});
