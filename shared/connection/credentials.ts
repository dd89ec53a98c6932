import { TaskError, type Problem } from '../errors.ts';
import { parseUserSeed, type SigningKey } from '../nkey.ts';
import { isObject, parseObject } from '../text/json.ts';
import { withLineBreaks } from './pem.ts';

/** What a `.creds` text or a bare NKey seed signs in with. */
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

const SEED = /\bS[A-Z][A-Z2-7]{40,}\b/;
/** Looked for at the beginning of a part only, after dashes of a banner: elsewhere in it, a text of many dashes takes minutes. */
const JWT = /\b(?<=(?<![\w-])-*)[\w-]{16,}\.[\w-]{16,}\.[\w-]{16,}/;

/** Around the JWT and the seed of a `.creds` file; a JWT may end in a dash of its own. */
const BANNER = /-{5,6}(?:BEGIN|END) (?:NATS USER JWT|USER NKEY SEED)-{5,6}/g;
const BLOCK = /(BEGIN (NATS USER JWT|USER NKEY SEED)-{5,6})((?:(?!BEGIN )[^])*?)(-{5,6}END \2-)/g;

/**
 * Credentials as {@link parseCredentials} reads them, in whatever way they were stored: with line breaks that were lost, added
 * or written out as `\n`, or as base64 of the file. Secrets are what stands in it.
 */
export function plainCredentials(text: string): string {
  const decoded = decodedCredentials(text) ?? text;
  return withLineBreaks(decoded)
    .replace(
      BLOCK,
      (_, begin: string, _name, body: string, end: string) => `${begin}\n${body.replace(/\s/g, '')}\n${end}`,
    )
    .replace(BANNER, '\n');
}

/** The content of a whole file in base64, which PowerShell may have encoded as UTF-16; undefined when it isn't base64. */
function decodedCredentials(text: string): string | undefined {
  if (!/^[\w+/=\s-]+$/.test(text) || SEED.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return [bytes.toString(), bytes.toString('utf16le')].find((decoded) => SEED.test(decoded) || JWT.test(decoded));
}

/**
 * Reads the text of a `.creds` file (user JWT and NKey seed) or a bare NKey user seed, in any form that
 * {@link plainCredentials} knows.
 *
 * @returns what is wrong continues "the credentials …" and shows nothing of them
 */
export function parseCredentials(given: string): Credentials | Problem {
  const text = plainCredentials(given);
  const key = parseSeed(SEED.exec(text)?.[0]);
  const jwt = JWT.exec(text)?.[0];
  if (jwt === undefined) {
    if (key !== undefined) return 'problem' in key ? key : { kind: 'nkey', key };
    const problem = `(${given.length} characters) are neither the text of a .creds file nor an NKey user seed (SU…)`;
    return { problem };
  }
  const claims = parseClaims(jwt);
  if (claims === undefined) return { problem: 'hold a user JWT that cannot be read' };
  if (key !== undefined && 'problem' in key) return key;
  if (key === undefined && !claims.bearer) return { problem: 'hold a user JWT but not its NKey user seed (SU…)' };
  return { kind: 'jwt', jwt, key, expiresAt: claims.expiresAt };
}

function parseSeed(seed: string | undefined): SigningKey | undefined | Problem {
  if (seed === undefined) return undefined;
  try {
    return parseUserSeed(seed);
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    return { problem: `cannot be used. ${error.problem}`, remedy: error.remedy };
  }
}

function parseClaims(jwt: string): { readonly expiresAt: number | undefined; readonly bearer: boolean } | undefined {
  const claims = parseObject(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString());
  return (
    claims && {
      expiresAt: typeof claims.exp === 'number' ? claims.exp * 1_000 : undefined,
      bearer: isObject(claims.nats) && claims.nats.bearer_token === true,
    }
  );
}

/**
 * What's wrong with expired credentials; undefined for all others.
 *
 * @param now in milliseconds since the epoch
 */
export function expiryProblem(credentials: Credentials, now: number): Problem | undefined {
  if (credentials.kind !== 'jwt' || credentials.expiresAt === undefined || credentials.expiresAt > now)
    return undefined;
  return {
    problem: `expired on ${new Date(credentials.expiresAt).toISOString()}`,
    remedy: 'Ask the NATS operator for new ones.',
    code: 'Denied',
  };
}
