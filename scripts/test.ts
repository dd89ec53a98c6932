/**
 * Runs the tests with node's own test runner.
 * Usage: npx tsx scripts/test.ts [--long] [--seed N] [folder or file …]
 * Without a place it runs all kinds, but as `npm run test:only` it asks for one; a folder stands for all *.test.ts below it.
 * `--long` is for the long forms, `--seed` for the hostile tests. The manifest tests look at dist/*.vsix and others run it: if
 * they are among the tests, it is packed first if it is older than what goes into it. All run as bundles, in a folder of this
 * run in .cache; failures name the sources.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from '../localAgent/index.ts';
import type { FamilyCases } from './docs/familyCases.ts';
import { ROOT } from './build/manifest.ts';
import { packIfStale } from './build/stale.ts';
import { bundleTests } from './build/tests.ts';

const HOSTILE = 'test/hostile';
const UNIT = 'test/unit';
const KINDS = [UNIT, 'test/manifest', 'test/integration', 'test/e2e', HOSTILE];
/** The long forms of fault and load tests: `npm run test:long`. */
const LONG = 'test/long';
/** The kinds that need the package. */
const PACKED = ['test/manifest', 'test/e2e', 'test/windows', HOSTILE, LONG].map(
  (kind) => path.join(ROOT, kind) + path.sep,
);
/** No test file may take longer, so that a hanging one ends the run and names itself. */
const FILE_TIMEOUT_MS = 300_000;
const LONG_FILE_TIMEOUT_MS = 3_600_000;
/** On two cores: for nearly half of their time, test files wait for servers and timeouts. The long tests measure, one by one. */
const FILES_AT_ONCE = 3;
/** Unit tests that mock nothing share so many, since most take less time than a process takes to start. */
const UNIT_PROCESSES = 8;

const { values, positionals: given } = parseArgs({
  allowPositionals: true,
  options: { long: { type: 'boolean', default: false }, seed: { type: 'string' } },
});
if (given.length === 0 && process.env['npm_lifecycle_event'] === 'test:only')
  refuse('Usage: npm run test:only -- FILE_OR_FOLDER …\nAll tests: npm test');
const isLong = values.long || given.some((place) => place.startsWith(LONG));
const files = (given.length > 0 ? given : KINDS).flatMap(testFiles);
if (files.length === 0) refuse(`No test file (*.test.ts) in ${given.join(', ')}.`);
if (files.some((file) => PACKED.some((kind) => file.startsWith(kind)))) packIfStale();

const table = path.join(temporaryFolder('hostile-'), 'table.jsonl');
writeFileSync(table, '');
const cache = path.join(ROOT, '.cache');
mkdirSync(cache, { recursive: true });
const bundles = mkdtempSync(path.join(cache, 'tests-'));
process.once('exit', () => {
  rmSync(bundles, { recursive: true, force: true });
});
const bundled = await bundleTests(inProcesses(files), bundles);
const runner = spawn(
  process.execPath,
  [
    ...['--enable-source-maps', '--test', '--test-reporter=spec', `--test-concurrency=${isLong ? 1 : FILES_AT_ONCE}`],
    `--test-timeout=${isLong ? LONG_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS}`,
    ...bundled,
  ],
  {
    cwd: ROOT,
    stdio: 'inherit',
    env: {
      ...process.env,
      HOSTILE_TABLE: table,
      HOSTILE_FORM: isLong ? 'long' : 'short',
      ...(values.seed === undefined ? {} : { HOSTILE_SEED: values.seed }),
    },
  },
);
// When someone ends this, the runner goes first: its bundles are cleared up after it.
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => runner.kill(name));
const [status, signal] = (await once(runner, 'exit')) as [number | null, NodeJS.Signals | null];
const results = readFileSync(table, 'utf8');
if (process.env['HOSTILE_TABLE']) appendFileSync(process.env['HOSTILE_TABLE'], results);
const families = results.split('\n').filter(Boolean);
if (families.length > 0) {
  console.log('\nHostile cases by family:');
  console.table(families.map((line) => JSON.parse(line) as FamilyCases));
}
if (signal) console.error(`The test runner was ended by ${signal}.`);
process.exitCode = status ?? 1;

/** Ends the program as one that was called the wrong way. */
function refuse(problem: string): never {
  console.error(problem);
  process.exit(2);
}

/** The files that run together, for each process. */
function inProcesses(all: readonly string[]): string[][] {
  // What a test mocks, the set-up of another file would meet in the same process.
  const isUnit = (file: string) =>
    file.startsWith(path.join(ROOT, UNIT) + path.sep) && !/\bmock\.(timers|method)\b/.test(readFileSync(file, 'utf8'));
  const units = all.filter(isUnit);
  const shared = Array.from({ length: Math.min(UNIT_PROCESSES, units.length) }, (_, number) =>
    units.filter((_file, index) => index % UNIT_PROCESSES === number),
  );
  return [...shared, ...all.filter((file) => !isUnit(file)).map((file) => [file])];
}

function testFiles(place: string): string[] {
  const absolute = path.resolve(ROOT, place);
  if (!existsSync(absolute)) refuse(`There is no ${place}.`);
  if (statSync(absolute).isFile()) return [absolute];
  return readdirSync(absolute, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .sort()
    .map((file) => path.join(absolute, file));
}
