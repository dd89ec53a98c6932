import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReceivedMessage, SubscriptionEvents } from '../../../../shared/bus.ts';
import type { JetStream } from '../../../../bridge/jetStream/api.ts';
import { OpenWaits, type Known } from '../../../../bridge/waits/openWaits.ts';
import { bucketKey, type WaitRecord, type WaitState } from '../../../../bridge/waits/record.ts';
import { messageOf } from '../../../support/event.ts';
import { WAIT_KEY } from '../../../support/bridge/waitsReceiver.ts';

type Inputs = Readonly<Record<string, string>>;

const OTHER_JOBS = ['11111111', '22222222', '33333333'].map((start) => `${start}-0000-4000-8000-000000000001`);

function recordOf(job: string, inputs: Inputs): WaitRecord {
  const owner = { project: 'p', pipeline: 'web', rule: 0 };
  const call = { planUrl: '', timeline: '', token: 't', inputs, digest: '', owner, planVersion: 13 };
  const state: WaitState = { state: 'waiting', call, start: { stream: 'CI', after: 0 }, acceptedAt: 1, deadline: 2 };
  return { key: { ...WAIT_KEY, job }, planUrl: '', state };
}

/** All known waits when the bucket has these records. */
async function known(records: readonly WaitRecord[]): Promise<Known[]> {
  const byPlace = new Map(records.map((record) => [bucketKey(record.key), record]));
  const messages: ReceivedMessage[] = [...byPlace.keys()].map((place, index) =>
    messageOf('sealed', {}, { subject: `$KV.WAITS.${place}`, place: { stream: 'KV_WAITS', sequence: index + 1 } }),
  );
  const readStream = async (_: unknown, { arrived }: SubscriptionEvents) => {
    arrived({ length: messages.length, take: () => messages.splice(0) });
    return { stream: 'KV_WAITS', stop: () => Promise.resolve() };
  };
  const state = { messages: records.length, last_seq: records.length };
  const waits = new OpenWaits({
    nats: { readStream: readStream },
    jetStream: { stream: () => Promise.resolve({ kind: 'ok', value: { state } }) } as unknown as JetStream,
    store: { open: (place) => byPlace.get(place) },
    ...{ bucket: 'WAITS', retryMs: 1, now: Date.now, pause: () => Promise.resolve() },
    ...{ onUnreadable: (place) => assert.fail(place), onTrouble: (error) => assert.fail(String(error)) },
  });
  const stop = new AbortController();
  const following = waits.follow(stop.signal);
  await waits.upToDate(stop.signal);
  stop.abort();
  await following;
  return [...waits.all];
}

describe('The waits that a replica knows', () => {
  test('share the inputs that they have in common', async () => {
    const inputs = { subject: 'ci.a\nci.>', timeout: '2h' };
    const [one, other, third] = await known([
      recordOf(OTHER_JOBS[0]!, { ...inputs, correlationId: ' r-1 ' }),
      recordOf(OTHER_JOBS[1]!, { ...inputs, correlationId: 'r-2' }),
      recordOf(OTHER_JOBS[2]!, { ...inputs, timeout: '3h' }),
    ]);
    assert.ok(one?.state === 'waiting' && other?.state === 'waiting' && third?.state === 'waiting');
    assert.deepEqual([one.correlationId, other.correlationId, third.correlationId], ['r-1', 'r-2', undefined]);
    assert.equal(one.common, other.common);
    assert.notEqual(one.common, third.common);
    assert.deepEqual(third.common, {
      project: WAIT_KEY.project,
      inputs: { ...inputs, timeout: '3h' },
      subjects: ['ci.>'],
    });
  });
});
