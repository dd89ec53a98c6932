import { test } from 'node:test';
import { printKills, type Kill } from '../support/batchKill.ts';
import { natsServerBinary } from '../support/natsServer.ts';

const RUNS = 20;
const VERSIONS = ['2.9', '2.10', '2.15'] as const;

for (const of of ['single server', 'leader'] as const) {
  test(`${RUNS} batches of 50,000 lines, each with the ${of} killed at another point`, async () => {
    const kills = Array.from({ length: RUNS }, (_, run): Kill => {
      const version = VERSIONS[run % VERSIONS.length]!;
      return {
        of,
        version,
        binary: natsServerBinary(version),
        at: (run + 0.5) / RUNS,
        downMs: Math.round(Math.random() * 4_000),
      };
    });
    await printKills(kills);
  });
}
