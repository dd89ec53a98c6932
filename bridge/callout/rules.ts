import { quoted } from '../../shared/text/safeText.ts';
import type { Identity } from './claims.ts';
import type { Rule } from './policy.ts';
import { Refusal } from './refusal.ts';

/** Why a rule doesn't match, as a clause; undefined where it does. */
export function mismatch(rule: Rule, identity: Identity): string | undefined {
  if (rule.sub !== undefined && !matches(rule.sub, identity.sub)) return `sub is not ${quoted(rule.sub)}`;
  const role = rule.roles.find((one) => !identity.roles.includes(one));
  if (role !== undefined) return `roles lacks ${quoted(role)}`;
  if (rule.groups.length === 0) return undefined;
  const { groups } = identity;
  if (groups === 'tooMany') return TOO_MANY;
  const group = rule.groups.find((one) => !groups.includes(one));
  return group === undefined ? undefined : `groups lacks ${quoted(group)}`;
}

/** Microsoft Entra's limit is 200 groups. */
const TOO_MANY = "the token does not list its bearer's groups: there are too many";

/**
 * The first rule that matches.
 *
 * @throws Refusal when none does, and when a rule asks for groups that the token doesn't list: otherwise a later rule would
 *   decide that wasn't meant to
 */
export function ruleFor(rules: readonly Rule[], identity: Identity): Rule {
  for (const rule of rules) {
    const why = mismatch(rule, identity);
    if (why === undefined) return rule;
    if (why === TOO_MANY)
      throw new Refusal(
        'badClaims',
        `${TOO_MANY}, so ${rule.place} can't be decided: have the application emit only the groups assigned to it, or use roles`,
      );
  }
  throw new Refusal('noRule', 'no rule of the policy matches');
}

/** A `*` in the pattern stands for one part, between slashes. */
function matches(pattern: string, sub: string): boolean {
  const [wanted, parts] = [pattern.split('/'), sub.split('/')];
  return wanted.length === parts.length && wanted.every((want, index) => want === '*' || want === parts[index]);
}
