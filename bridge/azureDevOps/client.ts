import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { isObject, parseJson } from '../../shared/text/json.ts';
import { formsOf } from '../../shared/text/masker.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { TimeLimit } from '../timeLimit.ts';
import type { Metrics } from '../metrics.ts';
import type { AzureDevOpsSettings } from '../settings.ts';
import type { Timing } from '../timing.ts';
import { feedsUrlOf } from './hosts.ts';
import { Identity } from './identity.ts';
import { Requests, textOf, TooLargeError, type Answer } from './requests.ts';

const MOST_MESSAGE = 1_000;
/** Before a call is made again with a new token. */
const NEW_TOKEN_PAUSE_MS = 100;
/** Errors before a request went out: it can't have had an effect. */
const NOT_SENT =
  /^(UND_ERR_CONNECT_TIMEOUT|UND_ERR_ABORTED|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_TLS_|ERR_SSL_|EPROTO|HOSTNAME_)/;

/** What {@link AzureDevOps.trouble} says before the first call has ended. */
export const NOT_ASKED = 'not asked yet';

/** A call of Azure DevOps' API. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the organization, without the first slash: `_apis/projects/Shop?api-version=7.1`. */
  readonly path: string;
  /** `feeds`: of Azure Artifacts, which may have a host of its own; absent: the organization's. */
  readonly area?: 'feeds' | undefined;
  /** Sent as JSON, bytes as they are; undefined: no body. */
  readonly body?: unknown;
}

/** Whose call it is, if it isn't the bridge's own. */
export interface Caller {
  /** URL of the organization, with closing slash. */
  readonly organization: string;
  readonly token: string;
}

/** How a call ended. Texts are neutralised. */
export type Outcome =
  | {
      readonly kind: 'ok';
      readonly status: number;
      /** JSON; undefined where there was none. */
      readonly body: unknown;
      /** Azure DevOps asks for this pause all the same. */
      readonly retryAfterMs: number | undefined;
      /** Where a list continues. */
      readonly continuationToken: string | undefined;
    }
  /** It understood the call and refuses it: 4xx. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly typeKey: string | undefined;
      readonly message: string;
    }
  /** It doesn't accept the token: 401, 203, 302, a page where JSON should be; or there is no token. */
  | { readonly kind: 'signIn'; /** Undefined: nothing was asked. */ readonly status?: number; readonly message: string }
  /** 429. */
  | { readonly kind: 'throttled'; readonly retryAfterMs: number | undefined; readonly message: string }
  /** Nothing was sent. */
  | {
      readonly kind: 'unreachable';
      readonly message: string;
      /** What can't be reached is where tokens come from. */
      readonly isTokenSource?: true;
    }
  /** 5xx, a broken connection or no answer in time: the outcome is unknown. */
  | {
      readonly kind: 'open';
      readonly status: number | undefined;
      /** The error's type, if Azure DevOps itself answered. */
      readonly typeKey?: string;
      readonly retryAfterMs: number | undefined;
      readonly message: string;
      /** The answer is larger than the bridge reads. */
      readonly isTooLarge?: true;
    };

export interface AzureDevOpsOptions {
  readonly settings: AzureDevOpsSettings;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Azure DevOps' API, in the name of one identity. */
export class AzureDevOps {
  readonly #options: AzureDevOpsOptions;
  readonly #requests: Requests;
  readonly #identity: Identity;
  #tokenTrouble: string | undefined;
  #callTrouble: string | undefined = NOT_ASKED;

