import { TaskError } from '../errors.ts';
import { parseUserSeed, type SigningKey } from '../nkey.ts';

/** What a `.creds` text or a bare NKey seed means for signing in. */
export type Credentials =
  | { readonly kind: 'nkey'; readonly key: SigningKey }
  | {
      readonly kind: 'jwt';
      readonly jwt: string;
      /** Absent for a bearer JWT. */
      readonly key: SigningKey | undefined;
      /** Milliseconds since the epoch; undefined when it never expires. */
      readonly expiresAt: number | undefined;
    };

/** Why credentials cannot be used, shown without anything of them. */
export interface BadCredentials {
  /** Continues "the credentials …". */
  readonly problem: string;
  readonly remedy?: string;
}

const SEED = /\bS[A-Z][A-Z2-7]{40,}\b/;
const JWT = /\b[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}(?![A-Za-z0-9_-])/;

/**
 * Reads the text of a `.creds` file (user JWT and NKey seed) or a bare NKey user seed. Line ends do not matter: a form
 * field or a secret store may have turned them into CRLF or spaces.
 */
export function parseCredentials(text: string): Credentials | BadCredentials {
  const key = parseSeed(SEED.exec(text)?.[0]);
  const jwt = JWT.exec(text)?.[0];
  if (jwt === undefined) {
    if (key !== undefined) return 'problem' in key ? key : { kind: 'nkey', key };
    return {
      problem: `(${String(text.length)} characters) are neither the text of a .creds file nor an NKey user seed (SU…)`,
    };
  }
  const claims = parseClaims(jwt);
  if (claims === undefined) return { problem: 'hold a user JWT that cannot be read' };
  if (key !== undefined && 'problem' in key) return key;
  if (key === undefined && !claims.bearer) return { problem: 'hold a user JWT but not its NKey user seed (SU…)' };
  return { kind: 'jwt', jwt, key, expiresAt: claims.expiresAt };
}

function parseSeed(seed: string | undefined): SigningKey | undefined | BadCredentials {
  if (seed === undefined) return undefined;
  try {
    return parseUserSeed(seed);
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    return { problem: `cannot be used. ${error.problem}`, remedy: error.remedy };
  }
}

function parseClaims(jwt: string): { readonly expiresAt: number | undefined; readonly bearer: boolean } | undefined {
  try {
    const claims = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as {
      readonly exp?: unknown;
      readonly nats?: { readonly bearer_token?: unknown };
    };
    return {
      expiresAt: typeof claims.exp === 'number' ? claims.exp * 1_000 : undefined,
      bearer: claims.nats?.bearer_token === true,
    };
  } catch {
    return undefined;
  }
}
