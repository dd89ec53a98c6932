import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import {
  decodeNKey,
  encodeNKey,
  parseUserSeed,
  PKCS8_PREFIX,
  USER_SEED,
  type Form,
  type SigningKey,
} from '../../shared/nkey.ts';

const ACCOUNT_SEED = seedForm('an account seed (SA…)', 'SA', [0x90, 0x00], '"nk -gen account"');
const CURVE_SEED = seedForm('a curve seed (SX…)', 'SX', [0x95, 0xc0], '"nk -gen curve"');
const ACCOUNT = publicForm('a public account key (A…)', 'A', 0x00);
const SERVER = publicForm('a public server key (N…)', 'N', 0x68);
const USER = publicForm('a public user key (U…)', 'U', 0xa0);
const CURVE = publicForm('a public curve key (X…)', 'X', 0xb8);

function seedForm(name: string, letters: string, prefix: readonly number[], made: string): Form {
  const remedy = `Store the one line that begins with ${letters}, as "nats-event-bridge callout keys" or ${made} writes it.`;
  return { name, letters, prefix: Buffer.from(prefix), textLength: 58, remedy };
}

function publicForm(name: string, letters: string, prefix: number): Form {
  return { name, letters, prefix: Buffer.from([prefix]), textLength: 56, remedy: '' };
}

/** The 32 secret bytes of a curve key, and its public half as text. */
export interface CurveKey {
  readonly publicKey: string;
  readonly secret: Uint8Array;
}

/**
 * The key that an account signs with.
 *
 * @throws TaskError `InvalidInput`, in words that never repeat any part of the text
 */
export function parseAccountSeed(text: string): SigningKey {
  const seed = decodeNKey(text.trim(), ACCOUNT_SEED);
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { publicKey: encodeNKey(Buffer.from(x, 'base64url'), ACCOUNT), privateKey };
}

/** What precedes the 32 bytes of an X25519 private key in PKCS #8 (RFC 8410, section 7). */
const X25519_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

/**
 * The key that opens requests and seals answers.
 *
 * @throws TaskError `InvalidInput`, in words that never repeat any part of the text
 */
export function parseCurveSeed(text: string): CurveKey {
  const secret = decodeNKey(text.trim(), CURVE_SEED);
  const key = createPrivateKey({ key: Buffer.concat([X25519_PREFIX, secret]), format: 'der', type: 'pkcs8' });
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  return { publicKey: encodeNKey(Buffer.from(x, 'base64url'), CURVE), secret };
}

/** The text of a new seed of 32 random bytes, and its public half. */
export function newSeed(
  kind: 'account' | 'curve' | 'user',
  random: Buffer,
): { readonly seed: string; readonly publicKey: string } {
  const [form, parse] = (
    {
      account: [ACCOUNT_SEED, parseAccountSeed],
      curve: [CURVE_SEED, parseCurveSeed],
      user: [USER_SEED, parseUserSeed],
    } as const
  )[kind];
  const seed = encodeNKey(random, form);
  return { seed, publicKey: parse(seed).publicKey };
}

/** The 32 bytes of a public curve key. Throws as the others do. */
export function curveBytes(text: string): Uint8Array {
  return decodeNKey(text, CURVE);
}

/** The key that verifies a server's signatures. Throws as the others do. */
export function parseServerKey(text: string): KeyObject {
  return ed25519Key(decodeNKey(text, SERVER));
}

function ed25519Key(bytes: Buffer): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: bytes.toString('base64url') }, format: 'jwk' });
}

export function isUserKey(text: unknown): text is string {
  return is(text, USER);
}

export function isAccountKey(text: unknown): text is string {
  return is(text, ACCOUNT);
}

function is(text: unknown, form: Form): text is string {
  if (typeof text !== 'string' || text.length !== form.textLength) return false;
  try {
    decodeNKey(text, form);
    return true;
  } catch {
    return false;
  }
}
