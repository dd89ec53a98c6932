/**
 * Checks what needs no test to run: types, lint, format, the documents and the commit messages, two at a time. What each has
 * to say comes when it ends.
 * Usage: npm run check
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { ROOT } from './build/manifest.ts';

const bin = (name: string) => path.join('node_modules', name, 'bin');
const TYPES_AND_LINT = [path.join(bin('oxlint'), 'oxlint'), '--report-unused-disable-directives'];
const OWN_RULES = [path.join(bin('eslint'), 'eslint.js'), '.'];
// Its cache goes by content, and by the version of the tool.
const FORMAT = [
  ...[path.join(bin('prettier'), 'prettier.cjs'), '--check', '.'],
  ...['--cache', '--cache-strategy', 'content', '--cache-location', '.cache/prettier.json'],
];
const DOCUMENTS = ['--import', 'tsx', 'scripts/docs.ts', '--check'];
const COMMITS = ['--import', 'tsx', 'scripts/commits.ts'];

const began = performance.now();
await Promise.all([inOrder(TYPES_AND_LINT, OWN_RULES, DOCUMENTS, COMMITS), inOrder(FORMAT)]);
console.log(`Checked in ${Math.round((performance.now() - began) / 1_000)} s.`);

async function inOrder(...programs: readonly (readonly string[])[]): Promise<void> {
  for (const program of programs) await run(program);
}

/** Runs one program. If it fails, so does the check, but the others still run: every problem is reported at once. */
function run(program: readonly string[]): Promise<void> {
  return new Promise((done) => {
    execFile(process.execPath, program, { cwd: ROOT, maxBuffer: Infinity }, (error, stdout, stderr) => {
      process.stdout.write(stdout + stderr);
      if (error) {
        console.error(`Failed: ${program.join(' ')}`);
        process.exitCode = 1;
      }
      done();
    });
  });
}
