/**
 * Measures the tasks of the packed .vsix, each figure against a baseline in the same run.
 * Usage: npm run bench [-- name …] [--long]    (default: all; --long adds what takes minutes)
 * Ends with exit code 1 when a figure misses what is required of it.
 */
import { batch } from './bench/batch.ts';
import { printTable, type Benchmark } from './bench/table.ts';
import { wait } from './bench/wait.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = { batch, wait };

const given = process.argv.slice(2);
const long = given.includes('--long');
const names = given.filter((name) => name !== '--long');
const unknown = names.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0)
  throw new Error(`No benchmark ${unknown.join(', ')}. There are: ${Object.keys(BENCHMARKS).join(', ')}.`);

for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.log(`\n${name}: ${benchmark.title}\n`);
  if (!printTable(await benchmark.run(long))) process.exitCode = 1;
}
