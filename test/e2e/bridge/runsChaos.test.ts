import { describe, test } from 'node:test';
import { runChaos } from '../../support/bridge/chaosCheck.ts';
import { chaosSeeds } from '../../support/bridge/chaosPlan.ts';

// A failing schedule names its seed: run it again with CHAOS_SEED=<seed>.
describe('One event starts one run, whatever crashes, stalls or responds badly', () => {
  for (const seed of chaosSeeds(1))
    test(`CHAOS_SEED=${seed}`, async (t) => {
      const { events, runs, late } = await runChaos(seed, 150);
      t.diagnostic(`${events} events, ${runs} runs`);
      for (const one of late) t.diagnostic(`twice, as its request came after a standstill: ${one}`);
    });
});
