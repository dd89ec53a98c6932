import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maskSecret } from '../../../../tasks/agent/secrets.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';
import { FakeAgent } from '../../../support/agent/fakeAgent.ts';
import { createOperatorMode } from '../../../support/nats/natsAccounts.ts';
import { SecretMasker } from '../../../../localAgent/secretMasker.ts';

function maskedFormsOf(secret: string): Set<string> {
  const agent = new FakeAgent();
  maskSecret(agent, secret);
  return agent.masked;
}

/** A log line as the agent shows it once a secret was masked. */
function shown(secret: string, line: string): string {
  const masker = new SecretMasker();
  for (const form of maskedFormsOf(secret)) masker.add(form);
  return masker.mask(line);
}

const PASSWORD = 'p4ss/w+rd ="q"\\\u00fc%?&\u{1f511}';

for (const [form, text] of [
  ['as it is', PASSWORD],
  ['in base64', Buffer.from(PASSWORD).toString('base64')],
  ['in base64url', Buffer.from(PASSWORD).toString('base64url')],
  ['URL-encoded', encodeURIComponent(PASSWORD)],
  ['as the agent URL-encodes', encodeURIComponent(PASSWORD).replaceAll("'", '%27')],
  ['JSON-escaped', JSON.stringify({ password: PASSWORD }).slice(13, -2)],
] as const) {
  test(`a password is hidden ${form}`, () => {
    assert.ok(!text.includes('***'));
    assert.equal(shown(PASSWORD, `before ${text} after`), 'before *** after');
  });
}

const authority = await createAuthority();
const privateKey = (await authority.client('ci')).key;
const creds = await (await createOperatorMode()).creds();

for (const [kind, secret] of [
  ['a private key', privateKey],
  ['a .creds text', creds],
] as const) {
  const secretLines = secret.split('\n').filter((line) => line.length >= 16 && !/^-| /.test(line));

  test(`each line of ${kind} is hidden on its own, in every form`, () => {
    assert.ok(secretLines.length >= 2);
    for (const line of secretLines) {
      for (const form of [
        line,
        Buffer.from(line).toString('base64'),
        Buffer.from(line).toString('base64url'),
        encodeURIComponent(line),
      ])
        assert.equal(shown(secret, `a ${form} b`), 'a *** b');
    }
  });

  test(`${kind} is hidden as a whole in base64, URL-encoded and in JSON`, () => {
    for (const form of [
      Buffer.from(secret).toString('base64'),
      Buffer.from(secret.trim()).toString('base64'),
      encodeURIComponent(secret),
      encodeURIComponent(secret.trim()),
      JSON.stringify(secret).slice(1, -1),
      JSON.stringify(secret.trim()).slice(1, -1),
    ])
      assert.equal(shown(secret, `a ${form} b`), 'a *** b');
  });

  for (const [state, text] of [
    ['with CRLF', secret.replaceAll('\n', '\r\n')],
    ['flattened by a form field', secret.replaceAll('\n', ' ')],
    ['with lone CR', secret.replaceAll('\n', '\r')],
  ] as const) {
    test(`${kind} ${state} hides the same lines`, () => {
      for (const line of secretLines) assert.equal(shown(text, `a ${line} b`), 'a *** b');
    });
  }
}

test("short lines aren't hidden on their own, since that would hide ordinary words", () => {
  const masked = maskedFormsOf('abc\nsecret-line-of-it\nok');
  assert.ok(masked.has('secret-line-of-it'));
  assert.ok(!masked.has('abc') && !masked.has('ok'));
});

test('a short password is still hidden', () => {
  assert.ok(maskedFormsOf('abc').has('abc'));
  assert.ok(maskedFormsOf('  abc\n').has('abc'));
});

test('the agent is never given an empty or multi-line secret, which it would refuse', () => {
  for (const secret of ['a-secret\r\nof-two-lines', '\n\n', '\r', ' ', creds, privateKey]) {
    for (const form of maskedFormsOf(secret)) assert.match(form, /^[^\r\n]+$/);
  }
});

test("a secret that isn't valid Unicode is hidden, and nothing fails", () => {
  assert.ok(maskedFormsOf('half-\ud83d-character').has('half-\ud83d-character'));
});
