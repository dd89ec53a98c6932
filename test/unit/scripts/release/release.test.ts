import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readJson, ROOT, type PackageManifest } from '../../../../scripts/build/manifest.ts';
import { changelogEntries, releaseProblems, type ReleaseCandidate } from '../../../../scripts/release/release.ts';

const PROJECT: PackageManifest = {
  version: '1.2.0',
  publisher: 'somebody',
  license: 'MIT',
  repository: { type: 'git', url: 'git+https://github.com/owner/name.git' },
  bugs: { url: 'https://github.com/owner/name/issues' },
};
const READY: ReleaseCandidate = {
  project: PROJECT,
  tag: 'v1.2.0',
  changelog: '# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-03-01\n\n### Added\n\n- A thing.\n',
  listing:
    "# Tasks\n\nThis project isn't affiliated with NATS or\nMicrosoft. Their names are trademarks of their owners.\n",
  audit: { result: 'clean' },
};

test('a version with publisher, addresses, tag, entry in the changelog and a clean audit can be released', () => {
  assert.deepEqual(releaseProblems(READY), []);
});

const PROBLEMS: [what: string, problem: RegExp, change: Partial<ReleaseCandidate>][] = [
  ['another tag', /^the tag is v1\.2\.1, but/, { tag: 'v1.2.1' }],
  ['the placeholder of a publisher', /no publisher/, { project: { ...PROJECT, publisher: 'your-publisher-id' } }],
  ['an empty publisher', /no publisher/, { project: { ...PROJECT, publisher: '' } }],
  ['no repository', /no repository/, { project: without('repository') }],
  [
    'a repository without a page',
    /no repository/,
    { project: { ...PROJECT, repository: { type: 'git', url: 'owner/name' } } },
  ],
  [
    'a repository without an address of the web',
    /no repository/,
    { project: { ...PROJECT, repository: { type: 'git', url: 'ssh://git@github.com/owner/name.git' } } },
  ],
  ['no place to report problems', /bugs\.url/, { project: without('bugs') }],
  ['only a mail address to report them to', /bugs\.url/, { project: { ...PROJECT, bugs: { email: 'a@b.example' } } }],
  ['a listing that is silent on trademarks', /trademarks/, { listing: '# Tasks\n\nNATS is a trademark.\n' }],
  ['no entry', /has no entry "## \[1\.2\.0\]/, { changelog: '## [Unreleased]\n\n- A thing.\n' }],
  ['an empty entry', /says nothing/, { changelog: '## [1.2.0] - 2026-03-01\n\n' }],
  ['no audit', /NOT CHECKED.*offline/, { audit: { result: 'unknown', reason: 'offline' } }],
  ['a weakness', /nats \(low\)/, { audit: { result: 'vulnerable', packages: ['nats (low)'] } }],
];

for (const [what, problem, change] of PROBLEMS) {
  test(`${what} keeps a version from being released`, () => {
    const problems = releaseProblems({ ...READY, ...change });
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.match(problems[0]!, problem);
  });
}

function without(address: 'repository' | 'bugs'): PackageManifest {
  return Object.fromEntries(Object.entries(PROJECT).filter(([name]) => name !== address)) as unknown as PackageManifest;
}

test("a heading that isn't a version, or a version without a date, is refused", () => {
  for (const heading of ['1.2.0', '[1.2.0]', '[1.2] - 2026-03-01', '[Unreleased] - 2026-03-01', '[1.2.0] - March']) {
    assert.throws(() => changelogEntries(`## ${heading}\n`), /is neither/, heading);
  }
});

test("the project's changelog parses, and has an Unreleased section and each version once", () => {
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
