import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Audit } from '../../../../scripts/release/audit.ts';
import { readJson, ROOT, type PackageManifest } from '../../../../scripts/build/manifest.ts';
import { changelogEntries, releaseProblems } from '../../../../scripts/release/release.ts';

const PROJECT: PackageManifest = { version: '1.2.0', publisher: 'somebody', license: 'MIT' };
const CHANGELOG = '# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-03-01\n\n### Added\n\n- A thing.\n';
const CLEAN: Audit = { result: 'clean' };

test('a version with publisher, tag, entry in the changelog and a clean audit can be released', () => {
  assert.deepEqual(releaseProblems(PROJECT, 'v1.2.0', CHANGELOG, CLEAN), []);
});

const PROBLEMS: [what: string, problem: RegExp, ...Parameters<typeof releaseProblems>][] = [
  ['another tag', /^the tag is v1\.2\.1, but/, PROJECT, 'v1.2.1', CHANGELOG, CLEAN],
  ['no publisher', /no publisher/, { ...PROJECT, publisher: 'your-publisher-id' }, 'v1.2.0', CHANGELOG, CLEAN],
  ['no entry', /has no entry "## \[1\.2\.0\]/, PROJECT, 'v1.2.0', '## [Unreleased]\n\n- A thing.\n', CLEAN],
  ['an empty entry', /says nothing/, PROJECT, 'v1.2.0', '## [1.2.0] - 2026-03-01\n\n', CLEAN],
  ['no audit', /NOT CHECKED.*offline/, PROJECT, 'v1.2.0', CHANGELOG, { result: 'unknown', reason: 'offline' }],
  ['a weakness', /nats \(low\)/, PROJECT, 'v1.2.0', CHANGELOG, { result: 'vulnerable', packages: ['nats (low)'] }],
];

for (const [what, problem, ...release] of PROBLEMS) {
  test(`${what} keeps a version from being released`, () => {
    const problems = releaseProblems(...release);
    assert.equal(problems.length, 1);
    assert.match(problems[0]!, problem);
  });
}

test('a heading that is no version, or a version without a date, is refused', () => {
  for (const heading of ['1.2.0', '[1.2.0]', '[1.2] - 2026-03-01', '[Unreleased] - 2026-03-01', '[1.2.0] - March']) {
    assert.throws(() => changelogEntries(`## ${heading}\n`), /is neither/, heading);
  }
});

test("the project's own changelog can be read, has one place for what is unreleased and holds each version once", () => {
  const names = changelogEntries(readFileSync(path.join(ROOT, 'CHANGELOG.md'), 'utf8')).map(({ name }) => name);
  assert.equal(names[0], 'Unreleased');
  assert.equal(new Set(names).size, names.length, names.join(', '));
  const { version } = readJson('package.json') as PackageManifest;
  const released = names.slice(1);
  assert.ok(released.length === 0 || released.includes(version) || isHigher(version, released[0]!));
});

function isHigher(version: string, other: string): boolean {
  return version.localeCompare(other, 'en', { numeric: true }) > 0;
}
