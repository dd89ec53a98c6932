import type { Agent } from './agent.ts';
import { parseServerUrl, readHttpRoute, sendText, type HttpAnswer, type HttpRoute } from './http.ts';
import { pause } from '../../shared/clock.ts';
import type { TokenSource } from '../../shared/connection/settings.ts';
import { TaskError, type ErrorCode } from '../../shared/errors.ts';
import type { Problems } from '../../shared/inputs/problems.ts';
import { parseObject } from '../../shared/text/json.ts';
import { logLine } from '../../shared/text/logLine.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { noAnswer } from './noAnswer.ts';
import { RenewedToken, type IssuedToken } from './renewedToken.ts';
import { JWT, maskSecret, maskToken, readJobToken } from './secrets.ts';

const API_VERSION = '7.1';
const ATTEMPTS = 3;
const ATTEMPT_MS = 8_000;
const RETRY_PAUSE_MS = 500;

/** Where and how to ask the pipeline for its ID token. It holds a secret: nothing prints it. */
export interface IdTokenRequest {
  readonly url: URL;
  readonly jobToken: string;
  readonly route: HttpRoute;
}

/**
 * How to ask for the run's ID token whose subject is a service connection; undefined, with a noted problem, when this run has none.
 *
 * @param connectionId the id of the service connection
 */
export function readIdTokenRequest(agent: Agent, problems: Problems, connectionId: string): IdTokenRequest | undefined {
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
  return { url, jobToken, route: readHttpRoute(agent, problems, url) };
}

/** The run's ID tokens as something to sign in with. */
export function idTokens(request: IdTokenRequest, agent: Agent): TokenSource {
  return new RenewedToken(agent, 'ID token', (signal, onFault) => obtainIdToken(request, agent, signal, onFault));
}

/** An ID token that has just been issued. */
export interface IdToken extends IssuedToken {
  readonly claims: IdTokenClaims;
}

/** The string claims of an ID token. */
export interface IdTokenClaims {
  readonly issuer: string | undefined;
  readonly subject: string | undefined;
  readonly audience: string | undefined;
}

/** A new ID token; faults are retried for a second or two. Throws as {@link TokenSource.current} does. */
export async function obtainIdToken(
  request: IdTokenRequest,
  agent: Agent,
  signal: AbortSignal,
  onFault: (fault: TaskError) => void,
): Promise<IdToken> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await requestToken(request, agent, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TaskError) || error.code !== 'Unreachable' || attempt === ATTEMPTS) throw error;
      onFault(error);
      await pause(RETRY_PAUSE_MS * attempt, signal);
    }
  }
}

/** One request. The token is masked before anything else is done with it. */
async function requestToken(
  { url, jobToken, route }: IdTokenRequest,
  agent: Agent,
  signal: AbortSignal,
): Promise<IdToken> {
  const timeout = AbortSignal.timeout(ATTEMPT_MS);
  let answer: HttpAnswer;
  try {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${jobToken}` };
    answer = await sendText('POST', url, route, headers, '{}', AbortSignal.any([signal, timeout]));
  } catch (error) {
    signal.throwIfAborted();
    const { code, problem, remedy } = noAnswer(error, url, ATTEMPT_MS, timeout.aborted);
    throw noToken(code, problem, remedy);
  }
  const body = parseObject(answer.body);
  const text = body?.['oidcToken'];
  if (typeof text === 'string') maskToken(agent, text);
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
  const told = { issuer: textOf(claims['iss']), subject: textOf(claims['sub']), audience: textOf(claims['aud']) };
  // What a verifier needs to recognise it.
  const line = logLine('idToken', { ...told, lifetimeS: Math.round(lifetimeMs / 1_000) });
  return { text, lifetimeMs, lines: [line], claims: told };
}

function noToken(code: ErrorCode, reason: string, remedy: string) {
  return new TaskError(code, `Azure DevOps gave this step no ID token: ${reason}`, remedy);
}

function refused(status: number, url: URL, reason: string): TaskError {
  const what = `${url.host} answered with HTTP status ${status}${reason}`;
  if (status === 429 || status >= 500) return noToken('Unreachable', what, 'Run the step again.');
  // Azure DevOps redirects to its sign-in page (203, 302) when it rejects a token.
  const remedy = 'Check that the pipeline may use the service connection, and that the job is still running.';
  if ([203, 302, 401, 403].includes(status)) return noToken('Denied', what, remedy);
  return noToken('Unsupported', what, 'Check that System.OidcRequestUri is as the agent set it.');
}

/** Azure DevOps' message, made harmless; nothing else of its answer is shown. */
function reasonIn(body: Readonly<Record<string, unknown>> | undefined, jobToken: string): string {
  const message = body?.['message'];
  if (typeof message !== 'string') return '';
  return ` (${safeText(message.replaceAll(jobToken, '***').replace(JWT, '***'), 300)})`;
}

function textOf(claim: unknown): string | undefined {
  return typeof claim === 'string' ? claim : undefined;
}
