import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { nkeys } from 'nats';
import type { OutgoingMessage } from '../../../../shared/bus.ts';
import { TaskError } from '../../../../shared/errors.ts';
import { parseUserPublicKey, parseUserSeed, type SigningKey } from '../../../../shared/nkey.ts';
import {
  parseTrustedKeys,
  signMessage,
  verifySignature,
  type TrustedKey,
  type Verification,
} from '../../../../shared/signing/signature.ts';

type Received = Parameters<typeof verifySignature>[0];

interface Vector {
  readonly seed: string;
  readonly publicKey: string;
  readonly iat: number;
  readonly subject: string;
  readonly headers: readonly string[];
  readonly payload: string;
  readonly protectedHeader: string;
  readonly signedPayload: string;
  readonly eventSignature: string;
}

const NOW = new Date('2026-03-04T05:06:07.890Z');
const SIGNED_AT = Date.parse('2026-03-04T05:06:07.000Z');
const KEY = newKey();

const EVENT: OutgoingMessage = {
  subject: 'ci.deploy.v1.production',
  headers: [
    ['ce-specversion', '1.0'],
    ['ce-id', 'run-1'],
    ['ce-source', 'https://dev.azure.com/contoso/shop/_build?definitionId=7'],
    ['ce-type', 'com.contoso.deployed'],
    ['ce-azprequester', 'Zo%C3%AB%20%22Z%22'],
    ['Nats-Msg-Id', 'run-1'],
    ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ],
  payload: Buffer.from('{"version":"1.4.0","note":"grüße"}'),
};

function newKey(): SigningKey {
  return parseUserSeed(Buffer.from(nkeys.createUser().getSeed()).toString());
}

function trust(key: SigningKey, subjects?: string): TrustedKey {
  return { publicKey: key.publicKey, key: parseUserPublicKey(key.publicKey), subjects };
}

/** The message as a reader of the stream gets it. */
function received(message: OutgoingMessage): Received {
  const headers = new Map<string, string[]>();
  for (const [name, value] of message.headers) {
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value]);
  }
  return { subject: message.subject, headers, payload: message.payload };
}

/** The message with the values of one header replaced; no value removes it. */
function withHeader(message: Received, name: string, ...values: string[]): Received {
  const headers = new Map(message.headers);
  if (values.length === 0) headers.delete(name);
  else headers.set(name, values);
  return { ...message, headers };
}

function signedEvent(key = KEY): Received {
  return received(signMessage(EVENT, key, NOW));
}

function signatureOf(message: Received): string {
  return message.headers.get('event-signature')?.[0] ?? '';
}

function verifyWithKey(message: Received): Verification {
  return verifySignature(message, [trust(KEY)]);
}

function assertRefused(verification: Verification, reason: RegExp): void {
  assert.ok(!verification.ok, 'the event was trusted');
  assert.match(verification.reason, reason);
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}

/** The event with a protected header as another signer might write it, properly signed over the right payload. */
function signedWithHeader(protectedHeader: string, iat: unknown = SIGNED_AT / 1000): Received {
  const ce = [
    '"azprequester":"Zoë \\"Z\\""',
    '"id":"run-1"',
    '"source":"https://dev.azure.com/contoso/shop/_build?definitionId=7"',
    '"specversion":"1.0"',
    '"type":"com.contoso.deployed"',
  ].join();
  const sha256 = '"sha256":"dacce7de25a07a6a970c3c649a32309acc9481d5316db4f4d73feab6d3288ee2"';
  const payload = `{"ce":{${ce}},"iat":${JSON.stringify(iat)},"id":"run-1",${sha256},"subject":"ci.deploy.v1.production"}`;
  const input = `${base64url(protectedHeader)}.${base64url(payload)}`;
  const signature = sign(null, Buffer.from(input), KEY.privateKey).toString('base64url');
  return withHeader(received(EVENT), 'event-signature', `${base64url(protectedHeader)}..${signature}`);
}

function protectedHeader(members: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ alg: 'EdDSA', kid: KEY.publicKey, iat: SIGNED_AT / 1000, ...members });
}

