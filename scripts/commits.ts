/**
 * Fails when a commit message breaks the rules of CONTRIBUTING.md. Merges are exempt, and so are commits from before the
 * rules. A shallow clone may not reach back that far: then only its last commit is checked, and without a history nothing is.
 * Usage: npm run commits
 */
import { spawnSync } from 'node:child_process';
import { ROOT } from './build/manifest.ts';
import { messageProblems } from './release/commitMessage.ts';

/** The last commit without the rules. */
const BEFORE = 'fa02866729c46a4ba5739106351da46c551dc703';

const hasBefore = git('merge-base', '--is-ancestor', BEFORE, 'HEAD') !== undefined;
const isShallow = git('rev-parse', '--is-shallow-repository')?.trim() === 'true';
const range = hasBefore ? [`${BEFORE}..HEAD`] : isShallow ? ['--max-count=1', 'HEAD'] : undefined;
// Each commit ends with a byte that no message has.
const commits =
  range &&
  git('log', '--no-merges', '--format=%h%n%B%x00', ...range)
    ?.split('\0')
    .slice(0, -1);
for (const [hash = '', ...message] of commits?.map((commit) => commit.trim().split('\n')) ?? []) {
  const problems = messageProblems(message.join('\n'));
  if (problems.length === 0) continue;
  console.error(`${hash} ${message[0] ?? ''}: ${problems.join('; ')}`);
  process.exitCode = 1;
}
console.log(commits ? `${commits.length} commit message(s) checked.` : 'No history: no commit message is checked.');

/** What Git prints; undefined when it fails or isn't there. In a container, the repository may be another user's. */
function git(...args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync('git', ['-c', 'safe.directory=*', ...args], { cwd: ROOT, encoding: 'utf8' });
  return status === 0 ? stdout : undefined;
}
