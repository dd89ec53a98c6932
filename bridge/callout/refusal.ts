/** Why somebody is not let in: a clause without the last full stop, in words that hold nothing of the token but what the caller neutralises. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  /** @param kind one word, which the metric bears */
  constructor(
    readonly kind: RefusalKind,
    reason: string,
  ) {
    super(reason);
  }
}

export type RefusalKind =
  'noToken' | 'badToken' | 'unknownIssuer' | 'noKeys' | 'noRule' | 'badClaims' | 'notConfigured';
