import { isUtf8 } from 'node:buffer';
import { createHash, sign, verify, type KeyObject } from 'node:crypto';
import type { OutgoingMessage, ReceivedMessage } from '../bus.ts';
import { TaskError, type Problem } from '../errors.ts';
import { decodeAttribute } from '../event/cloudEvent.ts';
import { parseUserPublicKey, type SigningKey } from '../nkey.ts';
import { subjectMatches, subjectProblem } from '../subject.ts';
import { canonicalize, parseObject } from '../text/json.ts';

/** A key whose signatures are trusted. */
export interface TrustedKey {
  /** The public user NKey, `U…`. */
  readonly publicKey: string;
  readonly key: KeyObject;
  /** The subject pattern to which the trust is limited; undefined: any subject. */
  readonly subjects: string | undefined;
}

export type Verification =
  | {
      readonly ok: true;
      /** The public NKey that signed. */
      readonly kid: string;
      /** The signature's `iat`, in milliseconds since the epoch. */
      readonly signedAt: number;
    }
  | { readonly ok: false; readonly reason: string };

/** Why an event can't be signed or its signature can't be trusted: a clause about the event, without full stop. */
class Refusal extends Error {}

const DOES_NOT_FIT =
  'its signature does not match: the payload, the subject or an attribute was altered, or another key made it';
const HEADER = 'Event-Signature';
const PUBLIC_USER_KEY = /^U[A-Z2-7]{55}$/;
const ED25519_SIGNATURE_BYTES = 64;
/** The last second a `Date` can hold. */
const MAX_SECONDS = 8_640_000_000_000;

type Signable = Pick<ReceivedMessage, 'subject' | 'headers' | 'payload'>;

/**
 * The message with an `Event-Signature` header added: a detached JWS (RFC 7515, appendix F) over its subject, its
 * `Nats-Msg-Id`, its CloudEvents headers, the SHA-256 of its payload and the time. docs/signatures.md has the details.
 * The message must be final: any later change to these makes the signature invalid.
 */
export function signMessage(message: OutgoingMessage, key: SigningKey, now: Date): OutgoingMessage {
  const headers = new Map<string, string[]>();
  for (const [name, value] of message.headers) {
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value]);
  }
  const iat = Math.floor(now.getTime() / 1000);
  const protectedHeader = base64url(JSON.stringify({ alg: 'EdDSA', kid: key.publicKey, iat }));
  try {
    if (headers.has(HEADER.toLowerCase())) throw new Refusal('it is signed already');
    const signature = sign(null, signingInput(protectedHeader, { ...message, headers }, iat), key.privateKey);
    const header = [HEADER, `${protectedHeader}..${signature.toString('base64url')}`] as const;
    return { ...message, headers: [...message.headers, header] };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new TaskError('Internal', `The event on "${message.subject}" cannot be signed: ${error.message}`);
  }
}

/** Whether one of the trusted keys signed exactly this message for this subject, and when; or why not. */
export function verifySignature(message: Signable, trusted: readonly TrustedKey[]): Verification {
  try {
    const { protectedHeader, kid, iat, signature } = parseSignature(message.headers.get(HEADER.toLowerCase()) ?? []);
    const key = trustedKey(kid, message.subject, trusted);
    if (!verify(null, signingInput(protectedHeader, message, iat), key, signature)) throw new Refusal(DOES_NOT_FIT);
    return { ok: true, kid, signedAt: iat * 1000 };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.message };
    throw error;
  }
}

/**
 * Reads trusted keys, one per line: a public user NKey, then, if its trust is limited, a subject pattern.
 * `problems` says for each bad line, by its number, what is wrong with it.
 */
export function parseTrustedKeys(text: string): { keys: readonly TrustedKey[]; problems: readonly Problem[] } {
  const keys: TrustedKey[] = [];
  const problems: Problem[] = [];
  for (const [index, line] of text.split(/\r\n|\n|\r/).entries()) {
    const [publicKey, subjects, ...rest] = line.trim().split(/\s+/);
    if (!publicKey) continue;
    try {
      const key = parseUserPublicKey(publicKey);
      const wrong = subjects === undefined ? undefined : subjectProblem(subjects, 'pattern');
      if (wrong !== undefined) throw new TaskError('InvalidInput', `The subject pattern ${wrong}`);
      if (rest.length > 0) throw new TaskError('InvalidInput', 'More than one subject pattern follows the key');
      keys.push({ publicKey, key, subjects });
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      problems.push({ problem: `line ${index + 1}: ${error.problem}`, remedy: error.remedy });
    }
  }
  return { keys, problems };
}

