/**
 * Measures the tasks of the packed .vsix and the packed bridge, each figure against a baseline in the same run.
 * Usage: npm run bench [-- name …] [--long] [--write]
 *   (default: all; --long adds what takes minutes; --write puts the tables into docs/performance.md)
 * Exits with code 1 when a figure misses its target.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { batch } from './bench/batch.ts';
import { bridge } from './bench/bridge.ts';
import { startup } from './bench/startup.ts';
import { isMet, markdownTable, measuredWith, printTable, type Benchmark } from './bench/table.ts';
import { wait } from './bench/wait.ts';
import { ROOT } from './build/manifest.ts';
import { writeSection } from './docs/section.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = { batch, wait, startup, bridge };
const DOCUMENT = path.join(ROOT, 'docs', 'performance.md');

const { values: options, positionals: names } = parseArgs({
  options: {
    long: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const unknown = names.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0)
  throw new Error(`No benchmark ${unknown.join(', ')}. There are: ${Object.keys(BENCHMARKS).join(', ')}.`);

for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.log(`\n${name}: ${benchmark.title}\n`);
  const rows = await benchmark.run(options.long);
  printTable(rows);
  if (!rows.every(isMet)) process.exitCode = 1;
  const details = benchmark.details?.();
  if (details !== undefined) console.log(`\n${details}`);
  const report = [`${benchmark.title}.`, measuredWith(), markdownTable(rows), details ?? ''].join('\n\n');
  if (options.write) await writeSection(DOCUMENT, 'bench', name, report);
}
