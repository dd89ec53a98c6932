/**
 * Runs the tests with node's own test runner.
 * Usage: npx tsx scripts/test.ts [folder or file …]    (default: all kinds; a folder stands for the *.test.ts in it)
 * The manifest tests look at dist/*.vsix and the e2e tests run it: `npm run package` comes first.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './manifest.ts';

const KINDS = ['test/unit', 'test/manifest', 'test/integration', 'test/e2e'];
/** The long forms of fault, load and hostile tests: `npm run test:long`. */
const LONG = 'test/long';
/** No test file may take longer, so that a hanging one ends the run and names itself. */
const FILE_TIMEOUT_MS = 300_000;
const LONG_FILE_TIMEOUT_MS = 3_600_000;

const given = process.argv.slice(2);
const isLong = given.some((place) => place.startsWith(LONG));
const files = (given.length > 0 ? given : KINDS).flatMap(testFiles);
if (files.length === 0) throw new Error('No test file found.');

const { status, signal } = spawnSync(
  process.execPath,
  [
    ...['--import', 'tsx', '--test', '--test-reporter=spec', `--test-concurrency=${isLong ? 1 : 2}`],
    `--test-timeout=${isLong ? LONG_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS}`,
    ...files,
  ],
  { cwd: ROOT, stdio: 'inherit' },
);
if (signal) console.error(`The test runner was ended by ${signal}.`);
process.exitCode = status ?? 1;

function testFiles(place: string): string[] {
  const absolute = path.resolve(ROOT, place);
  if (!existsSync(absolute)) throw new Error(`There is no ${place}.`);
  if (statSync(absolute).isFile()) return [absolute];
  return readdirSync(absolute, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .sort()
    .map((file) => path.join(absolute, file));
}
