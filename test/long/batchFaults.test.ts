import { test } from 'node:test';
import { printKills, type Kill } from '../support/nats/batchKill.ts';
import { noteCases } from '../../scripts/docs/familyCases.ts';
import { faultSeeds, Random } from '../support/nats/faultSchedule.ts';
import { natsServerBinary } from '../../localAgent/natsServer.ts';

const RUNS = 20;
const VERSIONS = ['2.9', '2.10', '2.15'] as const;
/** Run the same kills again with FAULT_SEED=<seed>. */
const [SEED = 0] = faultSeeds(1);

for (const of of ['single server', 'leader'] as const) {
  test(`${RUNS} batches of 50,000 lines, each with the ${of} killed at a different point, FAULT_SEED=${SEED}`, async () => {
    const random = new Random(SEED);
    const kills = Array.from({ length: RUNS }, (_, run): Kill => {
      const version = VERSIONS[run % VERSIONS.length]!;
      return {
        of,
        version,
        binary: natsServerBinary(version),
        at: (run + 0.5) / RUNS,
        downMs: random.upTo(4_000),
      };
    });
    const failures = await printKills(kills);
    noteCases({ family: 'Killed batches', cases: RUNS, failures: failures.length, seed: SEED, form: 'long' });
    if (failures.length > 0) throw new AggregateError(failures, failures.join('\n'));
  });
}
