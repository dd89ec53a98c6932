import { describe, test } from 'node:test';
import { chaosSeeds } from '../../support/bridge/chaosPlan.ts';
import { runWaitsChaos } from '../../support/bridge/waitsChaosCheck.ts';

// A failing schedule names its seed: run it again with CHAOS_SEED=<seed>.
describe('Each wait ends once, as its stream implies, whatever crashes, stalls or responds badly', () => {
  for (const seed of chaosSeeds(1))
    test(`CHAOS_SEED=${seed}`, async (t) => {
      const { waits, verdicts, late } = await runWaitsChaos(seed, 32);
      t.diagnostic(`${waits} waits: ${JSON.stringify(verdicts)}`);
      for (const one of late) t.diagnostic(`told twice, by a process that had stood still: ${one}`);
    });
});
