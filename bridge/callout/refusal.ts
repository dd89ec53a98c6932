/** Why someone isn't let in: a clause without the last full stop that quotes nothing from the token except what the caller neutralises. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  /** @param kind one word, used as the metric's label */
  constructor(
    readonly kind: RefusalKind,
    reason: string,
  ) {
    super(reason);
  }
}

export type RefusalKind =
  'noToken' | 'badToken' | 'unknownIssuer' | 'noKeys' | 'noRule' | 'badClaims' | 'notConfigured';
