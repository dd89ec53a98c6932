import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOT_ASKED } from '../../../bridge/azureDevOps/client.ts';
import type { JetStream } from '../../../bridge/jetStream/api.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import { ReadinessProbe } from '../../../bridge/readiness.ts';

test('a stopping bridge says so at once, even if NATS does not answer', async () => {
  const jetStream = { stream: () => new Promise(() => {}) } as unknown as JetStream;
  const sources = {
    jetStream,
    isLinkUp: true,
    streams: ['AZDO'],
    azureDevOpsTrouble: undefined,
    areWaitsKnown: undefined,
  };
  const probe = new ReadinessProbe(() => ({ ...sources, isStopping: true }), new Metrics(), Date.now, 1_000);
  assert.deepEqual(await probe.current(), { status: 'stopping', nats: 'down', streams: {}, azureDevOps: 'ok' });
});

test('a bridge that has not asked Azure DevOps yet is ready, but does not call it ok', async () => {
  const jetStream = { stream: () => Promise.resolve({ kind: 'ok' }) } as unknown as JetStream;
  const readinessWith = async (azureDevOpsTrouble: string | undefined) => {
    const sources = { jetStream, isLinkUp: true, streams: [], areWaitsKnown: undefined, isStopping: false };
    const probe = new ReadinessProbe(() => ({ ...sources, azureDevOpsTrouble }), new Metrics(), Date.now, 1_000);
    const { status, azureDevOps } = await probe.current();
    return [status, azureDevOps];
  };
  assert.deepEqual(await readinessWith(NOT_ASKED), ['ready', 'not asked yet']);
  assert.deepEqual(await readinessWith(undefined), ['ready', 'ok']);
  assert.deepEqual(await readinessWith('status 401'), ['degraded', 'status 401']);
});
