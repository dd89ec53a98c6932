import { describe, test } from 'node:test';
import { faultSeeds, planSchedule, runSchedule } from '../../support/nats/faultSchedule.ts';
import { startNatsCluster, startNatsServer } from '../../support/nats/natsServer.ts';

// A failing schedule names its seed: run it again with FAULT_SEED=<seed>.
describe('random schedules of events and faults end as the stream says they must', { concurrency: true }, () => {
  test('one server', async (t) => {
    await using server = await startNatsServer();
    const faulty = { servers: [server], leaderOf: () => Promise.resolve(server) };
    for (const seed of faultSeeds(7))
      await t.test(`FAULT_SEED=${seed}`, () => runSchedule(planSchedule(seed, 1), faulty));
  });

  test('a cluster of three', async (t) => {
    await using cluster = await startNatsCluster();
    for (const seed of faultSeeds(3))
      await t.test(`FAULT_SEED=${seed}`, () => runSchedule(planSchedule(seed, 3), cluster));
  });
});