/** Takes the header apart: `<base64url of the protected header>..<base64url of the signature>`. */
function parseSignature(values: readonly string[]) {
  const [value] = values;
  if (value === undefined) throw new Refusal('it is not signed');
  if (values.length > 1) throw new Refusal(`it has more than one ${HEADER} header`);
  const [protectedHeader, payload, signatureText, ...rest] = value.split('.');
  if (protectedHeader === undefined || payload !== '' || signatureText === undefined || rest.length > 0) {
    throw new Refusal('its signature is malformed: it is not a detached JWS of the form "header..signature"');
  }
  const { alg, kid, iat, ...others } = parseProtectedHeader(protectedHeader);
  if (alg !== 'EdDSA') throw new Refusal('its signature uses an algorithm other than EdDSA');
  if (typeof kid !== 'string' || !PUBLIC_USER_KEY.test(kid)) {
    throw new Refusal('its signature is malformed: "kid" is not a public user NKey (U…)');
  }
  if (iat === undefined) throw new Refusal('its signature has no time ("iat")');
  if (typeof iat !== 'number' || !Number.isInteger(iat) || iat < 0 || iat > MAX_SECONDS) {
    throw new Refusal('its signature is malformed: "iat" is not a time in whole seconds');
  }
  // Members that are not understood must not be skipped: with "crit" they would change what was signed (RFC 7515, section 4.1.11).
  if (Object.keys(others).length > 0) {
    throw new Refusal('its signature is malformed: its header has members other than "alg", "kid" and "iat"');
  }
  const signature = fromBase64url(signatureText);
  if (signature?.length !== ED25519_SIGNATURE_BYTES) {
    throw new Refusal(`its signature is malformed: it is not ${ED25519_SIGNATURE_BYTES} bytes in base64url`);
  }
  return { protectedHeader, kid, iat, signature };
}

function parseProtectedHeader(text: string): Readonly<Record<string, unknown>> {
  const bytes = fromBase64url(text);
  if (bytes === undefined) throw new Refusal('its signature is malformed: its header is not base64url');
  const header = isUtf8(bytes) ? parseObject(bytes.toString()) : undefined;
  if (header === undefined) throw new Refusal('its signature is malformed: its header is not a JSON object');
  return header;
}

function trustedKey(kid: string, subject: string, trusted: readonly TrustedKey[]): KeyObject {
  const known = trusted.filter(({ publicKey }) => publicKey === kid);
  if (known.length === 0) throw new Refusal(`it is signed with the unknown key ${kid}`);
  const match = known.find(({ subjects }) => subjects === undefined || subjectMatches(subjects, subject));
  if (match === undefined) throw new Refusal(`it is signed with key ${kid}, which is not trusted for this subject`);
  return match.key;
}

/** The bytes that are signed (RFC 7515, section 5.1), whose payload both sides make from the message. */
function signingInput(protectedHeader: string, message: Signable, iat: number): Buffer {
  const payload = canonicalize({
    subject: message.subject,
    id: messageId(message.headers),
    iat,
    sha256: createHash('sha256').update(message.payload).digest('hex'),
    ce: attributes(message.headers),
  });
  return Buffer.from(`${protectedHeader}.${base64url(payload)}`);
}

function messageId(headers: Signable['headers']): string {
  const ids = headers.get('nats-msg-id') ?? [];
  if (ids.length > 1) throw new Refusal('it has more than one Nats-Msg-Id header');
  if (!ids[0]) throw new Refusal('it has no Nats-Msg-Id header, which a signature must cover');
  return ids[0];
}

/** The values of all `ce-` headers by attribute name. Each is an own property, even `__proto__`: none may escape the signature. */
function attributes(headers: Signable['headers']): Readonly<Record<string, string>> {
  const ceHeaders = [...headers].filter(([name]) => name.startsWith('ce-'));
  // Content-Type is not signed, and with this value a reader looks for the attributes in the payload instead.
  const claimsStructured = headers.get('content-type')?.some((type) => /^\s*application\/cloudevents/i.test(type));
  if (ceHeaders.length > 0 && claimsStructured === true) {
    throw new Refusal('its Content-Type, which a signature does not cover, denies its ce- headers');
  }
  const decoded = ceHeaders.map(([name, values]) => {
    const [value = ''] = values;
    if (values.length > 1) throw new Refusal(`it has more than one ${name} header`);
    return [name.slice('ce-'.length), decodeAttribute(value)] as const;
  });
  return Object.fromEntries(decoded);
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}

/** The bytes, or undefined unless the text is the one way to write them: Node's decoder skips what it doesn't know. */
function fromBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}
