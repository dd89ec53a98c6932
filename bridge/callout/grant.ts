import { createHash } from 'node:crypto';
import { safeText, shortened } from '../../shared/text/safeText.ts';
import type { Identity } from './claims.ts';
import type { Placeholder } from './placeholders.ts';
import type { Rule } from './policy.ts';
import { Refusal } from './refusal.ts';

/** What a client gets. */
export interface Grant {
  readonly account: string;
  /** The connection's user name, which appears in all of NATS' own events about it. */
  readonly user: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** In seconds since the epoch: the server then ends the connection. */
  readonly expiresAt: number;
}

/** The account that `setup` reserves for the callout: anyone who gets in there can pose as a server. */
export const CALLOUT_ACCOUNT = 'AUTH';
/** The servers' own accounts, which a placeholder must never produce: anyone may name a project like that. */
const OWN_ACCOUNTS = [CALLOUT_ACCOUNT, 'SYS'];
const MOST_NAME = 256;
const SAFE = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * What a rule grants a bearer.
 *
 * @param nowSeconds since the epoch
 * @throws Refusal when a placeholder stands for something that the token doesn't say
 */
export function grantOf(rule: Rule, identity: Identity, nowSeconds: number, maxSessionSeconds: number): Grant {
  const fill = (text: string) => filled(text, identity, rule);
  const account = fill(rule.account);
  if (account !== rule.account && OWN_ACCOUNTS.includes(account))
    throw new Refusal(
      'badClaims',
      `${rule.account} of ${rule.place} stands for ${account}, an account that belongs to the servers`,
    );
  return {
    account,
    user: safeText(shortened(identity.owner, MOST_NAME)),
    publish: rule.publish.map(fill),
    subscribe: rule.subscribe.map(fill),
    expiresAt: Math.min(
      identity.expiresAt,
      nowSeconds + Math.min(maxSessionSeconds, rule.maxLifetimeSeconds ?? Infinity),
    ),
  };
}

function filled(text: string, { names }: Identity, { place }: Rule): string {
  return text.replace(/\{(\w+)\}/g, (_, placeholder: Placeholder) => {
    const name = names[placeholder];
    if (name === undefined) throw new Refusal('badClaims', `the token has no value for {${placeholder}} of ${place}`);
    return safeToken(name);
  });
}

/**
 * A name as one token of a subject, never the same for two names: a name of letters, digits, `_` and `-` is its own token;
 * any other is reduced to these plus `~` and a part of its SHA-256, which no name of the first kind can contain.
 */
export function safeToken(name: string): string {
  if (SAFE.test(name)) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 24);
  return `${name.slice(0, 40).replace(/[^A-Za-z0-9_-]/g, '-')}~${digest}`;
}

/** To NATS an empty allow list means everything, so "nothing" is written as "everything is denied". */
export function permissionOf(subjects: readonly string[]): { allow: readonly string[] } | { deny: readonly string[] } {
  return subjects.length > 0 ? { allow: subjects } : { deny: ['>'] };
}
