import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bucketKey, cancelled, type WaitEnding } from '../../../bridge/waits/record.ts';
import { BUCKET, JudgeReplica, keyOf, Records, waiting } from '../../support/bridge/judgeReplica.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { openService, until, type OpenService } from '../../support/nats/openService.ts';
import { Admin, type TestStream } from '../../support/nats/testStream.ts';

/** A server with the bucket and a stream of events, which lasts as long as the test. */
class Scene implements AsyncDisposable {
  readonly records: Records;

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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service[Symbol.asyncDispose]();
    await this.admin[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

const MATCH = { match: 'data.ok' };
const [YES, NO] = ['{"ok":true}', '{"ok":false}'];

describe('The judge of a stream', { concurrency: 2 }, () => {
  test('finds an event that was there before, and the first one of several', async () => {
    await using scene = await Scene.start();
    await scene.events.publish('done', NO, YES, YES);
    await using _replica = await JudgeReplica.start(scene.url);
    await scene.records.add(1, waiting(MATCH));
    const { verdict, event, counts, outputs } = await scene.ending(1);
    assert.deepEqual([verdict, event?.sequence, counts.seen], ['matched', 2, 2]);
    assert.deepEqual([outputs['verdict'], outputs['count'], outputs['sequence']], ['matched', '1', '2']);
  });

  test('finds an event that comes later, for waits that correlation ids tell apart, and counts those of others', async () => {
    await using scene = await Scene.start();
    await using _replica = await JudgeReplica.start(scene.url);
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
});
