import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createUser } from 'nats-jwt';
import { parseCredentials } from '../../../../shared/connection/credentials.ts';
import { createNKey, createOperatorMode } from '../../../support/nats/natsAccounts.ts';

const operator = await createOperatorMode();
const expires = new Date('2031-05-06T07:08:09Z');
const creds = await operator.creds({ expires });
const { seed, publicKey } = createNKey();
const jwt = creds.split('\n')[1]!;
const jwtSeed = creds.split('\n').find((line) => line.startsWith('SU'))!;

function accepted(text: string) {
  const credentials = parseCredentials(text);
  assert.ok(!('problem' in credentials), JSON.stringify(credentials));
  return credentials;
}

function refused(text: string): string {
  const credentials = parseCredentials(text);
  assert.ok('problem' in credentials);
  return credentials.problem;
}

const BOM = '\ufeff';

for (const [form, text] of [
  ['as the tool wrote them', creds],
  ['with CRLF', creds.replaceAll('\n', '\r\n')],
  ['with lone CR', creds.replaceAll('\n', '\r')],
  ['with a byte order mark', BOM + creds],
  ['flattened to one line by a form field', creds.replaceAll('\n', ' ')],
  ['with a byte order mark, CRLF and indentation', BOM + creds.replaceAll('\n', '\r\n    ')],
  ['with all line ends lost', `${jwt} ${jwtSeed}`],
  ['with line breaks written out', creds.replaceAll('\n', '\\n')],
  ['with CRLF written out', creds.replaceAll('\n', '\\r\\n')],
  ['with line breaks removed', creds.replaceAll('\n', '')],
  ['wrapped at 76 characters', creds.replace(jwt, jwt.match(/.{1,76}/g)!.join('\n'))],
  ['with its seed wrapped as well', creds.replace(jwtSeed, jwtSeed.match(/.{1,20}/g)!.join('\r\n'))],
  ['as base64 of the file', Buffer.from(creds).toString('base64')],
  ['as base64 of the file in lines', Buffer.from(creds).toString('base64').replace(/.{76}/g, '$&\r\n')],
  ['as base64 of the file in UTF-16', Buffer.from(creds, 'utf16le').toString('base64')],
  ['with a trailing line break', `${creds}\n`],
  ['without the closing lines', creds.slice(0, creds.indexOf(jwtSeed) + jwtSeed.length)],
] as const) {
  test(`credentials ${form} are read`, () => {
    const credentials = accepted(text);
    assert.equal(credentials.kind, 'jwt');
    assert.equal(credentials.jwt, jwt);
    assert.match(credentials.key!.publicKey, /^U[A-Z2-7]{55}$/);
    assert.equal(credentials.expiresAt, expires.getTime());
  });
}

test('a signature that ends in dashes keeps them when line breaks are lost', () => {
  const [header = '', claims = '', signature = ''] = jwt.split('.');
  for (const end of ['-', '--', '-----', '------']) {
    const other = [header, claims, signature.slice(0, -end.length) + end].join('.');
    const credentials = accepted(creds.replace(jwt, other).replaceAll('\n', ''));
    assert.equal(credentials.kind === 'jwt' && credentials.jwt, other);
  }
});

test('credentials without an expiry never expire', async () => {
  const credentials = accepted(await operator.creds());
  assert.equal(credentials.kind === 'jwt' && credentials.expiresAt, undefined);
});

for (const [form, text] of [
  ['alone', seed],
  ['with CRLF', `${seed}\r\n`],
  ['with a byte order mark', BOM + seed],
  ['in quotes', `"${seed}"`],
  ['as base64', Buffer.from(`${seed}\n`).toString('base64')],
  ['with the banner of its file', `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`],
] as const) {
  test(`a user seed ${form} is an NKey`, () => {
    const credentials = accepted(text);
    assert.equal(credentials.kind, 'nkey');
    assert.equal(credentials.key.publicKey, publicKey);
  });
}

/** A user JWT with these claims, whose signature nobody looks at on this side. */
function jwtWith(claims: unknown): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part(claims)}.${'s'.repeat(86)}`;
}

test('a bearer JWT needs no seed; any other JWT does', () => {
  const bearer = accepted(jwtWith({ sub: publicKey, nats: { bearer_token: true } }));
  assert.deepEqual(bearer.kind === 'jwt' && { key: bearer.key, expiresAt: bearer.expiresAt }, {
    key: undefined,
    expiresAt: undefined,
  });
  assert.equal(refused(jwtWith({ sub: publicKey, nats: {} })), 'hold a user JWT but not its NKey user seed (SU…)');
});

test("text that isn't credentials is refused without being shown", () => {
  const wrongSeed = new TextDecoder()
    .decode(createUser().getSeed())
    .replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'));
  for (const [text, problem] of [
    ['hunter2-hunter2', /^\(15 characters\) are neither/],
    [publicKey, /^\(56 characters\) are neither/],
    ['/home/agent/ci.creds', /are neither the text of a \.creds file nor/],
    [wrongSeed, /^cannot be used\. The NKey /],
    [`${jwt}\n${wrongSeed}`, /^cannot be used\. The NKey /],
    [seed.replace('SU', 'SA'), /^cannot be used\. The NKey is (an account|a.*account) seed/],
    [`${'e'.repeat(30)}.${'f'.repeat(30)}.${'g'.repeat(30)}\n${seed}`, /^hold a user JWT that cannot be read$/],
  ] as const) {
    const told = refused(text);
    assert.match(told, problem);
    for (const word of text.split(/\s+/)) assert.ok(!told.includes(word), told);
  }
});

/** The shortest of several measurements in milliseconds, which other work on the machine doesn't make shorter. */
function shortest(times: number, work: () => void): number {
  const durations = Array.from({ length: times }, () => {
    const began = performance.now();
    work();
    return performance.now() - began;
  });
  return Math.min(...durations);
}

for (const [what, part, few] of [
  ['dashes', 'a-', 1_000],
  ['beginnings without an end', '-----BEGIN NATS USER JWT-----', 200],
] as const)
  test(`eight times as many ${what} take eight times as long, not 64 times`, () => {
    const duration = (count: number) => shortest(20, () => refused(part.repeat(count)));
    duration(few);
    const [ofFew, ofMany] = [duration(few), duration(8 * few)];
    assert.ok(ofMany < 24 * ofFew, `${ofFew} ms, then ${ofMany} ms`);
  });
