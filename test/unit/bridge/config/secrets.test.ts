import assert from 'node:assert/strict';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../../../localAgent/index.ts';
import { RereadFile } from '../../../../bridge/config/secrets.ts';
import { knownSecrets } from '../../../../shared/text/masker.ts';

const LOOK_EVERY_MS = 1_000;

/** A secret in a file, a clock, and the reported troubles. */
function openSecret(text: string) {
  const file = path.join(temporaryFolder('secret-'), 'secret');
  writeFileSync(file, text);
  const told: (string | undefined)[] = [];
  let now = 0;
  const surroundings = {
    now: () => now,
    lookEveryMs: LOOK_EVERY_MS,
    onTrouble: (label: string, trouble: { problem: string } | undefined) =>
      told.push(trouble && `${label} ${trouble.problem}`),
    watch: () => {},
  };
  const parse = (value: string) => (value === 'bad' ? { problem: 'is bad' } : { value });
  const secret = RereadFile.open<string>(file, 'the secret', parse, surroundings);
  assert.ok(!('problem' in secret));
  return { file, told, secret, pass: (ms: number) => (now += ms) };
}

test('a changed secret is read at the next look, and reported once', () => {
  const { file, secret, pass, told } = openSecret('first\n');
  assert.equal(secret.value, 'first');
  writeFileSync(file, 'second, longer\n');
  pass(LOOK_EVERY_MS - 1);
  assert.equal(secret.value, 'first');
  pass(1);
  assert.equal(secret.value, 'second, longer');
  assert.equal(knownSecrets.mask('it is second, longer'), 'it is ***');
  assert.deepEqual(told, [undefined]);
  // Written again as it was.
  writeFileSync(file, 'second, longer');
  pass(LOOK_EVERY_MS);
  assert.equal(secret.value, 'second, longer');
  assert.deepEqual(told, [undefined]);
});

test('a secret is read again when its link points elsewhere, as in a mounted volume', () => {
  const { file, secret, pass } = openSecret('first');
  const next = path.join(path.dirname(file), 'next');
  writeFileSync(next, 'other');
  rmSync(file);
  symlinkSync(next, file);
  pass(LOOK_EVERY_MS);
  assert.equal(secret.value, 'other');
});

test('the last good value stays while the file is gone, empty or bad, which is reported once', () => {
  const { file, secret, pass, told } = openSecret('good');
  const change = (text: string | undefined) => {
    if (text === undefined) rmSync(file);
    else writeFileSync(file, text);
    pass(LOOK_EVERY_MS);
    return secret.value;
  };
  assert.equal(change(undefined), 'good');
  pass(LOOK_EVERY_MS);
  assert.equal(secret.value, 'good');
  assert.equal(change('\n'), 'good');
  assert.equal(change('bad'), 'good');
  assert.equal(change('better'), 'better');
  assert.deepEqual(told, [
    "the secret can't be read: it doesn't exist",
    'the secret is empty',
    'the secret is bad',
    undefined,
  ]);
});

test('only one trailing line break is not part of a secret', () => {
  for (const [text, value] of [
    ['a', 'a'],
    ['a\n', 'a'],
    ['a\r\n', 'a'],
    ['a\n\n', 'a\n'],
    [' a \n', ' a '],
  ] as const)
    assert.equal(openSecret(text).secret.value, value, JSON.stringify(text));
});
