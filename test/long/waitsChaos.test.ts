import { test } from 'node:test';
import { chaosSeeds } from '../support/bridge/chaosPlan.ts';
import { runWaitsChaos } from '../support/bridge/waitsChaosCheck.ts';

/** In a small schedule, a fault hits most of the waits at once; in a large one, it hits replicas that are behind. */
const SIZES = [16, 32, 64, 160] as const;

// A failing schedule names its seed: run it again with CHAOS_SEED=<seed>.
test(
  '100 random schedules of 16 to 160 waits end each wait once, as its stream implies',
  { concurrency: 2 },
  async (t) => {
    const schedules = chaosSeeds(100).map((seed) =>
      t.test(`CHAOS_SEED=${seed}`, async (one) => {
        const { late } = await runWaitsChaos(seed, SIZES[seed % SIZES.length]!);
        for (const text of late) one.diagnostic(`told twice, by a process that had stood still: ${text}`);
      }),
    );
    await Promise.all(schedules);
  },
);
