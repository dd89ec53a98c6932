import { test } from 'node:test';
import { runChaos } from '../support/bridge/chaosCheck.ts';
import { chaosSeeds } from '../support/bridge/chaosPlan.ts';

// A failing schedule names its seed: run it again with CHAOS_SEED=<seed>.
test('100 random schedules of 500 events start one run per event and route', { concurrency: 2 }, async (t) => {
  const seeds = chaosSeeds(100);
  const schedules = seeds.map((seed) =>
    t.test(`CHAOS_SEED=${seed}`, async (one) => {
      const { late } = await runChaos(seed, 500);
      for (const text of late) one.diagnostic(`twice, as its request came after a standstill: ${text}`);
    }),
  );
  await Promise.all(schedules);
});
