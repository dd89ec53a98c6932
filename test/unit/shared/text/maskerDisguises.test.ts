import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Masker } from '../../../../shared/text/masker.ts';

function maskerOf(...secrets: readonly string[]): Masker {
  const masker = new Masker();
  for (const secret of secrets) masker.add(secret, 'the secret');
  return masker;
}

const inBase64 = (text: string | Buffer) => Buffer.from(text as string).toString('base64');
const inHex = (text: string) => Buffer.from(text).toString('hex');
const inPercent = (text: string) => inHex(text).replace(/../g, '%$&');
const inJson = (text: string) => JSON.stringify(text).slice(1, -1);
const unitsOf = (text: string) =>
  Array.from(text, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
const numbersOf = (text: string, radix: 10 | 16, width: number) =>
  Array.from(
    text,
    (unit) => `&#${radix === 16 ? 'x' : ''}${unit.charCodeAt(0).toString(radix).padStart(width, '0')};`,
  ).join('');
const mixedCase = (hex: string) =>
  hex.replace(/[a-f]/g, (digit, at: number) => (at % 3 === 0 ? digit.toUpperCase() : digit));
const wrapped = (text: string, lineEnd: string) => text.replace(/.{10}/g, `$&${lineEnd}`);

const TOKEN = 'p/a+s=s:w<o"r\\d~1&more';
const LINES = 'first of it\nab cd\nef gh';
const NAMES: Readonly<Record<string, string>> = {
  '/': 'sol', '+': 'plus', '=': 'equals', ':': 'colon', '<': 'lt', '"': 'quot', '\\': 'bsol', '&': 'amp', ' ': 'nbsp', '\n': 'NewLine', '\t': 'Tab',
}; // prettier-ignore
const named = (text: string) => text.replace(/[/+=:<"\\& \n\t]/g, (character) => `&${NAMES[character] ?? ''};`);

for (const [secret, form, text] of [
  [LINES, 'with CRLF', LINES.replaceAll('\n', '\r\n')],
  [LINES, 'with lone CR', LINES.replaceAll('\n', '\r')],
  [LINES, 'with spaces for line ends', LINES.replaceAll('\n', ' ')],
  [LINES, 'with CRLF, escaped', inJson(LINES.replaceAll('\n', '\r\n'))],
  [LINES, 'in a form', encodeURIComponent(LINES).replaceAll('%20', '+')],
  [LINES, 'with named white space', named(LINES)],
  [TOKEN, 'in JSON in JSON', inJson(inJson(TOKEN))],
  [TOKEN, 'in JSON in JSON in JSON', inJson(inJson(inJson(TOKEN)))],
  [TOKEN, 'in escapes of JSON in JSON', inJson(unitsOf(TOKEN))],
  [TOKEN, 'in decimal references with zeros', numbersOf(TOKEN, 10, 7)],
  [TOKEN, 'in hexadecimal references with zeros', numbersOf(TOKEN, 16, 9)],
  [TOKEN, 'in names of HTML', named(TOKEN)],
  [TOKEN, 'in names of HTML, escaped for XML', named(TOKEN).replaceAll('&', '&amp;')],
  ['top secret\tword', 'with &Tab;', named('top secret\tword')],
  [TOKEN, 'in a URL within a URL', encodeURIComponent(encodeURIComponent(TOKEN))],
  ...['\r', ' \n', '\n\t', '\\u000a', '&#10;', '%0A', '\\n', '\\\\n', ' '].map(
    (lineEnd) =>
      [TOKEN, `in base64 wrapped by ${JSON.stringify(lineEnd)}`, wrapped(inBase64(`user:${TOKEN}`), lineEnd)] as const,
  ),
  [TOKEN, 'in hex of mixed case', mixedCase(inHex(TOKEN))],
  [TOKEN, 'in hex with spaces', inHex(TOKEN).replace(/..(?!$)/g, '$& ')],
  [
    TOKEN,
    'in upper-case hex with colons',
    inHex(TOKEN)
      .toUpperCase()
      .replace(/..(?!$)/g, '$&:'),
  ],
  [TOKEN, 'in hex after another digit', `a${mixedCase(inHex(TOKEN))}`],
  [TOKEN, 'in \\x escapes', inHex(TOKEN).replace(/../g, '\\x$&')],
  [TOKEN, 'in percent and base64', inBase64(`x=${inPercent(TOKEN)}`)],
  [TOKEN, 'in JSON and base64', inBase64(JSON.stringify({ token: TOKEN }))],
  [TOKEN, 'in XML and base64', inBase64(numbersOf(TOKEN, 10, 1))],
  [TOKEN, 'in hex and base64', inBase64(inHex(TOKEN))],
  [TOKEN, 'in base64 twice', inBase64(`Basic ${inBase64(`user:${TOKEN}`)}`)],
  [TOKEN, 'in base64 twice, within a path', `api/${inBase64(inBase64(TOKEN))}`],
  [TOKEN, 'in base64 three times', inBase64(inBase64(inBase64(TOKEN)))],
  ['s3cr&t!!', 'of 8 characters, escaped and in base64', inBase64('s3cr%26t!!')],
] as const) {
  test(`a secret is detected ${form}, also across chunks`, () => {
    const masker = maskerOf('another-secret', secret);
    assert.equal(masker.secretIn(`{"a":"${text}"}`), 'the secret');
    const bytes = Buffer.from(`${'x'.repeat(5_000)} ${text}`);
    const secretIn = masker.secretInChunks();
    for (let start = 0; start < bytes.length; start += 37) secretIn(bytes.subarray(start, start + 37));
    assert.equal(secretIn(Buffer.alloc(0)), 'the secret');
  });
}

for (const [form, text, left] of [
  ['in JSON in JSON', inJson(inJson(TOKEN)), TOKEN],
  ['in numbers of HTML', numbersOf(TOKEN, 10, 7), '&#0000112;'],
  ['in names of HTML', named(TOKEN), '&plus;'],
  ['in base64 wrapped by escaped line ends', wrapped(inBase64(TOKEN), '\\n'), inBase64(TOKEN).slice(0, 10)],
  ['in base64 wrapped by line ends', wrapped(inBase64(TOKEN), '\r\n'), inBase64(TOKEN).slice(0, 10)],
  ['in a URL within a URL', encodeURIComponent(encodeURIComponent(TOKEN)), '%25'],
] as const) {
  test(`a secret ${form} is masked, and the words around it are shown`, () => {
    const masker = maskerOf(TOKEN);
    const masked = masker.mask(`${'before '.repeat(50)} ${text} ${'after '.repeat(50)}`);
    assert.ok(!masked.includes(left), masked);
    assert.match(masked, /^before .*\*\*\*.*after $/s);
    assert.ok(!masker.mask(`x ${text}`, 20).includes(text.slice(0, 15)), 'the beginning of the secret is shown');
  });
}

test('lines that are too short on their own are masked together, whatever the line endings', () => {
  const masker = maskerOf('ab+cd\nef\ngh');
  for (const lineEnd of ['\r\n', '\r', '\\n']) assert.equal(masker.mask(['ab+cd', 'ef', 'gh'].join(lineEnd)), '***');
  assert.equal(maskerOf('ab cd\nef gh').mask('ab+cd%0Aef+gh'), '***');
});

test('words that match a secret only without their white space are not masked', () => {
  const masker = maskerOf('deploykey', 'hunter-12');
  for (const text of ['the deploy key', 'hunter:12', 'deploy+key', 'hunter12', 'a '.repeat(20)])
    assert.equal(masker.secretIn(text), undefined, text);
});

test("a token's header is not a secret", () => {
  const header = inBase64('{"alg":"HS256","typ":"JWT"}');
  const masker = maskerOf(`${header}.${inBase64('{"sub":"ci"}')}.c2lnbmF0dXJl`);
  assert.equal(masker.secretIn('{"alg":"HS256","typ":"JWT"}'), undefined);
});

test('short secrets are not found in noise', () => {
  const masker = maskerOf('s3cr3t!!', 'aaaaaaaa', 'Passw0rd', '%41%41%41%41', 'a b c d e', 'deadbeef');
  for (let seed = 0; seed < 2_000; seed++) {
    const noise = Buffer.concat(
      Array.from({ length: 16 }, (_, part) => createHash('sha512').update(`${seed}.${part}`).digest()),
    );
    const text = [
      noise.toString('base64'),
      noise.toString('hex'),
      inPercent(noise.toString('latin1')),
      unitsOf(noise.toString('latin1')),
    ][seed % 4];
    assert.equal(masker.secretIn(text ?? ''), undefined, `seed ${seed}`);
  }
});

const filled = (unit: string) => unit.repeat(Math.ceil(1e6 / unit.length)).slice(0, 1e6);
for (const [form, unit] of [
  ['escapes of URLs', '%252541'],
  ['escapes of JSON', '\\u0041a'],
  ['backslashes', '\\'],
  ['references', '&#65;'],
  ['references without an end', '&#0000'],
  ['base64 that is text wherever it begins', 'QRUV'],
  ['base64 of base64 of base64', inBase64(inBase64(inBase64('hunter-2')))],
  ['hex of hex', '33343331'],
  ['what is nearly a secret', 'hunter-2 -and-more'],
] as const) {
  test(`a megabyte of ${form} is searched in time`, () => {
    const masker = maskerOf('hunter-2-and-more', 'correct horse');
    const { user } = process.cpuUsage();
    assert.equal(masker.secretIn(filled(unit)), undefined);
    // Ten times what it takes: quadratic work would take minutes.
    assert.ok(process.cpuUsage().user - user < 1_500_000);
  });
}

test('a secret is found when it is escaped for shells, properties files or Markdown', () => {
  for (const [secret, text] of [
    ['p@ss w0rd&more', 'curl -u p@ss\\ w0rd\\&more'],
    ['$ecret$Pa$$w0rd', 'export P="\\$ecret\\$Pa\\$\\$w0rd"'],
    ['Server=tcp:x.db,1433;', 'db=Server\\=tcp\\:x.db,1433;'],
    ['a_b*c-secret', 'say a\\_b\\*c-secret'],
  ] as const)
    assert.equal(maskerOf(secret).secretIn(text), 'the secret', text);
});

test('nothing beyond the cut is ever shown', () => {
  const masker = maskerOf('topsecret99', 'k3y-Zx81Qm7w');
  const masked = masker.mask(`token=%74opsecret99${'x'.repeat(20)} and more and topsecret99`, 40);
  assert.ok(!masked.includes('more'), masked);
  const long = masker.mask(`%6b3y-Zx81Qm7w${'y'.repeat(294)} k3y-Zx81Qm7w tail`, 80);
  assert.ok(!/k3y|Zx81/.test(long), long);
});

test('a line of dashes in a secrets file is not a secret', () => {
  const masker = maskerOf(`# ${'-'.repeat(60)}\nTOKEN=abcdef123456\n# ${'='.repeat(60)}`);
  for (const text of ['-'.repeat(72), `${'='.repeat(80)} test session`]) assert.equal(masker.secretIn(text), undefined);
});
