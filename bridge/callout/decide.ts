import type { Identity } from './claims.ts';
import { grantOf, type Grant } from './grant.ts';
import type { KeySets } from './keySets.ts';
import type { Policy, Rule } from './policy.ts';
import { Refusal } from './refusal.ts';
import { ruleFor } from './rules.ts';
import { verifyToken, type Claimed } from './token.ts';

/** The decision about one token. Texts of the token are foreign. */
export type SignInDecision = {
  /** What the token claims; unverified when it's refused. */
  readonly claimed: Claimed | undefined;
  /** Undefined before the token is verified. */
  readonly identity: Identity | undefined;
} & (
  | { readonly kind: 'granted'; readonly rule: Rule; readonly grant: Grant }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
);

export interface DecideOptions {
  readonly policy: Policy;
  readonly keys: Pick<KeySets, 'keyFor'>;
  readonly maxSessionMs: number;
  /** Account names of operator mode; undefined: in configuration mode the server knows them. */
  readonly accounts: readonly string[] | undefined;
  /** In milliseconds since the epoch. */
  readonly now: number;
}

/** Decides what a token's bearer gets, or why it gets nothing. Never rejects. */
export async function decide(token: string | undefined, options: DecideOptions): Promise<SignInDecision> {
  const { policy, keys, maxSessionMs, accounts, now } = options;
  let claimed: Claimed | undefined;
  let identity: Identity | undefined;
  try {
    const verified = await verifyToken(token, policy, keys, (seen) => (claimed = seen), now);
    identity = verified.identity;
    const rule = ruleFor(verified.issuer.rules, identity);
    const grant = grantOf(rule, identity, Math.floor(now / 1_000), Math.floor(maxSessionMs / 1_000));
    if (accounts?.includes(grant.account) === false)
      throw new Refusal(
        'notConfigured',
        `callout.accounts does not list the account ${grant.account} of ${rule.place}`,
      );
    return { kind: 'granted', rule, grant, claimed, identity };
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal('badToken', 'the token cannot be judged');
    return { kind: 'refused', refusal, claimed, identity };
  }
}
