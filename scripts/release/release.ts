import { NO_PUBLISHER, repositoryPage } from '../build/channels.ts';
import type { PackageManifest } from '../build/manifest.ts';
import { describeAudit, type Audit } from './audit.ts';

/** What the listing has to say, so that nobody takes the extension for one of those whose names it bears. */
const AFFILIATION = /\bisn't affiliated with\b[^.]*\. [^.]*\btrademarks of\b/;

/** What a version is judged by. */
export interface ReleaseCandidate {
  readonly project: PackageManifest;
  /** The Git tag of the commit, `v1.2.3`. */
  readonly tag: string;
  /** The text of CHANGELOG.md. */
  readonly changelog: string;
  /** The packed page of the Marketplace, as Markdown. */
  readonly listing: string;
  readonly audit: Audit;
}

/** What keeps a version from being released; empty when nothing does. */
export function releaseProblems({ project, tag, changelog, listing, audit }: ReleaseCandidate): string[] {
  const { version, publisher, bugs } = project;
  const entry = changelogEntries(changelog).find(({ name }) => name === version);
  return [
    ...(tag === `v${version}` ? [] : [`the tag is ${tag}, but package.json has the version ${version}`]),
    ...(publisher && publisher !== NO_PUBLISHER ? [] : [`package.json names no publisher yet, but "${publisher}"`]),
    ...(isPage(repositoryPage(project))
      ? []
      : ['package.json has no repository with an https:// address, to which the links of the listing lead']),
    ...(isPage(bugs?.url) ? [] : ['package.json has no https:// address in bugs.url, where users report problems']),
    ...(AFFILIATION.test(listing.replaceAll(/\s+/g, ' '))
      ? []
      : ["README.md doesn't say whose trademarks it names, and that it isn't affiliated with their owners"]),
    ...(entry === undefined
      ? [`CHANGELOG.md has no entry "## [${version}] - <date>"`]
      : entry.text === ''
        ? [`CHANGELOG.md says nothing about ${version}`]
        : []),
    ...(audit.result === 'clean' ? [] : [describeAudit(audit)]),
  ];
}

function isPage(address: string | undefined): boolean {
  return address !== undefined && URL.canParse(address) && new URL(address).protocol === 'https:';
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