function documentedVector(): Vector {
  const page = readFileSync(new URL('../../../../docs/signatures.md', import.meta.url), 'utf8');
  const block = /## Test vector[^]*?```json\n([^]*?)```/.exec(page)?.[1];
  assert.ok(block !== undefined);
  return JSON.parse(block) as Vector;
}

function documentedMessage(vector: Vector): OutgoingMessage {
  const headers = vector.headers.map((line) => {
    const [name = '', value = ''] = line.split(/: (.*)/);
    return [name, value] as const;
  });
  return { subject: vector.subject, headers, payload: Buffer.from(vector.payload) };
}

test('a signed event is trusted, with its key and signing time in whole seconds', () => {
  assert.deepEqual(verifyWithKey(signedEvent()), { ok: true, kid: KEY.publicKey, signedAt: SIGNED_AT });
});

test('signing adds one header and leaves the rest of the message as it was', () => {
  const { headers, ...rest } = signMessage(EVENT, KEY, NOW);
  assert.deepEqual(rest, { subject: EVENT.subject, payload: EVENT.payload });
  assert.deepEqual(headers.slice(0, -1), EVENT.headers);
  assert.equal(headers.at(-1)?.[0], 'Event-Signature');
});

test('the documented test vector is reproduced byte for byte, and verifies', () => {
  const vector = documentedVector();
  const key = parseUserSeed(vector.seed);
  assert.equal(key.publicKey, vector.publicKey);
  const signed = signMessage(documentedMessage(vector), key, new Date(vector.iat * 1000));
  assert.equal(signed.headers.at(-1)?.[1], vector.eventSignature);
  assert.deepEqual(verifySignature(received(signed), [trust(key)]), {
    ok: true,
    kid: vector.publicKey,
    signedAt: vector.iat * 1000,
  });
});

test('the NATS library makes the documented signature from the documented texts', () => {
  const vector = documentedVector();
  const protectedPart = base64url(vector.protectedHeader);
  const input = Buffer.from(`${protectedPart}.${base64url(vector.signedPayload)}`);
  const signature = nkeys.fromSeed(Buffer.from(vector.seed)).sign(input);
  assert.equal(`${protectedPart}..${Buffer.from(signature).toString('base64url')}`, vector.eventSignature);
});

test('a protected header in another order or with spaces is trusted, too', () => {
  const verification = verifyWithKey(
    signedWithHeader(`{ "kid": "${KEY.publicKey}",\n "iat": ${String(SIGNED_AT / 1000)}, "alg": "EdDSA" }`),
  );
  assert.deepEqual(verification, { ok: true, kid: KEY.publicKey, signedAt: SIGNED_AT });
});

test('an event without attributes, as in a structured envelope, is signed by its payload', () => {
  const contentType = ['Content-Type', 'application/cloudevents+json'] as const;
  const message = received(signMessage({ ...EVENT, headers: [['Nats-Msg-Id', 'run-1'], contentType] }, KEY, NOW));
  assert.ok(verifyWithKey(message).ok);
  assertRefused(verifyWithKey({ ...message, payload: Buffer.from('{}') }), /does not match/);
  const unclaimed = withHeader(message, 'content-type');
  assertRefused(verifyWithKey(withHeader(unclaimed, 'ce-id', 'run-1')), /does not match/);
});

test('an empty and a binary payload can be signed', () => {
  for (const payload of [Buffer.alloc(0), Buffer.from([0xff, 0x00, 0xc3])]) {
    const message = received(signMessage({ ...EVENT, payload }, KEY, NOW));
    assert.ok(verifyWithKey(message).ok);
    assertRefused(verifyWithKey({ ...message, payload: Buffer.concat([payload, Buffer.alloc(1)]) }), /does not match/);
  }
});

test('headers that the signature does not cover may change on the way', () => {
  const event = signedEvent();
  assert.ok(verifyWithKey(withHeader(event, 'traceparent')).ok);
  assert.ok(verifyWithKey(withHeader(event, 'nats-expected-stream', 'CI')).ok);
});

test('an event without a signature is not trusted', () => {
  assertRefused(verifyWithKey(received(EVENT)), /^it is not signed$/);
});

