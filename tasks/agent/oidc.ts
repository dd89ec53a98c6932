import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from './agent.ts';
import { parseServerUrl, ProxyRefusal, readHttpRoute, sendText, type HttpAnswer, type HttpRoute } from './http.ts';
import type { TokenSource } from '../../shared/connection/settings.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import type { Problems } from '../../shared/inputs/problems.ts';
import { parseObject } from '../../shared/text/json.ts';
import { logLine } from '../../shared/text/logLine.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { maskSecret, readJobToken } from './secrets.ts';

const API_VERSION = '7.1';
const ATTEMPTS = 3;
const ATTEMPT_MS = 8_000;
const RETRY_PAUSE_MS = 500;
/** The part of a token's lifetime after which the next one is asked for. */
const REFRESH_AFTER = 0.8;
const REFRESH_RETRY_MS = 10_000;
/** The part of its lifetime in which a token is used: in the rest it may expire before a server has looked at it. */
const USED_FOR = 0.95;
/** A refused token this young is refused for what it says, not for its age. */
const FRESH_MS = 1_000;
/** Node's timers hold at most 2^31 ms. */
const MAX_TIMER_MS = 24 * 3_600_000;
/** Parts of a token shorter than this are not masked by themselves. */
const SHORTEST_PART = 16;

/** Where and how the pipeline is asked for its ID token. It holds a secret: nothing prints it. */
interface IdTokenRequest {
  readonly url: URL;
  readonly jobToken: string;
  readonly route: HttpRoute;
}

interface IdToken {
  readonly text: string;
  /** Both in milliseconds since the epoch, by the agent's clock. */
  readonly obtainedAt: number;
  readonly usableUntil: number;
}

/**
 * The run's ID tokens whose subject is a service connection; undefined where this run has none, which is noted.
 *
 * @param connectionId the id of the service connection
 */
export function readIdTokens(agent: Agent, problems: Problems, connectionId: string): TokenSource | undefined {
  const jobToken = readJobToken(agent);
  if (jobToken !== undefined) maskSecret(agent, jobToken);
  const text = agent.variable('System.OidcRequestUri');
  if (text === undefined || jobToken === undefined) {
    problems.note(
      `natsConnection: the connection asks for OIDC, and this agent or project offers none (${text === undefined ? 'the variable System.OidcRequestUri' : 'the token of the job'} is absent)`,
      'Run the step in a job of Azure DevOps Services, or clear "oidc" in the connection.',
      'Unsupported',
    );
    return undefined;
  }
  const url = parseServerUrl(text);
  if (url === undefined) {
    problems.note('System.OidcRequestUri: is not an https:// URL, and the token of the job is sent to no other');
    return undefined;
  }
  url.searchParams.set('api-version', API_VERSION);
  url.searchParams.set('serviceConnectionId', connectionId);
  return new OidcToken({ url, jobToken, route: readHttpRoute(agent, problems, url) }, agent);
}

/** The pipeline's ID token (OIDC), asked for when it is needed and renewed as long as it is used. */
class OidcToken implements TokenSource {
  #newest: IdToken | undefined;
  #renewal: Promise<IdToken> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(
    private readonly request: IdTokenRequest,
    private readonly agent: Agent,
  ) {}

  /**
   * From the first call on, a new one is asked for whenever 80 % of a token's lifetime have passed, so that one is at hand
   * when a link breaks.
   */
  async current(signal: AbortSignal): Promise<string> {
    const token = this.#newest;
    if (token !== undefined && this.agent.now() < token.usableUntil) return token.text;
    return (await this.#renew(signal)).text;
  }

  /** None when the refused one is the newest and has only just been issued. */
  async newerThan(refused: string, signal: AbortSignal): Promise<string | undefined> {
    const token = this.#newest;
    if (token?.text !== refused) return this.current(signal);
    if (this.agent.now() - token.obtainedAt < FRESH_MS) return undefined;
    return (await this.#renew(signal)).text;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #renew(signal: AbortSignal): Promise<IdToken> {
    this.#renewal ??= this.#obtain(signal).finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  async #obtain(signal: AbortSignal): Promise<IdToken> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { text, lifetimeMs, claims } = await requestToken(this.request, this.agent, signal);
        const line = logLine('idToken', { ...claims, lifetimeS: Math.round(lifetimeMs / 1_000) });
        if (this.#newest === undefined) this.agent.info(line);
        else this.agent.debug(line);
        const now = this.agent.now();
        this.#newest = { text, obtainedAt: now, usableUntil: now + lifetimeMs * USED_FOR };
        this.#renewAfter(lifetimeMs * REFRESH_AFTER, signal);
        return this.#newest;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof TaskError) || error.code !== 'Unreachable' || attempt === ATTEMPTS) throw error;
        this.agent.debug(`Asking for the ID token again: ${error.problem}`);
        await delay(RETRY_PAUSE_MS * attempt, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    }
  }

  #renewAfter(ms: number, signal: AbortSignal): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const renew = () => {
      if (signal.aborted) return;
      this.#renew(signal).catch((error: unknown) => {
        if (signal.aborted) return;
        this.agent.debug(`The ID token was not renewed: ${reasonOf(error)}`);
        this.#renewAfter(REFRESH_RETRY_MS, signal);
      });
    };
    this.#timer = setTimeout(renew, Math.min(ms, MAX_TIMER_MS)).unref();
  }
}

