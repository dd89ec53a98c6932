/**
 * Shows that the tests can fail: makes one line of the source worse at a time, in a copy of the tree, and runs the tests
 * that must notice. Fails when they do not, or when a line is not there any more.
 * Usage: npm run test:mutations [-- PART …], where a part is of the name of a mutation
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { transformSync } from 'esbuild';
import { ROOT } from '../../scripts/build/manifest.ts';
import { copyByLinks } from '../support/linkedCopy.ts';
import { fileOf, MUTATIONS, readSources, type Mutation } from './mutations.ts';

/** A mutation may make a test wait for ever. */
const LIMIT_MS = 120_000;
const LEFT_OUT = new Set(['.cache', '.git', 'dist', 'node_modules']);

interface TestRun {
  readonly passed: number;
  readonly failed: number;
}

// On the same file system, so that the installed packages can be linked.
const copy = mkdtempSync(path.join(ROOT, '.cache', 'mutations-'));
process.once('exit', () => rmSync(copy, { recursive: true, force: true }));
for (const name of readdirSync(ROOT).filter((entry) => !LEFT_OUT.has(entry)))
  cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
copyByLinks(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
mkdirSync(path.join(copy, '.cache'));
symlinkSync(path.join(ROOT, '.cache', 'nats-server'), path.join(copy, '.cache', 'nats-server'));

const sources = readSources(ROOT);

function node(args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', ...args], {
    cwd: copy,
    encoding: 'utf8',
    timeout: LIMIT_MS,
    maxBuffer: 256 * 1_024 * 1_024,
    // Not that of a test this may run in.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, HOSTILE_TABLE: undefined, HOSTILE_FORM: 'short' },
  });
  return stdout + stderr;
}

function runTests({ files, pattern, packed }: Mutation['tests']): TestRun {
  if (packed) node(['scripts/package.ts']);
  const only = pattern === undefined ? [] : [`--test-name-pattern=${pattern}`];
  const report = node(['--test', '--test-reporter=tap', ...only, `--test-timeout=${LIMIT_MS / 2}`, ...files]);
  const count = (of: string): number => Number(new RegExp(`^# ${of} (\\d+)$`, 'm').exec(report)?.[1] ?? '0');
  return { passed: count('pass'), failed: count('fail') + count('cancelled') };
}

/** The tests must pass without the mutation, or they would notice anything. */
const unmutated = new Map<string, boolean>();
function passUnmutated({ tests }: Mutation): boolean {
  const key = JSON.stringify(tests);
  const known = unmutated.get(key);
  if (known !== undefined) return known;
  const { passed, failed } = runTests(tests);
  unmutated.set(key, passed > 0 && failed === 0);
  return passed > 0 && failed === 0;
}

function outcomeOf(mutation: Mutation): string {
  const { line, becomes, tests } = mutation;
  const file = fileOf(mutation, sources);
  if (file === undefined) return 'LINE NOT FOUND ONCE';
  const source = sources.get(file) ?? '';
  if (!passUnmutated(mutation)) return 'TESTS FAIL WITHOUT IT';
  const mutated = source.replace(line, () => becomes);
  // A file that cannot be read at all would be noticed by any test.
  transformSync(mutated, { loader: 'ts' });
  writeFileSync(path.join(copy, file), mutated);
  try {
    return runTests(tests).failed > 0 ? 'noticed' : 'SURVIVED';
  } finally {
    writeFileSync(path.join(copy, file), source);
  }
}

const parts = process.argv.slice(2);
const chosen = MUTATIONS.filter(({ what }) => parts.length === 0 || parts.some((part) => what.includes(part)));
if (chosen.length === 0) throw new Error(`No mutation is called ${parts.join(' or ')}.`);

const rows = chosen.map((mutation) => {
  const began = performance.now();
  const outcome = outcomeOf(mutation);
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  console.log(`${outcome.padEnd(22)} ${mutation.what}`);
  return {
    mutation: mutation.what,
    file: fileOf(mutation, sources),
    tests: mutation.tests.files.join(' '),
    outcome,
    seconds,
  };
});
console.table(rows);
const bad = rows.filter(({ outcome }) => outcome !== 'noticed');
if (bad.length > 0) console.error(`${bad.length} of ${rows.length} mutations were not noticed as they must be.`);
process.exitCode = bad.length > 0 ? 1 : 0;
