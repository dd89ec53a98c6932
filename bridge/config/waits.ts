import path from 'node:path';
import { subjectProblem, withoutCovered } from '../../shared/subject.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { WaitRule, WaitsSettings, WaitToken } from '../settings.ts';
import { NO_ORGANIZATION, organizationOf } from './azureDevOps.ts';
import type { Reading } from './secrets.ts';
import type { Section } from './section.ts';
import { shown } from './shown.ts';
import { readUrls } from './urls.ts';

const HOUR_MS = 3_600_000;
/** Job tokens live for 48 hours at most. */
const MOST_WAIT_MS = 47 * HOUR_MS;
const KEY_BYTES = 32;

/** Reads `waits`. */
export function readWaits(section: Section): WaitsSettings {
  requireOne(section, 'organizations', ['organizations'], 'no task could wait without an organization');
  requireOne(section, 'tokenFiles', ['tokenFiles', 'tokenEnvs'], 'nobody could sign in without a token');
  requireOne(section, 'sealingKeyFiles', ['sealingKeyFiles', 'sealingKeyEnvs'], 'waits are stored sealed only');
  const tokens = readTokens(section);
  // Also those that can't be used, whose own problem is noted.
  const tokenNames = ['tokenFiles', 'tokenEnvs']
    .flatMap((key) => section.texts(key))
    .map((given) => path.basename(given));
  const issuers = readIssuers(section);
  const rules = section.sections('rules').map((rule) => readRule(rule, tokenNames));
  const needsIssuer = rules.findIndex(({ proof }) => proof === 'job');
  if (needsIssuer >= 0 && section.texts('issuers').length === 0)
    section.note(
      'issuers',
      `is required for rules[${needsIssuer}], whose proof is job`,
      'Write https://vstoken.dev.azure.com/ and the ID of the organization.',
    );
  return {
    organizations: readOrganizations(section),
    tokens,
    sealingKeys: section.parsedSecrets('sealingKey', parseKey).map(({ secret }) => secret),
    issuers,
    rules,
    maxWaitMs: readMaxWait(section),
  };
}

function requireOne(section: Section, name: string, keys: readonly string[], because: string): void {
  if (keys.every((key) => section.texts(key).length === 0)) section.note(name, `is required: ${because}`);
}

function readOrganizations(section: Section): string[] {
  const read = readUrls(section, 'organizations').flatMap(({ url, index }) => {
    const organization = organizationOf(url)?.organization;
    if (organization !== undefined) return [organization];
    section.noteItem('organizations', index, `${shown(url.href)} ${NO_ORGANIZATION[0]}`, NO_ORGANIZATION[1]);
    return [];
  });
  return [...new Set(read)];
}

/** Tokens must name their issuer exactly, so it's kept as written. */
function readIssuers(section: Section): string[] {
  const texts = section.texts('issuers');
  for (const { url, index } of readUrls(section, 'issuers'))
    if (url.search !== '' || url.hash !== '' || url.href.endsWith('/'))
      section.noteItem(
        'issuers',
        index,
        `${shown(url.href)} is not an issuer`,
        'Write it like https://vstoken.dev.azure.com/00000000-0000-0000-0000-000000000000.',
      );
  return texts;
}

function readTokens(section: Section): WaitToken[] {
  const first = new Map<string, string>();
  return section.parsedSecrets('token', parseToken).map(({ given, secret, place: [key, index] }) => {
    const name = path.basename(given);
    const earlier = first.get(name);
    if (earlier === undefined)
      first.set(name, `${key}[${index}] (line ${section.surroundings.lineOf([...section.path, key, index])})`);
    else
      section.noteItem(
        key,
        index,
        `has the name of ${earlier}, ${quoted(name)}`,
        'Rename the newer of the two: the rules name tokens by it.',
      );
    return {
      name,
      label: secret.label,
      get value() {
        return secret.value;
      },
    };
  });
}

function parseToken(text: string): Reading<string> {
  if (/^[\x21-\x7e]+$/.test(text)) return { value: text };
  return {
    problem: 'holds white space or other characters that no HTTP header can carry',
    remedy: 'Use a long random text of letters and digits, on one line.',
  };
}

function parseKey(text: string): Reading<Uint8Array> {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === KEY_BYTES && /^[A-Za-z0-9+/]+={0,2}$/.test(text)) return { value: bytes };
  return {
    problem: `doesn't hold ${KEY_BYTES} bytes in base64`,
    remedy: `Make a key: openssl rand -base64 ${KEY_BYTES}.`,
  };
}

function readRule(section: Section, tokens: readonly string[]): WaitRule {
  const subjects = section.texts('subjects');
  for (const [index, subject] of subjects.entries()) {
    const problem = subjectProblem(subject, 'pattern');
    if (problem !== undefined) section.noteItem('subjects', index, `${quoted(subject)} ${problem}`);
  }
  const names = section.texts('tokens');
  for (const [index, name] of names.entries())
    if (!tokens.includes(name))
      section.noteItem(
        'tokens',
        index,
        `${quoted(name)} is not the name of a token`,
        tokens.length === 0 ? '' : `There are ${tokens.join(', ')}.`,
      );
  return {
    projects: section.texts('projects'),
    pipelines: section.texts('pipelines'),
    subjects: withoutCovered(subjects),
    tokens: names,
    proof: section.text('proof') === 'job' ? 'job' : 'plan',
    maxOpen: section.number('maxOpen', 200),
  };
}

/** The limit is in hours, and so are messages about it. */
function readMaxWait(section: Section): number {
  const ms = section.duration('maxWait', 24 * HOUR_MS, 20 * 24 * HOUR_MS);
  if (ms <= MOST_WAIT_MS) return ms;
  section.note('maxWait', `${quoted(section.text('maxWait') ?? '')} is longer than 47h`, 'Job tokens live no longer.');
  return MOST_WAIT_MS;
}
