/**
 * Lints the sources that have changed since the branch left main, committed or not, and fixes what lint can fix. Linting all takes
 * minutes: `npm run check` does it.
 * Usage: npm run lint:changed
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './build/manifest.ts';

const [base = 'HEAD'] = git('merge-base', 'HEAD', 'main');
const changed = [...git('diff', '--name-only', base), ...git('ls-files', '--others', '--exclude-standard')];
const sources = changed.filter((file) => /\.m?ts$/.test(file) && existsSync(path.join(ROOT, file)));
if (sources.length > 0) {
  const eslint = ['node_modules/eslint/bin/eslint.js', '--fix', ...sources];
  process.exitCode = spawnSync(process.execPath, eslint, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
}
console.log(`Linted ${sources.length} changed source(s).`);

/** The lines that Git prints; none when it fails or isn't there. */
function git(...args: readonly string[]): string[] {
  const { status, stdout } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').filter(Boolean) : [];
}
