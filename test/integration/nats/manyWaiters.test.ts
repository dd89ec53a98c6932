import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';
import { WaitStep } from '../../support/agent/waitStep.ts';

const WAITERS = 50;

test(`${WAITERS} waits on one stream at once are all matched, each by its own event, and leave no consumer`, async () => {
  await using server = await startNatsServer();
  await using admin = await Admin.connect([server.url]);
  const stream = await admin.stream('CI');
  const steps = Array.from(
    { length: WAITERS },
    (_, index) =>
      new WaitStep([server.url], {
        inputs: { subject: 'CI.done', startFrom: 'now', match: `data == \`${index + 1}\``, timeout: '1m' },
      }),
  );
  await Promise.all(steps.map((step) => step.armed(30_000)));
  assert.equal((await stream.consumers()).length, WAITERS);
  await stream.fill(WAITERS, () => 'done');
  const outcomes = await Promise.all(steps.map((step) => step.outcome));
  assert.deepEqual(
    outcomes.map(({ verdict, deciding }) => [verdict, deciding?.event.place?.sequence]),
    steps.map((_, index) => ['matched', index + 1]),
  );
  assert.deepEqual(await stream.consumers(), []);
});
