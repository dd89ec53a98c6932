import type { Decision, Decisions } from '../audit/decisions.ts';
import { FloodLimit } from '../audit/floodLimit.ts';
import type { EventLog } from '../log.ts';
import type { SignInDecision } from './decide.ts';
import type { SignInRequest } from './request.ts';

/** How many refusals per client host are reported individually in any minute. */
const MOST_REFUSALS = 120;
/** How many decisions may wait for the audit stream: beyond that it can't keep up, or isn't there. */
const MOST_PENDING = 2_000;

/** Records each sign-in in the log and the audit stream; of a flood of refusals, only how many there were. */
export class SignInRecord {
  readonly #limit: FloodLimit;
  readonly #untold = new Map<string, number>();
  #pending = 0;
  #lost = 0;

  constructor(
    private readonly decisions: Pick<Decisions, 'note'>,
    private readonly log: EventLog,
    now: () => number,
  ) {
    this.#limit = new FloodLimit(MOST_REFUSALS, now);
  }

  note(request: SignInRequest, decision: SignInDecision, receivedAt: number): void {
    const host = request.client.split(' ')[0] ?? '';
    if (decision.kind === 'refused' && this.#limit.take(host) === undefined) {
      this.#untold.set(host, (this.#untold.get(host) ?? 0) + 1);
      return;
    }
    const { claimed, identity } = decision;
    const signIn = {
      server: request.serverName,
      client: request.client,
      ...(request.said === '' ? {} : { clientName: request.said }),
      // Until verified, these are mere claims.
      ...(claimed === undefined
        ? {}
        : identity === undefined
          ? { claimedIssuer: claimed.issuer, claimedSub: claimed.sub }
          : { issuer: claimed.issuer, sub: claimed.sub }),
      ...(identity === undefined ? {} : { owner: identity.owner }),
    };
    if (decision.kind === 'granted') {
      const { rule, grant } = decision;
      const { account, publish, subscribe, expiresAt } = grant;
      const until = new Date(expiresAt * 1_000).toISOString();
      this.log.info('signIn', { outcome: 'granted', ...signIn, rule: rule.place, account, until });
      const followed = { account, publish: publish.join(' '), subscribe: subscribe.join(' '), until };
      this.#audit({ function: 'callout', name: rule.place, decision: 'granted', signIn, followed, receivedAt });
      return;
    }
    const { kind, message: reason } = decision.refusal;
    this.log.warning('signIn', { outcome: 'refused', kind, reason, ...signIn });
    this.#audit({ function: 'callout', name: kind, decision: 'refused', reason, signIn, receivedAt });
  }

  /** Reports the count of what wasn't reported individually. Call it each minute. */
  summarise(): void {
    for (const [client, count] of this.#untold) {
      const reason = `${count} more sign-ins were refused`;
      this.log.warning('signIn', { outcome: 'refused', kind: 'flood', reason, client });
      this.#audit({ function: 'callout', name: 'flood', decision: 'refused', reason, signIn: { client } });
    }
    this.#untold.clear();
    if (this.#lost > 0)
      this.log.error('audit', {
        text: `${this.#lost} decisions about sign-ins are missing from the audit stream, which can't keep up`,
      });
    this.#lost = 0;
  }

  /** Nothing waits for the stream: sign-ins go on without it, and the log says what it lacks. */
  #audit(decision: Decision): void {
    if (this.#pending >= MOST_PENDING) {
      this.#lost++;
      return;
    }
    this.#pending++;
    void this.decisions.note(decision).finally(() => this.#pending--);
  }
}
