import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JetStream } from '../../../bridge/jetStream/api.ts';
import { Metrics } from '../../../bridge/metrics.ts';
import { ReadinessProbe } from '../../../bridge/readiness.ts';

test('a bridge that stops says so at once, also while NATS does not answer', async () => {
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
