import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TaskError } from '../../../shared/errors.ts';
import { NOT_ASKED } from '../../../bridge/azureDevOps/client.ts';
import { Storing } from '../../../bridge/hooks/storing.ts';
import type { JetStream } from '../../../bridge/jetStream/api.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import { ReadinessProbe } from '../../../bridge/readiness.ts';

test('a stopping bridge says so at once, even if NATS does not answer', async () => {
  const jetStream = { stream: () => new Promise(() => {}) } as unknown as JetStream;
  const sources = {
    jetStream,
    isLinkUp: true,
    streams: ['AZDO'],
    hooksTrouble: () => Promise.resolve(undefined),
    azureDevOpsTrouble: undefined,
    areWaitsKnown: undefined,
  };
  const probe = new ReadinessProbe(() => ({ ...sources, isStopping: true }), new Metrics(), Date.now, 1_000);
  assert.deepEqual(await probe.current(), { status: 'stopping', nats: 'down', streams: {}, azureDevOps: 'ok' });
});

test('a bridge that has not asked Azure DevOps yet is ready, but does not call it ok', async () => {
  const jetStream = { stream: () => Promise.resolve({ kind: 'ok' }) } as unknown as JetStream;
  const readinessWith = async (azureDevOpsTrouble: string | undefined) => {
    const hooksTrouble = () => Promise.resolve(undefined);
    const sources = {
      jetStream,
      hooksTrouble,
      isLinkUp: true,
      streams: [],
      areWaitsKnown: undefined,
      isStopping: false,
    };
    const probe = new ReadinessProbe(() => ({ ...sources, azureDevOpsTrouble }), new Metrics(), Date.now, 1_000);
    const { status, azureDevOps } = await probe.current();
    return [status, azureDevOps];
  };
  assert.deepEqual(await readinessWith(NOT_ASKED), ['ready', 'not asked yet']);
  assert.deepEqual(await readinessWith(undefined), ['ready', 'ok']);
  assert.deepEqual(await readinessWith('status 401'), ['degraded', 'status 401']);
});

test('a bridge is not ready after a hook was refused, until one is stored, or might be', async () => {
  let [now, isAllowed] = [0, false];
  let refusal: TaskError | undefined = new TaskError('Denied', 'not allowed');
  const storing = new Storing({
    publisher: {
      publish: () =>
        refusal ? Promise.reject(refusal) : Promise.resolve({ stream: 'AZDO', sequence: 1, duplicate: false }),
    },
    jetStream: {
      mayPublish: (subject) => Promise.resolve(isAllowed ? undefined : { kind: 'denied', verb: 'publish', subject }),
    },
    ...{ askEveryMs: 5, refusedMs: 60, now: () => now },
  });
  const jetStream = { stream: () => Promise.resolve({ kind: 'ok' }) } as unknown as JetStream;
  const hooksTrouble = async () => {
    const problem = await storing.trouble();
    return problem === undefined ? undefined : { stream: 'AZDO', problem };
  };
  const sources = { jetStream, hooksTrouble, isLinkUp: true, streams: ['AZDO'], isStopping: false };
  const other = { azureDevOpsTrouble: undefined, areWaitsKnown: undefined };
  const probe = new ReadinessProbe(
    () => ({ ...sources, ...other }),
    new Metrics(),
    () => now,
    1,
  );
  const state = async (ms: number) => {
    now += ms;
    const { status, streams } = await probe.current();
    return [status, streams['AZDO']];
  };
  const post = () => storing.publish({ subject: 'azdo.x', headers: [], payload: new Uint8Array() }, 1).catch(() => {});
  const denied = ['unavailable', 'no permission to publish to azdo.x'];

  assert.deepEqual(await state(1), ['ready', 'ok']);
  await post();
  assert.deepEqual(await state(1), denied);
  assert.deepEqual(await state(5), denied);
  isAllowed = true;
  assert.deepEqual(await state(4), denied);
  assert.deepEqual(await state(5), ['ready', 'ok']);

  refusal = new TaskError('StreamRefused', 'the stream is full');
  await post();
  assert.deepEqual(await state(1), ['unavailable', 'the stream is full']);
  refusal = undefined;
  await post();
  assert.deepEqual(await state(1), ['ready', 'ok']);
  // Nobody may ask whether it's still full, and without a hook nobody would know.
  refusal = new TaskError('StreamRefused', 'the stream is full');
  await post();
  assert.deepEqual(await state(59), ['unavailable', 'the stream is full']);
  assert.deepEqual(await state(1), ['ready', 'ok']);
  // A link that broke passes.
  refusal = new TaskError('ConnectionLost', 'it broke');
  await post();
  assert.deepEqual(await state(1), ['ready', 'ok']);
});
