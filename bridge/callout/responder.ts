import type { ReceivedRequest } from '../../shared/bus.ts';
import type { EventLog } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { CalloutSettings } from '../settings.ts';
import { answerTo } from './answer.ts';
import { decide, type SignInDecision } from './decide.ts';
import type { KeySets } from './keySets.ts';
import type { CurveKey } from './keys.ts';
import type { SignInRecord } from './record.ts';
import { readRequest, type SignInRequest } from './request.ts';
import { Seal } from './seal.ts';

/** The server treats it as a refusal. */
const NOTHING = new Uint8Array();

export interface ResponderOptions {
  readonly settings: CalloutSettings;
  readonly keys: Pick<KeySets, 'keyFor'>;
  readonly record: Pick<SignInRecord, 'note'>;
  readonly metrics: Metrics;
  readonly log: EventLog;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Answers the servers' requests, each by itself. */
export class Responder {
  #seal: { readonly key: CurveKey; readonly seal: Seal } | undefined;

  constructor(private readonly options: ResponderOptions) {}

  /** The answer to one request; empty when it isn't from a server. Never rejects. */
  async answer({ payload, headers, receivedAt }: ReceivedRequest): Promise<Uint8Array> {
    const { metrics, log, now } = this.options;
    try {
      const seal = this.#currentSeal();
      const request = readRequest(payload, headers.get('nats-server-xkey')?.[0] ?? '', seal, now());
      if ('malformed' in request) {
        metrics.calloutSignIns.inc({ outcome: 'malformed' });
        log.warning('signIn', { outcome: 'malformed', reason: request.malformed });
        return NOTHING;
      }
      return await this.#answer(request, seal, receivedAt);
    } catch (error) {
      metrics.calloutSignIns.inc({ outcome: 'failed' });
      // Its message may quote what the client has sent.
      log.error('signIn', { outcome: 'failed', reason: error instanceof Error ? error.name : typeof error });
      return NOTHING;
    }
  }

  async #answer(request: SignInRequest, seal: Seal | undefined, receivedAt: number): Promise<Uint8Array> {
    const { settings, keys, record, metrics, now } = this.options;
    const { accounts, policy, maxSessionMs } = settings;
    const decision: SignInDecision = await decide(request.token, {
      policy: policy.current,
      keys,
      maxSessionMs,
      accounts: accounts && [...accounts.keys()],
      now: now(),
    });
    const grant = decision.kind === 'granted' ? decision.grant : undefined;
    const target = grant && accounts?.get(grant.account)?.();
    const jwt = Buffer.from(answerTo(request, grant, settings.accountKey(), target, Math.floor(now() / 1_000)));
    const answer = seal === undefined || request.serverXkey === undefined ? jwt : seal.seal(jwt, request.serverXkey);
    metrics.calloutSignIns.inc({ outcome: decision.kind === 'granted' ? 'granted' : decision.refusal.kind });
    metrics.calloutSignInTime.observe(Math.max(0, now() - receivedAt) / 1_000);
    record.note(request, decision, receivedAt);
    return answer;
  }

  /** A changed key needs a new shared key with each server. */
  #currentSeal(): Seal | undefined {
    const key = this.options.settings.xkey();
    if (key === undefined) return undefined;
    if (this.#seal?.key !== key) this.#seal = { key, seal: new Seal(key) };
    return this.#seal.seal;
  }
}
