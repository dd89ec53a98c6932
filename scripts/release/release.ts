import type { Audit } from './audit.ts';
import { describeAudit } from './audit.ts';
import type { PackageManifest } from '../build/manifest.ts';

/** A publisher of this name is nobody: package.json has it until there is one. */
const PLACEHOLDER = 'your-publisher-id';

/**
 * What keeps a version from being released; empty when nothing does.
 * @param tag the Git tag of the commit, `v1.2.3`
 * @param changelog the text of CHANGELOG.md
 */
export function releaseProblems(project: PackageManifest, tag: string, changelog: string, audit: Audit): string[] {
  const { version, publisher } = project;
  const problems: string[] = [];
  if (tag !== `v${version}`) problems.push(`the tag is ${tag}, but package.json has the version ${version}`);
  if (publisher === PLACEHOLDER) problems.push(`package.json names no publisher yet, but ${PLACEHOLDER}`);
  const entry = changelogEntries(changelog).find(({ name }) => name === version);
  if (entry === undefined) problems.push(`CHANGELOG.md has no entry "## [${version}] - <date>"`);
  else if (entry.text === '') problems.push(`CHANGELOG.md says nothing about ${version}`);
  if (audit.result !== 'clean') problems.push(describeAudit(audit));
  return problems;
}

export interface ChangelogEntry {
  /** A version, or `Unreleased`. */
  readonly name: string;
  /** `2026-01-31`; absent of what is unreleased. */
  readonly date: string | undefined;
  /** What it says, without its heading. */
  readonly text: string;
}

/**
 * The entries of a changelog in the format of Keep a Changelog 1.1.0, newest first.
 * @throws when a heading of the second level is neither `## [Unreleased]` nor `## [1.2.3] - 2026-01-31`
 */
export function changelogEntries(changelog: string): ChangelogEntry[] {
  const [, ...sections] = changelog.split(/^## /m);
  return sections.map((section) => {
    const [heading = '', ...lines] = section.split('\n');
    const [, name, date] = /^\[(Unreleased|\d+\.\d+\.\d+)\](?: - (\d{4}-\d\d-\d\d))?$/.exec(heading) ?? [];
    if (name === undefined || (name === 'Unreleased') !== (date === undefined)) {
      throw new Error(`CHANGELOG.md: "## ${heading}" is neither "## [Unreleased]" nor "## [1.2.3] - 2026-01-31".`);
    }
    return { name, date, text: lines.join('\n').trim() };
  });
}
