import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formsOf, knownSecrets, Masker } from '../../../../shared/text/masker.ts';
import { markdownCode, markdownText } from '../../../../tasks/agent/summary/markdown.ts';
import { logLine } from '../../../../shared/text/logLine.ts';
import { quoted, safeText, shortened } from '../../../../shared/text/safeText.ts';

function maskerOf(...secrets: readonly string[]): Masker {
  const masker = new Masker();
  secrets.forEach((secret, index) => {
    masker.add(secret, `secret ${index}`);
  });
  return masker;
}

const PASSWORD = 'p4ss/w+rd ="q"\\ü\t%?&\u{1f511}';

for (const form of formsOf(PASSWORD)) {
  test(`a secret is masked as ${JSON.stringify(form)}`, () => {
    assert.equal(maskerOf(PASSWORD).mask(`before ${form} after`), 'before *** after');
  });
}

test('adjacent or overlapping secrets are masked as one, the longest first', () => {
  const masker = maskerOf('secret-one', 'one-and-two', 'secret-one-and-two-and-three');
  assert.equal(masker.mask('a secret-one-and-two b'), 'a *** b');
  assert.equal(masker.mask('secret-one-and-two-and-three'), '***');
  assert.equal(masker.mask('secret-onesecret-one, secret-one'), '***, ***');
});

test('each line of a secret is masked separately, and short lines only together with the others', () => {
  const masker = maskerOf('first line\nsecond line', 'abc\ndef\nghi');
  assert.equal(masker.mask('<first line> <second line>'), '<***> <***>');
  assert.equal(masker.mask('abc, abc\ndef\nghi'), 'abc, ***');
});

test('short secrets are left to the agent, since masking them would hide ordinary words', () => {
  const masker = maskerOf('true', '1', 'prod', ' dev  ', '', '\n', '12345');
  for (const text of ['true', '1', 'prod', ' dev  ', '', '12345']) assert.equal(masker.mask(text), text);
  assert.equal(maskerOf('123456').mask('a123456b'), 'a***b');
});

test('text is masked before it is cut, so the start of a secret is never shown', () => {
  const secret = 'Kilo-'.repeat(30);
  const masker = maskerOf(secret);
  for (const end of [0, 1, 7, 8, 9, 50, 200])
    assert.ok(!masker.mask(`before ${secret} after`, end).includes('Kilo'), String(end));
  assert.equal(masker.mask(`before ${secret} after`, 20), 'before ***');
  assert.equal(masker.mask(`before ${secret} after`, 7), 'before ');
  assert.equal(masker.mask('no secret', 2), 'no');
});

for (const [form, text] of [
  ['as it is', 'Basic hunter-2-and-more'],
  ['trimmed', 'hunter-2-and-more'],
  ['in base64', Buffer.from(' hunter-2-and-more ').toString('base64')],
  ['in base64 without padding', Buffer.from('hunter-2-and-more').toString('base64url')],
  ['URL-encoded', encodeURIComponent(' hunter-2-and-more ')],
] as const) {
  test(`a secret is detected ${form}`, () => {
    assert.equal(maskerOf('other-secret', ' hunter-2-and-more ').secretIn(`{"a":"${text}"}`), 'secret 1');
  });
}

