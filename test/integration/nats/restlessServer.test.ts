import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { HostileServer } from '../../support/hostile/hostileServer.ts';
import { openBus } from '../../support/nats/openBus.ts';

const WATCHED_MS = 2_000;
/** Four attempts a second at most, and one. */
const MOST_ATTEMPTS = WATCHED_MS / 250 + 1;
const INFO = { created: '2026-01-01T00:00:00Z', state: { messages: 0, last_seq: 0 }, config: { retention: 'limits' } };

test('a server that ends each consumer at once is asked for a new one a few times a second', async () => {
  let consumers = 0;
  await using server = await HostileServer.start({
    answer: (subject, reply) => {
      if (subject.includes('.CONSUMER.CREATE.')) consumers++;
      if (subject.includes('.CONSUMER.MSG.NEXT.')) return reply.withHeaders('409 Consumer Deleted', []);
      if (subject.includes('.CONSUMER.DELETE.')) return reply.message('no JSON, which is no reason to fail');
      return reply.message(JSON.stringify({ ...INFO, num_pending: 0, config: {} }));
    },
  });
  await using open = await openBus([server.url]);
  await using reading = await open.read({ subjects: ['ci.v1'], stream: 'CI', start: { from: 'now' } });
  await delay(WATCHED_MS);
  assert.deepEqual(reading.seen.failures, []);
  assert.ok(consumers > 2 && consumers <= MOST_ATTEMPTS, `${consumers} consumers in ${WATCHED_MS} ms`);
});

test('a server that ends each link at once is dialled a few times a second', async () => {
  await using server = await HostileServer.start({ pongs: 2 });
  await using open = await openBus([server.url]);
  await using reading = await open.subscribe(['ci.v1']);
  await delay(WATCHED_MS);
  assert.deepEqual(reading.seen.failures, []);
  assert.ok(server.links > 2 && server.links <= MOST_ATTEMPTS + 1, `${server.links} links in ${WATCHED_MS} ms`);
});
