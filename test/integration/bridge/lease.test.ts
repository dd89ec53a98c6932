import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, test } from 'node:test';
import { Lease } from '../../../bridge/jetStream/lease.ts';
import { natsServerBinary, startNatsServer } from '../../support/nats/natsServer.ts';
import { openService, until, type OpenService } from '../../support/nats/openService.ts';
import { Admin } from '../../support/nats/testStream.ts';

const RENEW = 100;
const STALE = 1_000;

/** A candidate for the lease of a bucket; resolves once it was told to stop and has. */
function candidate({ bus }: OpenService, holder: string) {
  const stop = new AbortController();
  const seen = { working: false, began: 0 };
  const troubles: unknown[] = [];
  const pause = (ms: number, signal: AbortSignal) => delay(ms, undefined, { signal }).catch(() => undefined);
  const lease = new Lease({
    ...{ bucket: bus.keyValue('LEASES'), key: 'lease.x', holder, renewMs: RENEW, staleMs: STALE },
    ...{ now: Date.now, pause, onTrouble: (error: unknown) => void troubles.push(error) },
  });
  const running = lease.run(stop.signal, async (held) => {
    seen.began++;
    seen.working = true;
    await new Promise<void>((resolve) => held.addEventListener('abort', () => resolve(), { once: true }));
    seen.working = false;
  });
  return {
    ...{ lease, seen, troubles },
    stop: () => {
      stop.abort();
      return running;
    },
  };
}

for (const line of ['2.9', '2.10', '2.15'] as const)
  describe(`A lease on nats-server ${line}`, () => {
    test('has one holder at a time, can be handed over, and survives a server that hangs', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      await admin.connection.jetstream().views.kv('LEASES');
      await using first = await openService(server.url);
      await using second = await openService(server.url);
      const [one, other] = [candidate(first, 'one'), candidate(second, 'other')];
      try {
        await until(() => one.seen.working !== other.seen.working, 'one of them works');
        const [holder, next] = one.seen.working ? [one, other] : [other, one];
        await until(() => next.lease.holder === holder.lease.holder, 'the other one knows whose it is');
        assert.equal(next.seen.began, 0);

        const stopped = Date.now();
        await holder.stop();
        await until(() => next.seen.working, 'it is handed over');
        assert.ok(Date.now() - stopped < STALE, 'the lease was handed over only once it was stale');

        await server.pause();
        await until(() => !next.seen.working, 'the holder hears that it is lost');
        assert.equal(next.lease.isHeld, false);
        server.resume();
        await until(() => next.seen.working, 'it is held again');
        assert.equal(next.troubles.at(-1), undefined);
      } finally {
        await Promise.all([one.stop(), other.stop()]);
      }
      const kv = await admin.connection.jetstream().views.kv('LEASES');
      assert.equal((await kv.get('lease.x'))?.string(), '{"holder":""}');
    });

    test('is taken over from a process that died', async () => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await using admin = await Admin.connect([server.url]);
      const kv = await admin.connection.jetstream().views.kv('LEASES');
      await kv.create('lease.x', '{"holder":"gone"}');
      await using service = await openService(server.url);
      const began = Date.now();
      const one = candidate(service, 'one');
      await until(() => one.seen.working, 'it is taken over');
      const took = Date.now() - began;
      assert.ok(took >= STALE - 5, `it was taken after ${took} ms`);
      await one.stop();
    });
  });
