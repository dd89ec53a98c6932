import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { PublicDocuments } from '../azureDevOps/publicDocuments.ts';
import { decide, type SignInDecision } from '../callout/decide.ts';
import { discoveryUrl, KeySets } from '../callout/keySets.ts';
import { newSeed } from '../callout/keys.ts';
import type { Policy } from '../callout/policy.ts';
import { mismatch } from '../callout/rules.ts';
import { decideUnverified } from '../callout/unverified.ts';
import { readSecretFile } from '../config/secrets.ts';
import type { World } from '../world.ts';
import { configurationOf } from './session.ts';

/** The callout command's orders. */
export type CalloutCommand =
  | { readonly kind: 'try'; readonly tokenFile: string }
  /** Writes new keys into a folder. */
  | { readonly kind: 'keys'; readonly folder: string };

/**
 * Tries what a token would get, or makes keys.
 *
 * @returns the exit code: of `try`, 0 when the token gets in
 */
export async function callout(action: CalloutCommand, config: string, world: World): Promise<number> {
  return action.kind === 'keys' ? makeKeys(action.folder, world) : tryToken(action.tokenFile, config, world);
}

async function tryToken(tokenFile: string, config: string, world: World): Promise<number> {
  const { settings } = configurationOf(config, world);
  if (settings.callout === undefined) throw new TaskError('InvalidInput', 'The configuration has no callout');
  const token = readSecretFile(tokenFile);
  if (typeof token !== 'string')
    throw new TaskError('InvalidInput', `The file of --token-file ${token.problem}`, token.remedy);
  const { policy, maxSessionMs, accounts, connection } = settings.callout;
  const documents = new PublicDocuments(connection, settings.timing.keysAnswer);
  try {
    // A person waits longer than a server does.
    const timing = { ...settings.timing, keysWait: 2 * settings.timing.keysAnswer };
    const keys = new KeySets({ documents, timing, now: () => world.now(), onChange: () => {} });
    const options = {
      policy: policy.current,
      maxSessionMs,
      accounts: accounts && [...accounts.keys()],
      now: world.now(),
    };
    const decision = await decide(token.trim(), { ...options, keys });
    const issuer = decision.claimed?.issuer ?? '';
    const isUnreachable =
      decision.kind === 'refused' && decision.refusal.kind === 'noKeys' && keys.state(issuer).fetchedAt === undefined;
    const judged = isUnreachable ? await decideUnverified(token.trim(), options) : undefined;
    for (const line of [
      ...describe(decision),
      ...describeRules(decision, policy.current),
      ...(judged === undefined
        ? []
        : [...describe(judged), ...describeRules(judged, policy.current)].map((line) => `unverified: ${line}`)),
    ])
      world.out(`${safeText(line)}\n`);
    if (isUnreachable)
      world.err(
        `The keys of ${safeText(issuer)} are found at ${safeText(discoveryUrl(issuer).href)}: run this where that can be reached, or check callout.proxy and callout.caFile. Until then, what is unverified holds only if the token's signature is the issuer's.\n`,
      );
    return decision.kind === 'granted' ? 0 : 1;
  } finally {
    await documents.close();
  }
}

function describe(decision: SignInDecision): string[] {
  const { claimed, identity } = decision;
  const who = [
    ...(claimed === undefined ? [] : [`issuer: ${claimed.issuer}`, `sub: ${claimed.sub}`]),
    ...(identity === undefined
      ? []
      : [
          `owner: ${identity.owner}`,
          `roles: ${identity.roles.join(' ') || 'none'}`,
          `groups: ${identity.groups === 'tooMany' ? 'too many for the token' : identity.groups.join(' ') || 'none'}`,
        ]),
  ];
  if (decision.kind === 'refused') return [`denied: ${decision.refusal.message}`, ...who];
  const { rule, grant } = decision;
  return [
    `allowed: by ${rule.place}`,
    ...who,
    `account: ${grant.account}`,
    `user: ${grant.user}`,
    `until: ${new Date(grant.expiresAt * 1_000).toISOString()}`,
    ...listOf('publish', grant.publish),
    ...listOf('subscribe', grant.subscribe),
  ];
}

function listOf(verb: string, subjects: readonly string[]): string[] {
  return subjects.length === 0 ? [`${verb}: nothing`] : subjects.map((subject) => `${verb}: ${subject}`);
}

/** Why each rule of the token's issuer matches or doesn't; none before the token is verified. */
function describeRules(decision: SignInDecision, { issuers }: Policy): string[] {
  const { claimed, identity } = decision;
  if (claimed === undefined || identity === undefined) return [];
  const judged = (issuers.get(claimed.issuer)?.rules ?? []).map((rule) => ({
    place: rule.place,
    mismatch: mismatch(rule, identity),
  }));
  const first = judged.find((rule) => rule.mismatch === undefined);
  const outcome = decision.kind === 'refused' ? `matches, but grants nothing: ${decision.refusal.message}` : 'matches';
  return judged.map((rule) => {
    const match = rule === first ? outcome : `matches, but ${first?.place ?? ''} comes first`;
    return `${rule.place}: ${rule.mismatch ?? match}`;
  });
}

/** Never replaces a key: it may be in use. */
function makeKeys(folder: string, world: World): number {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const made = (['account', 'curve', 'user'] as const).map((kind) => ({ kind, ...newSeed(kind, randomBytes(32)) }));
    for (const { kind, seed } of made)
      writeFileSync(path.join(folder, FILES[kind]), `${seed}\n`, { mode: 0o600, flag: 'wx' });
    for (const { kind, publicKey } of made) world.out(`${FILES[kind]} ${publicKey}\n`);
    return 0;
  } catch (error) {
    const isThere = (error as { code?: string }).code === 'EEXIST';
    throw new TaskError(
      'InvalidInput',
      isThere ? `There are keys in ${folder} already` : `The keys can't be written: ${reasonOf(error)}`,
      isThere ? 'Name another folder.' : '',
    );
  }
}

const FILES = { account: 'issuer.nk', curve: 'xkey.nk', user: 'responder.nk' };
