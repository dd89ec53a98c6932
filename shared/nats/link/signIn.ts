import { sign } from 'node:crypto';
import type { Authenticator, ConnectionOptions } from 'nats';
import type { Authentication, ConnectionSettings, TokenSource } from '../../connection/settings.ts';
import { TaskError } from '../../errors.ts';
import type { SigningKey } from '../../nkey.ts';

/** The longest token whose CONNECT line surely fits the 4,096 bytes that a server takes by default (`max_control_line`). */
const MAX_TOKEN_LENGTH = 3_900;

/** A token that lives for minutes only. */
interface ShortLived {
  readonly kind: 'idToken' | 'accessToken';
  readonly token: string;
}

/** What one dial signs in with: the library asks for it synchronously, so a short-lived token is at hand before. */
export type SignIn = Exclude<Authentication, { readonly kind: 'oidc' | 'entra' }> | ShortLived;

/** A service connection with the secret it signs in with right now. */
export interface DialSettings extends Omit<ConnectionSettings, 'authentication'> {
  readonly authentication: SignIn;
}

/** What to sign in with now, or why there is nothing to sign in with. Rejects with the signal's reason only. */
export async function signInWith(authentication: Authentication, signal: AbortSignal): Promise<SignIn | TaskError> {
  try {
    switch (authentication.kind) {
      case 'oidc':
        return { kind: 'idToken', token: await authentication.idToken.current(signal) };
      case 'entra':
        return { kind: 'accessToken', token: await authentication.accessToken.current(signal) };
      default:
        return authentication;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TaskError) return error;
    throw error;
  }
}

/** What to sign in with after a server refused a short-lived token: a newer one; undefined when there is none. */
export async function signInAfterRefusal(
  authentication: Authentication,
  refused: SignIn,
  signal: AbortSignal,
): Promise<SignIn | undefined> {
  if (refused.kind !== 'idToken' && refused.kind !== 'accessToken') return undefined;
  try {
    const token = await tokenSourceOf(authentication)?.newerThan(refused.token, signal);
    return token === undefined ? undefined : { kind: refused.kind, token };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof TaskError)) throw error;
    return undefined;
  }
}

/** Where short-lived tokens come from; undefined for secrets that sign in as they are. */
export function tokenSourceOf(authentication: Authentication): TokenSource | undefined {
  if (authentication.kind === 'oidc') return authentication.idToken;
  return authentication.kind === 'entra' ? authentication.accessToken : undefined;
}

/** How the library is told what to sign in with. */
export function signInOptions(signIn: SignIn): ConnectionOptions {
  switch (signIn.kind) {
    case 'none':
      return {};
    case 'token':
    case 'idToken':
    case 'accessToken':
      return { token: signIn.token };
    case 'userPassword':
      return { user: signIn.username, pass: signIn.password };
    case 'nkey':
      return { authenticator: nonceSigner(signIn.key) };
    case 'jwt': {
      const { jwt, key } = signIn;
      const prove = key === undefined ? () => ({}) : nonceSigner(key);
      return { authenticator: (nonce) => ({ ...prove(nonce), jwt }) };
    }
  }
}

/** Signs the server's nonce with Node's ed25519, some two hundred times faster than the library's. */
function nonceSigner({ publicKey, privateKey }: SigningKey): Authenticator {
  return (nonce) => ({ nkey: publicKey, sig: sign(null, Buffer.from(nonce ?? ''), privateKey).toString('base64url') });
}

/** The reusable secret that a sign-in exposes to anyone who can read it; undefined when it proves a key, or nothing. */
export function secretSentBy(signIn: SignIn): string | undefined {
  if (signIn.kind === 'jwt') return signIn.key === undefined ? 'JWT' : undefined;
  return SECRETS[signIn.kind];
}

const SECRETS: Readonly<Partial<Record<SignIn['kind'], string>>> = {
  token: 'token',
  idToken: 'ID token',
  accessToken: 'access token',
  userPassword: 'password',
};

/** The token that signs in, if its CONNECT line may be too long for the server. */
export function longToken(signIn: SignIn): string | undefined {
  const isShortLived = signIn.kind === 'idToken' || signIn.kind === 'accessToken';
  return isShortLived && signIn.token.length > MAX_TOKEN_LENGTH ? signIn.token : undefined;
}

const CONNECTION = 'the service connection';

/**
 * What to do when a server rejects the sign-in.
 *
 * @param place where the secret was taken from
 */
export function signInRemedy(kind: SignIn['kind'], place = CONNECTION): string {
  switch (kind) {
    case 'none':
      return 'The service connection holds no secret: fill in its credentials, or use another authentication scheme.';
    case 'token':
      return `Check the token of ${place}.`;
    case 'idToken':
      return "See the log of the server's auth callout service, and whether it accepts the issuer, subject and audience in the line idToken of this log.";
    case 'accessToken':
      return "See the log of the server's auth callout, and whether it accepts the issuer, audience, application and roles in the line accessToken of this log. Without roles, give the application one of the NATS application's app roles (Microsoft Entra admin center, App registrations, API permissions) and grant admin consent.";
    case 'userPassword':
      return place === CONNECTION
        ? `Check the user name and password of ${place}.`
        : `Check the user name of ${CONNECTION} and the password of ${place}.`;
    case 'nkey':
      return `Check that the server knows the public key of the NKey seed of ${place}.`;
    case 'jwt':
      return `Check that the credentials of ${place} belong to an account of this server and are neither expired nor revoked.`;
  }
}
