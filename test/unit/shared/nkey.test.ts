import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { nkeys } from 'nats';
import { TaskError } from '../../../shared/errors.ts';
import { parseUserPublicKey, parseUserSeed } from '../../../shared/nkey.ts';

// The pair that NATS' own documentation of nk prints.
const SEED = 'SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY';
const PUBLIC_KEY = 'UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4';

const MESSAGE = Buffer.from('any bytes');

function seedOf(pair: ReturnType<typeof nkeys.createUser>): string {
  return Buffer.from(pair.getSeed()).toString();
}

/** Asserts that parsing fails in these words, and that the message shows no part of the text. */
function assertRefused(parse: (text: string) => unknown, text: string, problem: RegExp): void {
  assert.throws(
    () => parse(text),
    (error) => {
      assert.ok(error instanceof TaskError);
      assert.equal(error.code, 'InvalidInput');
      assert.match(error.problem, problem);
      for (let start = 0; start + 6 <= text.length; start++) {
        assert.ok(!error.message.includes(text.slice(start, start + 6)), 'the message repeats a part of the text');
      }
      return true;
    },
  );
}

test('the seed from the NATS documentation gives the public key from the NATS documentation', () => {
  assert.equal(parseUserSeed(SEED).publicKey, PUBLIC_KEY);
});

test('a seed may have white space and line breaks around it, as in a secret variable', () => {
  assert.equal(parseUserSeed(` ${SEED}\r\n`).publicKey, PUBLIC_KEY);
});

test("keys and signatures are interchangeable with the NATS library's", () => {
  for (let round = 0; round < 20; round++) {
    const theirs = nkeys.createUser();
    const ours = parseUserSeed(seedOf(theirs));
    assert.equal(ours.publicKey, theirs.getPublicKey());
    const signature = sign(null, MESSAGE, ours.privateKey);
    assert.ok(theirs.verify(MESSAGE, signature));
    assert.deepEqual(signature, Buffer.from(theirs.sign(MESSAGE)));
    assert.ok(verify(null, MESSAGE, parseUserPublicKey(theirs.getPublicKey()), signature));
    assert.ok(!verify(null, Buffer.from('other bytes'), parseUserPublicKey(theirs.getPublicKey()), signature));
  }
});

test('the Node.js script in docs/signatures.md makes a key pair that the NATS library accepts', async () => {
  const page = readFileSync(new URL('../../../docs/signatures.md', import.meta.url), 'utf8');
  const script = /```js\n(import [^]*?)```/.exec(page)?.[1];
  assert.ok(script !== undefined);
  const folder = await mkdtemp(path.join(tmpdir(), 'new-key-'));
  try {
    const file = path.join(folder, 'new-key.mjs');
    await writeFile(file, script);
    const { stdout } = await promisify(execFile)(process.execPath, [file]);
    const [seed = '', publicKey, ...rest] = stdout.trim().split('\n');
    assert.deepEqual(rest, []);
    assert.equal(nkeys.fromSeed(Buffer.from(seed)).getPublicKey(), publicKey);
    assert.equal(parseUserSeed(seed).publicKey, publicKey);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('another kind of key in place of a seed is named, but never shown', () => {
  assertRefused(
    parseUserSeed,
    seedOf(nkeys.createAccount()),
    /^The NKey is an account seed \(SA…\), which is secret, not a user seed \(SU…\)$/,
  );
  assertRefused(parseUserSeed, seedOf(nkeys.createOperator()), /is an operator seed \(SO…\)/);
  assertRefused(parseUserSeed, seedOf(nkeys.createServer()), /is a server seed \(SN…\)/);
  assertRefused(parseUserSeed, PUBLIC_KEY, /is a user public key \(U…\), not a user seed/);
  assertRefused(parseUserSeed, nkeys.createAccount().getPublicKey(), /is an account public key \(A…\)/);
});

test('another kind of key in place of a public key is named, and a misplaced seed is never shown', () => {
  assertRefused(parseUserPublicKey, SEED, /is a user seed \(SU…\), which is secret, not a public user key \(U…\)/);
  assertRefused(parseUserPublicKey, nkeys.createAccount().getPublicKey(), /is an account public key \(A…\)/);
  assertRefused(parseUserPublicKey, nkeys.createServer().getPublicKey(), /is a server public key \(N…\)/);
  assertRefused(parseUserPublicKey, nkeys.createCluster().getPublicKey(), /is a cluster public key \(C…\)/);
});

test('a key that is too short or too long is refused for its length', () => {
  assertRefused(parseUserSeed, SEED.slice(0, -1), /has 57 characters, but a user seed \(SU…\) has 58/);
  assertRefused(parseUserSeed, `${SEED}A`, /has 59 characters/);
  assertRefused(parseUserPublicKey, PUBLIC_KEY.slice(0, 20), /has 20 characters, but a public user key \(U…\) has 56/);
  assertRefused(parseUserPublicKey, `${PUBLIC_KEY}AA`, /has 58 characters/);
});

test('one mistyped character anywhere in a key is detected', () => {
  for (const [parse, key, fixed] of [
    [parseUserSeed, SEED, 2],
    [parseUserPublicKey, PUBLIC_KEY, 1],
  ] as const) {
    for (let position = fixed; position < key.length; position++) {
      const other = key[position] === 'A' ? 'B' : 'A';
      const mistyped = key.slice(0, position) + other + key.slice(position + 1);
      assertRefused(parse, mistyped, /^The NKey has a wrong checksum/);
    }
  }
});

test('each key has one spelling: a last character that differs only in unused bits is refused', () => {
  assert.ok(SEED.endsWith('Y'));
  assertRefused(parseUserSeed, `${SEED.slice(0, -1)}Z`, /^The NKey has a wrong checksum/);
});

test("text that isn't a key is refused without being shown", () => {
  assertRefused(parseUserSeed, 'hunter2-correct-horse', /^The NKey has characters other than A to Z and 2 to 7$/);
  assertRefused(parseUserSeed, SEED.toLowerCase(), /characters other than/);
  assertRefused(parseUserSeed, `${SEED}\n${SEED}`, /characters other than/);
  assertRefused(
    parseUserSeed,
    `-----BEGIN USER NKEY SEED-----\n${SEED}\n------END USER NKEY SEED------`,
    /characters other than/,
  );
  assertRefused(parseUserSeed, '', /characters other than/);
  assertRefused(parseUserSeed, 'SAFE', /^The NKey is not a user seed \(SU…\)$/);
  assertRefused(parseUserSeed, 'NOTAKEY', /^The NKey is not a user seed \(SU…\)$/);
  assertRefused(parseUserPublicKey, 'Z'.repeat(56), /^The NKey is not a public user key \(U…\)$/);
});