test('an altered payload is detected, even if it is equivalent JSON', () => {
  const event = signedEvent();
  assertRefused(
    verifyWithKey({ ...event, payload: Buffer.from('{"version":"6.6.6"}') }),
    /does not match: the payload/,
  );
  assertRefused(
    verifyWithKey({ ...event, payload: Buffer.from('{"version": "1.4.0","note":"grüße"}') }),
    /does not match/,
  );
});

test('a signed event replayed to another subject is not trusted', () => {
  assertRefused(verifyWithKey({ ...signedEvent(), subject: 'ci.deploy.v1.staging' }), /does not match/);
});

test('the signature covers every attribute: a changed, removed or added one is detected', () => {
  const event = signedEvent();
  const names = [...event.headers.keys()].filter((name) => name.startsWith('ce-'));
  assert.equal(names.length, 5);
  for (const name of names) {
    assertRefused(verifyWithKey(withHeader(event, name, 'other')), /does not match/);
    assertRefused(verifyWithKey(withHeader(event, name)), /does not match/);
  }
  for (const name of ['ce-extra', 'ce-', 'ce-__proto__', 'ce-constructor', 'ce-toString']) {
    assertRefused(verifyWithKey(withHeader(event, name.toLowerCase(), 'added')), /does not match/);
  }
});

test('an attribute with the same value in another encoding is the same attribute', () => {
  const event = signedEvent();
  assert.ok(verifyWithKey(withHeader(event, 'ce-azprequester', 'Zo%c3%ab%20%22Z%22')).ok);
  assert.ok(verifyWithKey(withHeader(event, 'ce-id', 'run%2D1')).ok);
});

test('a repeated attribute is refused, even if both values are the signed one', () => {
  assertRefused(verifyWithKey(withHeader(signedEvent(), 'ce-id', 'run-1', 'run-1')), /more than one ce-id header/);
});

test('a Content-Type added on the way cannot turn signed attributes into headers that nobody reads', () => {
  for (const type of ['application/cloudevents+json', ' Application/CloudEvents; charset=utf-8']) {
    assertRefused(verifyWithKey(withHeader(signedEvent(), 'content-type', type)), /its Content-Type.* denies its ce-/);
    assertRefused(verifyWithKey(withHeader(signedEvent(), 'content-type', 'text/plain', type)), /its Content-Type/);
  }
  assert.ok(verifyWithKey(withHeader(signedEvent(), 'content-type', 'application/json')).ok);
});

test("an attribute that isn't percent-encoded is covered unchanged", () => {
  assertRefused(verifyWithKey(withHeader(signedEvent(), 'ce-id', '%C3')), /does not match/);
});

test('the signature covers the message id: a changed, removed or repeated one is refused', () => {
  const event = signedEvent();
  assertRefused(verifyWithKey(withHeader(event, 'nats-msg-id', 'run-2')), /does not match/);
  assertRefused(verifyWithKey(withHeader(event, 'nats-msg-id')), /no Nats-Msg-Id header/);
  assertRefused(verifyWithKey(withHeader(event, 'nats-msg-id', '')), /no Nats-Msg-Id header/);
  assertRefused(verifyWithKey(withHeader(event, 'nats-msg-id', 'run-1', 'run-1')), /more than one Nats-Msg-Id header/);
});

test('an event signed with a key that is not trusted is refused, and the key is named', () => {
  const stranger = newKey();
  assertRefused(verifyWithKey(signedEvent(stranger)), new RegExp(`unknown key ${stranger.publicKey}$`));
  assertRefused(verifySignature(signedEvent(), []), /unknown key/);
});

test('an event that names a trusted key but is signed with another is refused', () => {
  const stranger: SigningKey = { ...newKey(), publicKey: KEY.publicKey };
  assertRefused(verifyWithKey(signedEvent(stranger)), /another key made it/);
});

test("one event's signature is not valid for another", () => {
  const other = received(signMessage({ ...EVENT, payload: Buffer.from('{}') }, KEY, NOW));
  assertRefused(verifyWithKey(withHeader(signedEvent(), 'event-signature', signatureOf(other))), /does not match/);
});

