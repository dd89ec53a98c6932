import { reasonOf, TaskError } from '../../shared/errors.ts';
import { once } from '../../shared/once.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { Connection, IdentitySettings } from '../settings.ts';
import type { Timing } from '../timing.ts';
import type { AccessToken, Credential, TokenIdentity } from './credentials.ts';

/** Azure DevOps itself, as Microsoft Entra knows it. */
const SCOPE = '499b84ac-1321-427f-aa17-267ca6975798/.default';
const MOST_REASON = 1_000;
/** What is wrong with the network rather than with the credentials. */
const UNREACHABLE =
  /ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|network_error|Network unreachable|certificate|socket hang up/i;

/** The error when the authority, or nothing at all, answers where tokens are looked for. */
const NO_ENDPOINTS = /endpoints_resolution_error|openid_config_error/;

/** The library is large, and many commands need no token. */
export const credentialsModule = once(() => import('./credentials.ts'));

export interface IdentityOptions {
  readonly identity: IdentitySettings;
  readonly connection: Connection;
  readonly timing: Timing;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called with each new token's end, in milliseconds since the epoch. */
  readonly onToken: (expiresAt: number) => void;
}

/** How the bridge proves to Azure DevOps who it is: by a token that is kept, renewed early, and asked for once at a time. */
export class Identity {
  readonly #options: IdentityOptions;
  #credential: { readonly secret: string; readonly value: Credential } | undefined;
  #token: AccessToken | undefined;
  #asking: Promise<AccessToken> | undefined;

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  get kind(): IdentitySettings['kind'] {
    return this.#options.identity.kind;
  }

  /** Until when the newest token is valid, in milliseconds since the epoch; undefined where there is none, or it is a PAT. */
  get validUntil(): number | undefined {
    return this.#token?.expiresOnTimestamp;
  }

  /**
   * The `Authorization` header.
   *
   * @throws TaskError `Unreachable` where asking again may help, else `Denied`
   */
  async authorization(): Promise<string> {
    const { identity, now, timing } = this.#options;
    if (identity.kind === 'pat') return `Basic ${Buffer.from(`:${identity.pat.value}`).toString('base64')}`;
    const token = this.#token;
    const left = token === undefined ? 0 : token.expiresOnTimestamp - now();
    if (token === undefined || left <= 0) return bearer(await this.#ask(identity));
    // Others keep using the old one meanwhile; whether it can be renewed matters only once it has expired.
    if (left < timing.tokenRenewal || now() >= (token.refreshAfterTimestamp ?? Infinity)) this.#renew(identity);
    return bearer(token);
  }

  /** Requests a new token if this is the latest one: Azure DevOps didn't accept it. */
  refused(authorization: string): void {
    if (this.#token === undefined || authorization !== bearer(this.#token)) return;
    this.#token = undefined;
    this.#forget();
  }

  #renew(identity: TokenIdentity): void {
    if (this.#asking !== undefined) return;
    this.#forget();
    void this.#ask(identity).catch(() => undefined);
  }

  /** The library caches tokens, too. */
  #forget(): void {
    this.#credential = undefined;
  }

  #ask(identity: TokenIdentity): Promise<AccessToken> {
    this.#asking ??= this.#askOnce(identity).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askOnce(identity: TokenIdentity): Promise<AccessToken> {
    const { timing } = this.#options;
    try {
      const credential = await this.#credentialOf(identity);
      const limit = AbortSignal.timeout(timing.azureDevOps);
      const token = await unlessAborted(credential.getToken(SCOPE, { abortSignal: limit }), limit);
      if (token === null) throw new Error('the authority gave none');
      this.#options.onToken(token.expiresOnTimestamp);
      this.#token = token;
      return token;
    } catch (error) {
      throw this.#explained(error);
    }
  }

  #explained(error: unknown): TaskError {
    const given = safeText(reasonOf(error), MOST_REASON);
    const reason = NO_ENDPOINTS.test(given) ? 'the authority does not answer, or does not know the tenant' : given;
    const isUnreachable =
      reason !== given || reason === LATE || UNREACHABLE.test(`${(error as { code?: string }).code ?? ''} ${reason}`);
    return new TaskError(
      isUnreachable ? 'Unreachable' : 'Denied',
      `There is no token for Azure DevOps (${this.kind}): ${reason}`,
      isUnreachable
        ? 'See whether the authority can be reached from here.'
        : 'Check azureDevOps.identity: the tenant, the client, and what proves it.',
      { cause: error },
    );
  }

  /** A secret that has changed makes another credential. */
  async #credentialOf(identity: TokenIdentity): Promise<Credential> {
    const { newCredential } = await credentialsModule();
    const secret = identity.kind === 'clientSecret' ? identity.clientSecret.value : '';
    if (this.#credential?.secret !== secret)
      this.#credential = { secret, value: newCredential(identity, secret, this.#options.connection) };
    return this.#credential.value;
  }
}

const LATE = 'no answer in time';

function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error(LATE));
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function bearer({ token }: AccessToken): string {
  return `Bearer ${token}`;
}