  constructor(options: AzureDevOpsOptions) {
    const { settings, timing, metrics, now } = options;
    this.#options = options;
    this.#requests = new Requests(settings);
    this.#identity = new Identity({
      identity: settings.identity,
      connection: settings,
      timing,
      now,
      onToken: (expiresAt) => metrics.tokenExpiry.set({ kind: settings.identity.kind }, Math.floor(expiresAt / 1_000)),
    });
  }

  /** Why the bridge can't call it, as far as the last calls show; undefined once one has been accepted. */
  get trouble(): string | undefined {
    return this.#tokenTrouble ?? this.#callTrouble;
  }

  /** Another look at an answer shows that the organization doesn't know the bridge. */
  noteTrouble(why: string): void {
    this.#callTrouble = why;
  }

  /** See {@link Identity.validUntil}. */
  get tokenValidUntil(): number | undefined {
    return this.#identity.validUntil;
  }

  /** Gets a token if there is none or it's old, so that one is there when needed. Never rejects. */
  async signIn(): Promise<void> {
    await this.#authorization();
  }

  /** Makes one call, once. Never rejects. */
  async call(call: Call, signal?: AbortSignal): Promise<Outcome> {
    const authorization = await this.#authorization();
    if (typeof authorization !== 'string') return authorization;
    const outcome = await this.#send(this.#options.settings.organization, call, authorization, signal);
    if (outcome.kind === 'signIn') this.#identity.refused(authorization);
    if (signal?.aborted !== true) this.#note(outcome, call);
    return outcome;
  }

  /** Like {@link call}, for calls that may be repeated: once more with a new token if the first isn't accepted. */
  async ask(path: string, signal?: AbortSignal, area?: Call['area']): Promise<Outcome> {
    const call = { method: 'GET', path, area } as const;
    const first = await this.call(call, signal);
    if (first.kind !== 'signIn') return first;
    await delay(NEW_TOKEN_PAUSE_MS);
    return this.call(call, signal);
  }

  /** Like {@link call}, on someone else's behalf: the outcome says nothing about the bridge's own sign-in. */
  callAs({ organization, token }: Caller, call: Call, signal?: AbortSignal): Promise<Outcome> {
    return this.#send(organization, call, `Bearer ${token}`, signal);
  }

  /**
   * The JSON of a public document, such as an issuer's keys: fetched without a token; no redirect is
   * followed. Fails with an `Error` whose message is a clause.
   */
  async document(url: string, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#requests.send(url, {
      headers: { accept: 'application/json', 'user-agent': `nats-event-bridge/${this.#options.version}` },
      signal,
    });
    const text = await textOf(answer.body);
    const json = answer.statusCode === 200 ? parseJson(text) : undefined;
    if (json === undefined) throw new Error(`${new URL(url).host} answers with status ${answer.statusCode}`);
    return json.value;
  }

  async close(): Promise<void> {
    await this.#requests.close();
  }

  async #authorization(): Promise<string | Outcome> {
    try {
      const authorization = await this.#identity.authorization();
      this.#tokenTrouble = undefined;
      return authorization;
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      this.#tokenTrouble = safeText(error.problem, MOST_MESSAGE);
      return error.code === 'Unreachable'
        ? { kind: 'unreachable', message: this.#tokenTrouble, isTokenSource: true }
        : { kind: 'signIn', message: this.#tokenTrouble };
    }
  }

  #note(outcome: Outcome, { area }: Call): void {
    if (outcome.kind === 'ok' || outcome.kind === 'refused') this.#callTrouble = undefined;
    // Whoever may not read feeds, or can't reach them, can be welcome elsewhere.
    else if (area !== undefined) return;
    else if (outcome.kind === 'signIn') this.#callTrouble = outcome.message;
    else if (outcome.kind === 'unreachable') this.#callTrouble = `Azure DevOps can't be reached: ${outcome.message}`;
    // A call that failed by chance says nothing against a sign-in that worked.
    else if (this.#callTrouble === NOT_ASKED) this.#callTrouble = outcome.message;
  }

  async #send(
    organization: string,
    { method, path, area, body }: Call,
    authorization: string,
    signal: AbortSignal | undefined,
  ): Promise<Outcome> {
    const { timing, version, metrics } = this.#options;
    const isBytes = body instanceof Uint8Array;
    const limit = new TimeLimit(timing.azureDevOps, signal);
    try {
      const base = area === 'feeds' ? feedsUrlOf(organization) : organization;
      const answer = await this.#requests.send(`${base}${path}`, {
        method,
        headers: {
          authorization,
          accept: 'application/json',
          'user-agent': `nats-event-bridge/${version}`,
          // Without it, Azure DevOps answers with its page for people.
          'x-tfs-fedauthredirect': 'Suppress',
          ...(body === undefined ? {} : { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' }),
        },
        ...(body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body) }),
        signal: limit.signal,
      });
      metrics.azureDevOpsResponses.inc({ status: answer.statusCode });
      // The answering server has seen the token; each lives too briefly to be kept among the known secrets.
      const text = withoutToken(await textOf(answer.body), authorization.replace(/^\S+ /, ''));
      return this.#read(answer.statusCode, answer.headers, text);
    } catch (error) {
      const isLate = limit.isOver;
      const message = isLate ? `no answer within ${timing.azureDevOps} ms` : safeText(reasonOf(error), MOST_MESSAGE);
      const code = (error as { code?: unknown }).code;
      if (!isLate && typeof code === 'string' && NOT_SENT.test(code) && signal?.aborted !== true)
        return { kind: 'unreachable', message };
      const size = error instanceof TooLargeError ? { isTooLarge: true as const } : {};
      return { kind: 'open', status: undefined, retryAfterMs: undefined, message, ...size };
    } finally {
      limit.end();
    }
  }

  #read(status: number, headers: Answer['headers'], text: string): Outcome {
    const retryAfterMs = readRetryAfter(one(headers['retry-after']), this.#options.now());
    if (retryAfterMs !== undefined) this.#options.metrics.azureDevOpsThrottle.inc(retryAfterMs / 1_000);
    const json = parseJson(text);
    const message = messageOf(json?.value, status);
    if (status === 429) return { kind: 'throttled', retryAfterMs, message };
    const typeKey = typeKeyOf(json?.value);
    if (status >= 500)
      return { kind: 'open', status, ...(typeKey === undefined ? {} : { typeKey }), retryAfterMs, message };
    const isPage = text !== '' && json === undefined;
    if (status === 401 || status === 203 || (status >= 300 && status < 400) || (status < 300 && isPage)) {
      return { kind: 'signIn', status, message: `Azure DevOps does not accept the sign-in (status ${status})` };
    }
    if (status >= 400) return { kind: 'refused', status, typeKey, message };
    const continuationToken = one(headers['x-ms-continuationtoken']);
    return { kind: 'ok', status, body: json?.value, retryAfterMs, continuationToken };
  }
}

/** A text without a token, in any form in which what answers may give it back. */
function withoutToken(text: string, token: string): string {
  let masked = text;
  for (const form of formsOf(token)) masked = masked.replaceAll(form, '***');
  return masked;
}

/** Azure DevOps' message about a failure, as a clause: most of its messages end with a full stop. */
function messageOf(answer: unknown, status: number): string {
  const message = isObject(answer) ? answer['message'] : undefined;
  return typeof message === 'string' && message !== ''
    ? safeText(message.replace(/[.\s]+$/, ''), MOST_MESSAGE)
    : `Azure DevOps answers with status ${status}`;
}

function typeKeyOf(answer: unknown): string | undefined {
  const typeKey = isObject(answer) ? answer['typeKey'] : undefined;
  return typeof typeKey === 'string' ? safeText(typeKey, 200) : undefined;
}

/** Seconds or a date, in milliseconds from now. */
function readRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