const TOKEN = 'pa/t+h"und&ünd~more';
const escapedUnits = (text: string) =>
  Array.from(text, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
const wrapped = (text: string, lineEnd: string) => text.replace(/.{8}/g, `$&${lineEnd}`);
const inBase64 = (text: string) => Buffer.from(text).toString('base64');
const XML: Readonly<Record<string, string>> = { '"': '&quot;', '&': '&amp;', ü: '&#xfc;' };
for (const [form, text] of [
  ['as the password of Basic', `Basic ${inBase64(`user:${TOKEN}`)}`],
  ['as a token of Basic without a user', `Basic ${inBase64(`:${TOKEN}`)}`],
  ['inside base64 of a longer text', inBase64(`xy${TOKEN} and more`)],
  ['inside base64 for URLs', Buffer.from(`x${TOKEN}z`).toString('base64url')],
  ['in base64 that is wrapped', wrapped(inBase64(TOKEN), '\r\n ')],
  ['in base64 that is wrapped and escaped', wrapped(inBase64(TOKEN), '\\n')],
  ['in UTF-16', Buffer.from(TOKEN, 'utf16le')],
  ['in base64 of UTF-16', Buffer.from(`user:${TOKEN}`, 'utf16le').toString('base64')],
  ['in hex', Buffer.from(TOKEN).toString('hex')],
  ['in upper-case hex', Buffer.from(TOKEN).toString('hex').toUpperCase()],
  ['in escapes of JSON', `{"a":"${escapedUnits(TOKEN)}"}`],
  ['with escaped slashes', JSON.stringify(TOKEN).replace('/', '\\/')],
  ['in a URL', encodeURIComponent(TOKEN)],
  ['in a URL with lower-case hex', encodeURIComponent(TOKEN).replace(/%../g, (code) => code.toLowerCase())],
  ['in XML', `<a>${TOKEN.replace(/["&ü]/g, (character) => XML[character] ?? '')}</a>`],
  ['in a JSON pointer', `/data/${TOKEN.replaceAll('~', '~0').replaceAll('/', '~1')}`],
] as const) {
  test(`a secret is detected ${form}, also across chunks`, () => {
    const masker = maskerOf('other-secret', TOKEN);
    assert.equal(masker.secretIn(text), 'secret 1');
    const secretIn = masker.secretInChunks();
    const bytes = Buffer.from(text as string);
    const found = Array.from(bytes, (_, at) => secretIn(bytes.subarray(at, at + 1))).at(-1);
    assert.equal(found, 'secret 1');
  });
}

test('a secret rewritten by a header, a JSON Pointer or a byte dump is masked', () => {
  const masker = maskerOf(TOKEN);
  for (const text of [
    inBase64(`user:${TOKEN}`),
    inBase64(`:${TOKEN}`),
    Buffer.from(TOKEN).toString('hex'),
    TOKEN.replaceAll('~', '~0').replaceAll('/', '~1'),
  ]) {
    const masked = masker.mask(`before ${text} after`);
    assert.match(masked, /^before \S{0,8}\*\*\*\S{0,4} after$/);
  }
});

test('secrets below 8 characters and the public parts of a key are not detected', () => {
  const body = 'MC4CAQAwBQYDK2VwBCIEIGhhbGxvIGhhbGxvIGhhbGxvIGhhbGxvIGhhbGxv';
  const masker = maskerOf('1234567', `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`);
  for (const text of ['1234567', '-----BEGIN PRIVATE KEY-----', 'PRIVATE', ''])
    assert.equal(masker.secretIn(text), undefined);
  assert.equal(masker.secretIn(`{"key":"${body}"}`), 'secret 1', 'the body of the key is not masked');
});

test('every function that cuts, escapes or neutralises text masks it first', () => {
  const words = ['Alfa7', 'Bravo8', 'Charlie9', 'Delta10', 'Echo11', 'Foxtrot12', 'Golf13'];
  const odd = words.map((word, index) => `${word}${'#|"\t\u200b`<'[index] ?? ''}`).join('');
  const long = Array.from({ length: 900 }, (_, index) => `Hotel${index}`).join('-');
  for (const secret of [odd, long, `##vso[task.${odd}`]) {
    knownSecrets.add(secret, 'a secret of this test');
    for (const before of ['', 'x', 'x'.repeat(70), 'y'.repeat(195), 'z'.repeat(1_495), 'z'.repeat(3_999)]) {
      const text = `${before}${secret} after`;
      for (const shown of [
        safeText(text),
        safeText(text, 200),
        safeText(`The value ${JSON.stringify(text)} is wrong.`),
        safeText(quoted(text)),
        safeText(shortened(text, 100)),
        markdownCode(text),
        markdownText(text),
        markdownText(`The value ${quoted(text)} is wrong.`),
        safeText(logLine('value', { text })),
      ])
        for (const word of [...words, 'Hotel']) assert.ok(!shown.includes(word), shown);
    }
  }
});
