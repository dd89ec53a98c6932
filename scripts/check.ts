/**
 * Checks what needs no test to run: types, lint, format, the documents and the commit messages, two at a time. What each has
 * to say comes when it ends.
 * Usage: npm run check
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { ROOT } from './build/manifest.ts';

const bin = (name: string) => path.join('node_modules', name, 'bin');
// The caches go by content, and by the versions of the tools.
const cached = (name: string) => ['--cache', '--cache-strategy', 'content', '--cache-location', `.cache/${name}.json`];
/** Types, and the rules that need them. */
const TYPES = [path.join(bin('oxlint'), 'oxlint')];
const LINT = [path.join(bin('eslint'), 'eslint.js'), '.', ...cached('eslint')];
const FORMAT = [path.join(bin('prettier'), 'prettier.cjs'), '--check', '.', ...cached('prettier')];
const DOCUMENTS = ['--import', 'tsx', 'scripts/docs.ts', '--check'];
const COMMITS = ['--import', 'tsx', 'scripts/commits.ts'];

const began = performance.now();
await Promise.all([inOrder(TYPES, LINT), inOrder(FORMAT, DOCUMENTS, COMMITS)]);
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