/** One request. The token is masked before anything else is done with it. */
async function requestToken({ url, jobToken, route }: IdTokenRequest, agent: Agent, signal: AbortSignal) {
  const timeout = AbortSignal.timeout(ATTEMPT_MS);
  let answer: HttpAnswer;
  try {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${jobToken}` };
    answer = await sendText('POST', url, route, headers, '{}', AbortSignal.any([signal, timeout]));
  } catch (error) {
    signal.throwIfAborted();
    throw unanswered(error, url, timeout.aborted);
  }
  const body = parseObject(answer.body);
  const text = body?.['oidcToken'];
  if (typeof text === 'string') {
    maskSecret(agent, text);
    for (const part of text.split('.')) if (part.length >= SHORTEST_PART) maskSecret(agent, part);
  }
  if (answer.status !== 200) throw refused(answer.status, url, reasonIn(body, jobToken));
  if (body === undefined) {
    throw noToken(
      'Unreachable',
      `the answer of ${url.host} is not JSON`,
      'Something between this agent and Azure DevOps may have answered in its place: check the proxy.',
    );
  }
  const claims =
    typeof text === 'string' ? parseObject(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString()) : undefined;
  if (typeof text !== 'string' || typeof claims?.['exp'] !== 'number') {
    const missing = typeof text === 'string' ? 'JWT that tells when it expires' : 'oidcToken';
    const remedy = 'Check that the pipeline may use the service connection.';
    throw noToken('Denied', `the answer of ${url.host} holds no ${missing}`, remedy);
  }
  // By the issuer's clock: the agent's may be wrong by more than the token lives.
  const lifetimeMs = claims['exp'] * 1_000 - (answer.date ?? agent.now());
  if (lifetimeMs <= 0)
    throw noToken('Unreachable', `the token that ${url.host} issued has already expired`, 'Run the step again.');
  return {
    text,
    lifetimeMs,
    // What a NATS server's operator needs to recognise it by.
    claims: { issuer: textOf(claims['iss']), subject: textOf(claims['sub']), audience: textOf(claims['aud']) },
  };
}

function noToken(code: 'Unreachable' | 'Denied' | 'TlsFailure' | 'Unsupported', reason: string, remedy: string) {
  return new TaskError(code, `Azure DevOps gave this step no ID token: ${reason}`, remedy);
}

function unanswered(error: unknown, url: URL, timedOut: boolean): TaskError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (error instanceof ProxyRefusal) {
    const isFault = error.status === 429 || error.status >= 500;
    return noToken(
      isFault ? 'Unreachable' : 'Denied',
      safeText(error.message),
      error.status === 407
        ? "Give the agent the proxy's user name and password (--proxyusername, --proxypassword)."
        : `Check that the proxy lets this agent reach ${url.host}, or name it in the agent's bypass list.`,
    );
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_|^ERR_(TLS|SSL|OSSL)_|HOSTNAME_MISMATCH/.test(code)) {
    return noToken(
      'TlsFailure',
      `the certificate of ${url.host} is not trusted (${code})`,
      'Give the agent the authority that signed it (--sslcacert, Agent.CAInfo).',
    );
  }
  return noToken(
    'Unreachable',
    timedOut
      ? `${url.host} did not answer within ${ATTEMPT_MS / 1_000} s`
      : `${url.host} cannot be reached (${safeText(code || reasonOf(error), 200)})`,
    'Check that this agent reaches it, through its proxy where it has one.',
  );
}

function refused(status: number, url: URL, reason: string): TaskError {
  const what = `${url.host} answered with HTTP status ${status}${reason}`;
  if (status === 429 || status >= 500) return noToken('Unreachable', what, 'Run the step again.');
  // Azure DevOps leads to its sign-in page (203, 302) where it does not take a token.
  const remedy = 'Check that the pipeline may use the service connection, and that the job is still running.';
  if ([203, 302, 401, 403].includes(status)) return noToken('Denied', what, remedy);
  return noToken('Unsupported', what, 'Check that System.OidcRequestUri is as the agent set it.');
}

/** What Azure DevOps says in words, made harmless; nothing else of its answer is shown. */
function reasonIn(body: Readonly<Record<string, unknown>> | undefined, jobToken: string): string {
  const message = body?.['message'];
  if (typeof message !== 'string') return '';
  return ` (${safeText(message.replaceAll(jobToken, '***').replace(JWT, '***'), 300)})`;
}

const JWT = /[\w-]{16,}\.[\w-]{16,}\.[\w-]*/g;

function textOf(claim: unknown): string | undefined {
  return typeof claim === 'string' ? claim : undefined;
}
