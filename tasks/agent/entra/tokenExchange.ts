import { setTimeout as delay } from 'node:timers/promises';
import { TaskError, type ErrorCode } from '../../../shared/errors.ts';
import { parseObject } from '../../../shared/text/json.ts';
import { logLine } from '../../../shared/text/logLine.ts';
import type { Agent } from '../agent.ts';
import { sendText, type HttpAnswer, type HttpRoute } from '../http.ts';
import { noAnswer } from '../noAnswer.ts';
import { obtainIdToken, type IdToken, type IdTokenRequest } from '../oidc.ts';
import type { IssuedToken } from '../renewedToken.ts';
import { maskToken } from '../secrets.ts';
import type { EntraApplication } from './application.ts';
import { refusalOf } from './refusal.ts';

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** How long an authority that has a fault is asked again: as long as a NATS server at the first connection. */
const TRY_MS = 30_000;
const ATTEMPT_MS = 8_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;

/** Exchanges ID tokens of the run for access tokens of an application (OAuth 2.0 client credentials with an assertion, RFC 7523). */
export class TokenExchange {
  /** Until when the authority asked us to back off, by the agent's clock, and what it said. */
  #busy: { readonly until: number; readonly fault: TaskError } | undefined;

  constructor(
    private readonly application: EntraApplication,
    private readonly route: HttpRoute,
    private readonly request: IdTokenRequest,
    private readonly agent: Agent,
  ) {}

  /**
   * A new access token for a new ID token. Retries faults for half a minute.
   *
   * @throws TaskError `Unreachable` when asking again later may help; otherwise `Denied`, `TlsFailure` or `Unsupported`
   */
  async obtain(signal: AbortSignal, onFault: (fault: TaskError) => void): Promise<IssuedToken> {
    const giveUpAt = this.agent.now() + TRY_MS;
    if (this.#busy !== undefined && this.#busy.until > giveUpAt) throw this.#busy.fault;
    const idToken = await obtainIdToken(this.request, this.agent, signal, onFault);
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      await this.#untilWelcome(signal);
      try {
        return await this.#exchange(idToken, signal);
      } catch (error) {
        signal.throwIfAborted();
        const again = Math.max(this.agent.now() + pause, this.#busy?.until ?? 0);
        if (!(error instanceof TaskError) || error.code !== 'Unreachable' || again > giveUpAt) throw error;
        onFault(error);
        await sleep(again - this.agent.now(), signal);
      }
    }
  }

  async #untilWelcome(signal: AbortSignal): Promise<void> {
    const left = (this.#busy?.until ?? 0) - this.agent.now();
    if (left > 0) await sleep(left, signal);
    this.#busy = undefined;
  }

  async #exchange(idToken: IdToken, signal: AbortSignal): Promise<IssuedToken> {
    const answer = await this.#ask(idToken.text, signal);
    const body = parseObject(answer.body);
    const text = body?.['access_token'];
    if (typeof text === 'string') maskToken(this.agent, text);
    const { host } = this.application.tokenUrl;
    if (answer.status !== 200 || body === undefined || body['error'] !== undefined) {
      const { code, problem, remedy } = refusalOf(answer, body, this.application, idToken.claims);
      const fault = noToken(code, `${host} ${problem}`, remedy);
      if (answer.retryAfterMs !== undefined) this.#busy = { until: this.agent.now() + answer.retryAfterMs, fault };
      throw fault;
    }
    const seconds = body['expires_in'];
    const isToken = typeof text === 'string' && /^[\x21-\x7e]+$/.test(text);
    if (!isToken || typeof seconds !== 'number' || !(seconds > 0)) {
      const missing = isToken ? 'expires_in above 0' : 'access_token';
      const remedy =
        'Check entraAuthority in the connection: what answers there is not the token endpoint of Microsoft Entra.';
      throw noToken('Unsupported', `the answer of ${host} holds no ${missing}`, remedy);
    }
    const line = logLine('accessToken', { ...toldBy(text), lifetimeS: Math.round(seconds) });
    return { text, lifetimeMs: seconds * 1_000, lines: [...idToken.lines, line] };
  }

  async #ask(assertion: string, signal: AbortSignal): Promise<HttpAnswer> {
    const { clientId, scope, tokenUrl } = this.application;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_assertion_type: ASSERTION_TYPE,
      client_assertion: assertion,
      scope,
    });
    const timeout = AbortSignal.timeout(ATTEMPT_MS);
    try {
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return await sendText('POST', tokenUrl, this.route, headers, form.toString(), AbortSignal.any([signal, timeout]));
    } catch (error) {
      signal.throwIfAborted();
      const { code, problem, remedy } = noAnswer(error, tokenUrl, ATTEMPT_MS, timeout.aborted);
      throw noToken(code, problem, remedy);
    }
  }
}

function noToken(code: ErrorCode, reason: string, remedy: string): TaskError {
  return new TaskError(code, `Microsoft Entra gave this step no access token: ${reason}`, remedy);
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** The claims by which a verifier recognises an access token. Empty when it isn't a JWT: then only its audience can read it. */
function toldBy(token: string): Record<string, string | undefined> {
  const claims = parseObject(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  if (claims === undefined) return {};
  const textOf = (name: string) => (typeof claims[name] === 'string' ? claims[name] : undefined);
  const roles = Array.isArray(claims['roles']) ? claims['roles'].filter((role) => typeof role === 'string') : [];
  return {
    issuer: textOf('iss'),
    audience: textOf('aud'),
    // Tokens of version 1 call it appid.
    application: textOf('azp') ?? textOf('appid'),
    object: textOf('oid'),
    roles: roles.join(' '),
  };
}
