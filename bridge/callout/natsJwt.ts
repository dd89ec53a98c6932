import { createHash, sign, verify } from 'node:crypto';
import type { SigningKey } from '../../shared/nkey.ts';
import { parseObject } from '../../shared/text/json.ts';
import { parseServerKey } from './keys.ts';

/** NATS' own JWTs (ADR-14): Ed25519 by NKeys. nats-jwt writes them in Latin-1, so a name like "Zoë" breaks its tokens. */
const HEADER = encoded({ typ: 'JWT', alg: 'ed25519-nkey' });

/**
 * Signs claims.
 *
 * @param now in seconds since the epoch
 */
export function signJwt(claims: Readonly<Record<string, unknown>>, key: SigningKey, now: number): string {
  const whole = { ...claims, iss: key.publicKey, iat: now };
  const jti = createHash('sha256').update(JSON.stringify(whole)).digest('base64url');
  const signed = `${HEADER}.${encoded({ ...whole, jti })}`;
  return `${signed}.${sign(null, Buffer.from(signed), key.privateKey).toString('base64url')}`;
}

/** The claims of a JWT that the server named as its issuer has signed; undefined for anything else. */
export function claimsOfServer(jwt: string): Record<string, unknown> | undefined {
  const parts = jwt.split('.');
  const [header = '', payload = '', signature = ''] = parts;
  if (parts.length !== 3 || parseObject(decoded(header))?.['alg'] !== 'ed25519-nkey') return undefined;
  const claims = parseObject(decoded(payload));
  if (typeof claims?.['iss'] !== 'string') return undefined;
  try {
    const isSigned = verify(
      null,
      Buffer.from(`${header}.${payload}`),
      parseServerKey(claims['iss']),
      Buffer.from(signature, 'base64url'),
    );
    return isSigned ? claims : undefined;
  } catch {
    return undefined;
  }
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decoded(part: string): string {
  return Buffer.from(part, 'base64url').toString();
}
