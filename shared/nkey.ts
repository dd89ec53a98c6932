import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { TaskError } from './errors.ts';

/** A user NKey with which events are signed. */
export interface SigningKey {
  /** The public half as text, `U…`. */
  readonly publicKey: string;
  readonly privateKey: KeyObject;
}

/**
 * How one kind of NKey is written: base32 (RFC 4648, no padding) of prefix, 32 bytes of Ed25519 key and a
 * CRC-16/XMODEM of both, little-endian (github.com/nats-io/nkeys). The prefix shows as the first letters of the text.
 */
export interface Form {
  readonly name: string;
  readonly letters: string;
  readonly prefix: Buffer;
  readonly textLength: number;
  readonly remedy: string;
}

export const USER_SEED: Form = {
  name: 'a user seed (SU…)',
  letters: 'SU',
  prefix: Buffer.from([0x95, 0x00]),
  textLength: 58,
  remedy: 'Store the one line that begins with SU, as "nk -gen user" prints it.',
};

const USER_PUBLIC_KEY: Form = {
  name: 'a public user key (U…)',
  letters: 'U',
  prefix: Buffer.from([0xa0]),
  textLength: 56,
  remedy: 'Give the public key that begins with U, as "nk -inkey <seed file> -pubout" prints it.',
};

const OWNERS: Readonly<Record<string, string>> = {
  A: 'account',
  C: 'cluster',
  N: 'server',
  O: 'operator',
  U: 'user',
  X: 'curve',
};

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** What precedes the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410, section 7). */
export const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Reads the secret seed of a user NKey, with or without white space around it.
 * Fails with `InvalidInput` in words that never repeat any part of the text.
 */
export function parseUserSeed(text: string): SigningKey {
  const seed = decodeNKey(text.trim(), USER_SEED);
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { publicKey: encodeNKey(Buffer.from(x ?? '', 'base64url'), USER_PUBLIC_KEY), privateKey };
}

/**
 * Reads the public half of a user NKey. Fails with `InvalidInput`, without repeating the text: it may be a seed
 * that was put in the wrong place.
 */
export function parseUserPublicKey(text: string): KeyObject {
  const x = decodeNKey(text, USER_PUBLIC_KEY).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/**
 * The 32 bytes of key inside an NKey's text.
 *
 * @throws TaskError `InvalidInput`, in words that never repeat any part of the text
 */
export function decodeNKey(text: string, form: Form): Buffer {
  const invalid = (problem: string): TaskError => new TaskError('InvalidInput', `The NKey ${problem}`, form.remedy);
  if (!/^[A-Z2-7]+$/.test(text)) throw invalid('has characters other than A to Z and 2 to 7');
  if (!text.startsWith(form.letters)) {
    const actual = kindOf(text);
    throw invalid(actual === undefined ? `is not ${form.name}` : `is ${actual}, not ${form.name}`);
  }
  if (text.length !== form.textLength) {
    throw invalid(`has ${text.length} characters, but ${form.name} has ${form.textLength}`);
  }
  const key = fromBase32(text).subarray(form.prefix.length, -2);
  // One comparison finds a wrong checksum and stray bits in the prefix and after the last byte alike.
  if (encodeNKey(key, form) !== text) throw invalid('has a wrong checksum: a part of it was mistyped or lost');
  return key;
}

/** The text of an NKey with these 32 bytes of key. */
export function encodeNKey(key: Uint8Array, form: Form): string {
  const content = Buffer.concat([form.prefix, key]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(content));
  return toBase32(Buffer.concat([content, checksum]));
}

/** What other NKey a text is, by its length and first letters. */
function kindOf(text: string): string | undefined {
  const isSeed = text.startsWith('S') && text.length === USER_SEED.textLength;
  if (!isSeed && text.length !== USER_PUBLIC_KEY.textLength) return undefined;
  const letters = text.slice(0, isSeed ? 2 : 1);
  const owner = OWNERS[letters.slice(-1)];
  if (owner === undefined) return undefined;
  const article = /^[aeio]/.test(owner) ? 'an' : 'a';
  return isSeed
    ? `${article} ${owner} seed (${letters}…), which is secret`
    : `${article} ${owner} public key (${letters}…)`;
}

/** CRC-16/XMODEM: polynomial 0x1021, initial value 0. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0xffff;
}

function toBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => BASE32[parseInt(five.padEnd(5, '0'), 2)]).join('');
}

function fromBase32(text: string): Buffer {
  const bits = Array.from(text, (letter) => BASE32.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((eight) => parseInt(eight, 2)));
}
