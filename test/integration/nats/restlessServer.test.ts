import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openBus } from '../../support/nats/openBus.ts';
import { publication, ScriptedServer, STREAM, SUBJECT, type ScriptedLink } from '../../support/nats/scriptedServer.ts';

const WATCHED_MS = 2_000;
/** Four attempts a second at most, and one. */
const MOST_ATTEMPTS = WATCHED_MS / 250 + 1;

test('a server that ends each consumer at once gets a few requests per second for a new one', async () => {
  let consumers = 0;
  await using server = await ScriptedServer.start({
    answer(command, link) {
      const { subject = '', reply = '' } = publication(command) ?? {};
      if (subject.includes('.CONSUMER.CREATE.')) consumers++;
      if (subject.includes('.CONSUMER.DELETE.')) return link.messageTo(reply, 'no JSON, which is no reason to fail');
      if (!subject.includes('.CONSUMER.MSG.NEXT.')) return undefined;
      return link.messageTo(reply, '', { headers: 'NATS/1.0 409 Consumer Deleted\r\n\r\n' });
    },
  });
  await using open = await openBus([server.url]);
  await using reading = await open.read({ subjects: [SUBJECT], stream: STREAM, start: { from: 'now' } });
  await delay(WATCHED_MS);
  assert.deepEqual(reading.seen.failures, []);
  assert.ok(consumers > 2 && consumers <= MOST_ATTEMPTS, `${consumers} consumers in ${WATCHED_MS} ms`);
});

test('a server that ends each link at once is dialled only a few times per second', async () => {
  const pings = new Map<ScriptedLink, number>();
  await using server = await ScriptedServer.start({
    answer({ verb }, link) {
      if (verb !== 'PING') return undefined;
      pings.set(link, (pings.get(link) ?? 0) + 1);
      // The first one ends signing in, the second one follows the subscription.
      if (pings.get(link) === 2) setImmediate(() => link.socket.end());
      return undefined;
    },
  });
  await using open = await openBus([server.url]);
  await using reading = await open.subscribe([SUBJECT]);
  await delay(WATCHED_MS);
  const links = server.links.length;
  assert.deepEqual(reading.seen.failures, []);
  assert.ok(links > 2 && links <= MOST_ATTEMPTS + 1, `${links} links in ${WATCHED_MS} ms`);
});