test("a signature's time can't be changed, so an old event stays old", () => {
  const [, , signature] = signatureOf(signedEvent()).split('.');
  const later = base64url(protectedHeader({ iat: SIGNED_AT / 1000 + 3600 }));
  const event = withHeader(signedEvent(), 'event-signature', `${later}..${String(signature)}`);
  assertRefused(verifyWithKey(event), /does not match/);
});

test('a key is trusted only for the subjects on its lines', () => {
  const event = signedEvent();
  assert.ok(verifySignature(event, [trust(KEY, 'ci.deploy.>')]).ok);
  assert.ok(verifySignature(event, [trust(KEY, 'ci.*.v1.production')]).ok);
  assert.ok(verifySignature(event, [trust(KEY, 'ci.test.>'), trust(KEY, 'ci.deploy.v1.production')]).ok);
  const reason = new RegExp(`signed with key ${KEY.publicKey}, which is not trusted for this subject$`);
  assertRefused(verifySignature(event, [trust(KEY, 'ci.test.>')]), reason);
  assertRefused(verifySignature(event, [trust(KEY, 'ci.deploy.*')]), reason);
  assertRefused(verifySignature(event, [trust(KEY, 'ci.test.>'), trust(newKey())]), reason);
});

test('two signatures are refused, even when both are good', () => {
  const event = signedEvent();
  const twice = withHeader(event, 'event-signature', signatureOf(event), signatureOf(event));
  assertRefused(verifyWithKey(twice), /more than one Event-Signature header/);
});

test('a signature that is not a detached JWS is malformed', () => {
  const event = signedEvent();
  const [header = '', , signature = ''] = signatureOf(event).split('.');
  for (const value of [
    '',
    'x',
    '.',
    `${header}.${signature}`,
    `${header}...${signature}`,
    `${header}..${signature}.`,
  ]) {
    assertRefused(verifyWithKey(withHeader(event, 'event-signature', value)), /malformed: it is not a detached JWS/);
  }
  const attached = `${header}.${base64url('{}')}.${signature}`;
  assertRefused(verifyWithKey(withHeader(event, 'event-signature', attached)), /malformed: it is not a detached JWS/);
});

test('non-canonical base64url is malformed, even if a lenient decoder reads the same bytes', () => {
  const event = signedEvent();
  const [header = '', , signature = ''] = signatureOf(event).split('.');
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // 64 bytes end in a character with four unused bits.
  const strayBits = signature.slice(0, -1) + String(letters[letters.indexOf(signature.slice(-1)) + 1]);
  assert.deepEqual(Buffer.from(strayBits, 'base64url'), Buffer.from(signature, 'base64url'));
  for (const other of [strayBits, `${signature}==`, `${signature} `, `${signature}\n`, `*${signature}`, 'AAAA', '']) {
    const value = `${header}..${other}`;
    assertRefused(verifyWithKey(withHeader(event, 'event-signature', value)), /malformed: it is not 64 bytes/);
  }
  for (const other of [`${header}=`, ` ${header}`, `${header}*`]) {
    const value = `${other}..${signature}`;
    assertRefused(verifyWithKey(withHeader(event, 'event-signature', value)), /malformed: its header is not base64url/);
  }
});

test('a protected header that is not a JSON object is malformed', () => {
  for (const text of ['', 'x', 'null', '[]', '"EdDSA"', '1', '{"alg":"EdDSA"', `\ufeff${protectedHeader()}`]) {
    assertRefused(verifyWithKey(signedWithHeader(text)), /malformed: its header is not a JSON object/);
  }
  const notUtf8 = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString('base64url');
  const event = withHeader(signedEvent(), 'event-signature', `${notUtf8}..${'A'.repeat(86)}`);
  assertRefused(verifyWithKey(event), /malformed: its header is not a JSON object/);
});

test('only EdDSA is accepted, whatever the header asks for', () => {
  for (const alg of ['none', 'HS256', 'ES256', 'Ed25519', 'eddsa', '', null, ['EdDSA'], undefined]) {
    assertRefused(verifyWithKey(signedWithHeader(protectedHeader({ alg }))), /an algorithm other than EdDSA/);
  }
});

