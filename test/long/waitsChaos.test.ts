import { test } from 'node:test';
import { chaosSeeds } from '../support/bridge/chaosPlan.ts';
import { runWaitsChaos } from '../support/bridge/waitsChaosCheck.ts';

// A failing schedule names its seed: run it again with CHAOS_SEED=<seed>.
test(
  '100 random schedules of 160 waits end each of them once, as its stream implies',
  { concurrency: 2 },
  async (t) => {
    const schedules = chaosSeeds(100).map((seed) =>
      t.test(`CHAOS_SEED=${seed}`, async (one) => {
        const { late } = await runWaitsChaos(seed, 160);
        for (const text of late) one.diagnostic(`told twice, by a process that had stood still: ${text}`);
      }),
    );
    await Promise.all(schedules);
  },
);
