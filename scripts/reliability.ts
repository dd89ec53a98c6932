/**
 * Runs the long tests and prints what they have tried. When all of them ran and passed, the table goes into
 * docs/reliability.md.
 * Usage: npm run test:long [-- file …]    (with files, one FAULT_SEED or uncommitted changes, the table is only printed)
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../localAgent/index.ts';
import { natsServerBinary } from '../localAgent/natsServer.ts';
import { ROOT } from './build/manifest.ts';
import { familiesOf, isRecordable, reliabilityTable } from './docs/reliabilityTable.ts';
import { writeSection } from './docs/section.ts';

const DOCUMENT = path.join(ROOT, 'docs', 'reliability.md');
const TESTS = path.join(ROOT, 'scripts', 'test.ts');
const PLACES = ['test/long', 'test/hostile'].filter((place) => existsSync(path.join(ROOT, place)));

const files = process.argv.slice(2);
const commit = execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], { cwd: ROOT, encoding: 'utf8' });
const isWhole = files.length === 0 && !process.env['FAULT_SEED'] && !commit.includes('dirty');
const began = performance.now();
const { status, noted } = runTests(files.length > 0 ? files : PLACES);
const families = familiesOf(noted);
const table = reliabilityTable(families, {
  date: new Date().toISOString().slice(0, 10),
  commit: commit.trim(),
  minutes: Math.ceil((performance.now() - began) / 60_000),
  servers: (['2.9', '2.10', '2.15'] as const).map(serverVersion),
  node: process.versions.node,
});
console.log(`\n${table}\n`);
if (status !== 0) process.exitCode = 1;
else if (isWhole && isRecordable(families)) {
  await writeSection(DOCUMENT, 'reliability', 'latest', table);
  console.log('docs/reliability.md has this table now.');
} else console.log('docs/reliability.md stays as it is: this was not a whole long run of a commit.');

/** Returns the exit code and the lines of what was tried. */
function runTests(places: readonly string[]): { status: number; noted: string } {
  const noting = path.join(temporaryFolder('reliability-'), 'cases.jsonl');
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', TESTS, ...places], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, HOSTILE_TABLE: noting },
  });
  return { status: status ?? 1, noted: existsSync(noting) ? readFileSync(noting, 'utf8') : '' };
}

function serverVersion(line: '2.9' | '2.10' | '2.15'): string {
  const version = execFileSync(natsServerBinary(line), ['--version'], { encoding: 'utf8' });
  return version.replace(/^nats-server: v/, '').trim();
}
