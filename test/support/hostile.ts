import { after } from 'node:test';
import type fc from 'fast-check';

/** What all generated cases are drawn from. */
export const SEED = Number(process.env['HOSTILE_SEED'] ?? 20_260_101);
export const isLong = process.env['HOSTILE_FORM'] === 'long';

/** How many cases to generate in the form that runs. */
export function cases({ short, long }: { readonly short: number; readonly long: number }): number {
  return isLong ? long : short;
}

/** Counts the cases of a family; prints the sum when the file ends. */
export function family(name: string): { tried(count?: number): void } {
  let sum = 0;
  after(() => console.log(`${name}: ${sum} cases, seed ${SEED}`));
  return { tried: (count = 1) => void (sum += count) };
}

export function parameters<T>(runs: number): fc.Parameters<T> {
  return { seed: SEED, numRuns: runs };
}
