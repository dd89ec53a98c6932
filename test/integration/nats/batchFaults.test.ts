import { describe, test } from 'node:test';
import { killInBatch, LINES, type Kill } from '../../support/nats/batchKill.ts';
import { natsServerBinary } from '../../../localAgent/natsServer.ts';

const KILLS = [
  ['single server', '2.9', 0.3, 0],
  ['leader', '2.15', 0.6, 3_000],
] as const;

describe(`a batch of ${LINES} lines loses none, duplicates none and reports each one that is out of order`, () => {
  for (const [of, version, at, downMs] of KILLS) {
    test(`when the ${of} (${version}) is killed after ${at * 100} % and is down for ${downMs} ms`, async (t) => {
      const kill: Kill = { of, version, at, downMs, binary: natsServerBinary(version) };
      t.diagnostic(JSON.stringify(await killInBatch(kill)));
    });
  }
});
