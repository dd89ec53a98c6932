import { afterEach, type TestContext } from 'node:test';
import fc from 'fast-check';
import { noteCases, type FamilyCases } from '../../../scripts/docs/familyCases.ts';
import { isLong } from '../form.ts';

/** The seed of all generated cases: the same seed gives the same cases. */
export const SEED = Number(process.env['HOSTILE_SEED'] || 20_260_701);
if (!Number.isInteger(SEED)) throw new Error('HOSTILE_SEED is not a whole number.');

let failures = 0;
afterEach((context) => {
  if (!(context as TestContext & { readonly passed: boolean }).passed) failures++;
});

/** How many cases this run tries. */
export function cases(counts: { readonly short: number; readonly long: number }): number {
  return isLong ? counts.long : counts.short;
}

/**
 * Counts the cases of a test file's only family: each failed test of the file is a failure of the family. Prints
 * the result when the process ends, and records it.
 */
export function family(name: string): { tried(count?: number): void } {
  let tried = 0;
  process.on('exit', (code) => {
    const result: FamilyCases = {
      family: name,
      cases: tried,
      // A failed hook isn't a failed test, but it shows in the runner's exit code.
      failures: Math.max(failures, code === 0 ? 0 : 1),
      seed: SEED,
      form: isLong ? 'long' : 'short',
      seconds: Math.round(performance.now() / 100) / 10,
    };
    console.log(`hostile: ${name}: ${tried} cases, ${result.failures} failures, seed ${SEED}`);
    noteCases(result);
  });
  return {
    tried: (count = 1) => {
      tried += count;
    },
  };
}

/** For fast-check: this many runs from the seed; a failure reports the smallest failing case. */
export function parameters<T>(runs: number): fc.Parameters<T> {
  return { seed: SEED, numRuns: runs, verbose: fc.VerbosityLevel.Verbose };
}
