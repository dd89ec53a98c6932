/**
 * Checks what needs no test to run: types, lint, format, the documents and the commit messages, two at a time. What each has
 * to say comes when it ends, and the last line names those that failed.
 * Usage: npm run check
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { ROOT } from './build/manifest.ts';

const bin = (name: string) => path.join('node_modules', name, 'bin');

interface Check {
  /** Its name, and what mends it where a command does. */
  readonly name: string;
  /** Arguments of Node.js. */
  readonly program: readonly string[];
}

const TYPES_AND_LINT: Check = {
  name: 'types and lint',
  program: [path.join(bin('oxlint'), 'oxlint'), '--report-unused-disable-directives'],
};
const OWN_RULES: Check = { name: 'own rules', program: [path.join(bin('eslint'), 'eslint.js'), '.'] };
const FORMAT: Check = {
  name: 'format (npm run format mends it)',
  // Its cache goes by content, and by the version of the tool.
  program: [
    ...[path.join(bin('prettier'), 'prettier.cjs'), '--check', '.'],
    ...['--cache', '--cache-strategy', 'content', '--cache-location', '.cache/prettier.json'],
  ],
};
const DOCUMENTS: Check = {
  name: 'documents (npm run docs writes them)',
  program: ['--import', 'tsx', 'scripts/docs.ts', '--check'],
};
const COMMITS: Check = { name: 'commits', program: ['--import', 'tsx', 'scripts/commits.ts'] };

const failed: string[] = [];
const began = performance.now();
await Promise.all([inOrder(TYPES_AND_LINT, OWN_RULES, DOCUMENTS, COMMITS), inOrder(FORMAT)]);
const seconds = Math.round((performance.now() - began) / 1_000);
if (failed.length === 0) console.log(`Checked in ${seconds} s.`);
else {
  console.error(`Failed after ${seconds} s: ${failed.join(', ')}`);
  process.exitCode = 1;
}

async function inOrder(...checks: readonly Check[]): Promise<void> {
  for (const check of checks) await run(check);
}

/** Runs one check. If it fails, the others still run: every problem is reported at once. */
function run({ name, program }: Check): Promise<void> {
  return new Promise((done) => {
    execFile(process.execPath, program, { cwd: ROOT, maxBuffer: Infinity }, (error, stdout, stderr) => {
      process.stdout.write(stdout + stderr);
      if (error) failed.push(name);
      done();
    });
  });
}
