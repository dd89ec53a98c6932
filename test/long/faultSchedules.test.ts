import { describe, test } from 'node:test';
import { faultSeeds, planSchedule, runSchedule } from '../support/faultSchedule.ts';
import { natsServerBinary, startNatsCluster, startNatsServer } from '../support/natsServer.ts';

// A failing schedule names its seed: run it again with FAULT_SEED=<seed>.
describe('100 random schedules of events and faults end as the stream says they must', { concurrency: 2 }, () => {
  for (const line of ['2.9', '2.10', '2.15'] as const) {
    test(`one nats-server ${line}`, async (t) => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      const faulty = { servers: [server], leaderOf: () => Promise.resolve(server) };
      for (const seed of faultSeeds(20))
        await t.test(`FAULT_SEED=${seed}`, () => runSchedule(planSchedule(seed, 1), faulty));
    });
  }

  for (const line of ['2.9', '2.15'] as const) {
    test(`a cluster of three nats-server ${line}`, async (t) => {
      await using cluster = await startNatsCluster({ binary: natsServerBinary(line) });
      for (const seed of faultSeeds(20))
        await t.test(`FAULT_SEED=${seed}`, () => runSchedule(planSchedule(seed, 3), cluster));
    });
  }
});
