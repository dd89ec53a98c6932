import { describe, test, type TestContext } from 'node:test';
import { noteCases } from '../../scripts/docs/familyCases.ts';
import { faultSeeds, planSchedule, runSchedule, type FaultyServers } from '../support/nats/faultSchedule.ts';
import { natsServerBinary, startNatsCluster, startNatsServer } from '../support/nats/natsServer.ts';

// A failing schedule names its seed: run it again with FAULT_SEED=<seed>.
describe('100 random schedules of events and faults end as the stream implies', { concurrency: 2 }, () => {
  for (const line of ['2.9', '2.10', '2.15'] as const) {
    test(`one nats-server ${line}`, async (t) => {
      await using server = await startNatsServer({ binary: natsServerBinary(line) });
      await runSchedules(t, { servers: [server], leaderOf: () => Promise.resolve(server) });
    });
  }

  for (const line of ['2.9', '2.15'] as const) {
    test(`a cluster of three nats-server ${line}`, async (t) => {
      await using cluster = await startNatsCluster({ binary: natsServerBinary(line) });
      await runSchedules(t, cluster);
    });
  }
});

async function runSchedules(t: TestContext, faulty: FaultyServers): Promise<void> {
  const seeds = faultSeeds(20);
  let failures = seeds.length;
  for (const seed of seeds) {
    await t.test(`FAULT_SEED=${seed}`, async () => {
      await runSchedule(planSchedule(seed, faulty.servers.length), faulty);
      failures--;
    });
  }
  const seed = `${seeds[0]} to ${seeds.at(-1)}`;
  noteCases({ family: 'Fault schedules', cases: seeds.length, failures, seed, form: 'long' });
}