test("a key name that isn't a public user key is malformed, and isn't shown", () => {
  const others = ['', 'me', `${KEY.publicKey}\n`, `##vso[task.complete]${KEY.publicKey}`, KEY.publicKey.toLowerCase()];
  for (const kid of [...others, nkeys.createAccount().getPublicKey(), [KEY.publicKey], null, undefined]) {
    const verification = verifyWithKey(signedWithHeader(protectedHeader({ kid })));
    assertRefused(verification, /malformed: "kid" is not a public user NKey \(U…\)$/);
  }
});

test("a signature without a time is refused, and a time that isn't in whole seconds is malformed", () => {
  assertRefused(verifyWithKey(signedWithHeader(protectedHeader({ iat: undefined }))), /has no time \("iat"\)/);
  for (const iat of [-1, 1.5, 8_640_000_000_001, 1e300, '1772600767', null, true]) {
    const verification = verifyWithKey(signedWithHeader(protectedHeader({ iat }), iat));
    assertRefused(verification, /malformed: "iat" is not a time in whole seconds/);
  }
});

test('unknown members of the protected header are refused: crit, an embedded key, anything', () => {
  const { x } = KEY.privateKey.export({ format: 'jwk' });
  const members = [{ crit: ['b64'], b64: false }, { jwk: { kty: 'OKP', crv: 'Ed25519', x } }, { typ: 'JWT' }];
  for (const others of members) {
    assertRefused(
      verifyWithKey(signedWithHeader(protectedHeader(others))),
      /malformed: its header has members other than/,
    );
  }
  const proto = protectedHeader().replace('{', '{"__proto__":{},');
  assertRefused(verifyWithKey(signedWithHeader(proto)), /malformed: its header has members other than/);
});

test("an event that is incomplete or already signed can't be signed", () => {
  const problems: [OutgoingMessage, RegExp][] = [
    [{ ...EVENT, headers: [['ce-id', 'run-1']] }, /cannot be signed: it has no Nats-Msg-Id header/],
    [{ ...EVENT, headers: [...EVENT.headers, ['Ce-Id', 'run-2']] }, /cannot be signed: it has more than one ce-id/],
    [signMessage(EVENT, KEY, NOW), /cannot be signed: it is signed already/],
  ];
  for (const [message, problem] of problems) {
    assert.throws(
      () => signMessage(message, KEY, NOW),
      (error) => error instanceof TaskError && error.code === 'Internal' && problem.test(error.problem),
    );
  }
});

test('trusted keys are read one per line, each with an optional subject pattern', () => {
  const [one, other] = [newKey().publicKey, newKey().publicKey];
  const { keys, problems } = parseTrustedKeys(`\n${one}\r\n\n  ${other}\t ci.deploy.> \n${one} ci.*.v1`);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    keys.map(({ publicKey, subjects }) => [publicKey, subjects]),
    [
      [one, undefined],
      [other, 'ci.deploy.>'],
      [one, 'ci.*.v1'],
    ],
  );
});

test('parsed trusted keys verify events', () => {
  assert.ok(verifySignature(signedEvent(), parseTrustedKeys(`${KEY.publicKey} ci.deploy.>`).keys).ok);
  assert.ok(!verifySignature(signedEvent(), parseTrustedKeys(`${KEY.publicKey} ci.test.>`).keys).ok);
});

test("every bad line of trusted keys is reported with its number, and a misplaced seed isn't shown", () => {
  const seed = Buffer.from(nkeys.createUser().getSeed()).toString();
  const good = newKey().publicKey;
  const { keys, problems } = parseTrustedKeys(
    [good, seed, '', `${good} ci..deploy`, `${good} ci.> ci.>`, `${good}, ${good}`, `${good} ci.v1`].join('\n'),
  );
  assert.equal(keys.length, 2);
  assert.equal(problems.length, 4);
  assert.match(
    problems[0]!.problem,
    /^line 2: The NKey is a user seed \(SU…\), which is secret, not a public user key/,
  );
  assert.match(problems[1]!.problem, /^line 4: The subject pattern has an empty part/);
  assert.match(problems[2]!.problem, /^line 5: More than one subject pattern follows the key$/);
  assert.match(problems[3]!.problem, /^line 6: The NKey has characters other than A to Z and 2 to 7/);
  assert.ok(!JSON.stringify(problems).includes(seed.slice(2, 10)));
});
