import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exactJson, parseLargeIntegers, UndecidableError } from '../../../../shared/text/json.ts';

test('an integer beyond 2^53 is read exactly, however it is written', () => {
  const cases: readonly (readonly [text: string, value: unknown])[] = [
    ['9007199254740993', 9007199254740993n],
    ['-9007199254740993.000', -9007199254740993n],
    ['900719925474099300e-2', 9007199254740993n],
    ['9007.199254740993E12', 9007199254740993n],
    ['[1, 90071992547409931e3, "9007199254740993"]', [1, 90071992547409931000n, '9007199254740993']],
    ['{"n":1e400}', { n: 10n ** 400n }],
  ];
  for (const [text, value] of cases) {
    assert.deepEqual(parseLargeIntegers(text)?.value, value, text);
    assert.deepEqual(parseLargeIntegers(exactJson(value))?.value, value);
  }
});

test('exact integers and small fractions are left to JSON.parse', () => {
  for (const text of ['9007199254740991', '1e15', '[1.5e+3, 12e-3, 0.1]', '"1234567890123456789e1"'])
    assert.equal(parseLargeIntegers(text), undefined, text);
});

test('a fraction that would round to an integer is detected', () => {
  for (const text of ['9007199254740993.5', '[-4503599627370497.5]', '45035996273704975e-1'])
    assert.throws(() => parseLargeIntegers(text), /has a fraction that none of its size can hold/, text);
});

test('the zeros that exponents stand for are limited in total', () => {
  assert.throws(() => parseLargeIntegers(`[${'1e999,'.repeat(170_000)}0]`), /stand for more than 100000 zeros/);
  const ids = `[${'1234567890123456789,'.repeat(50_000)}1e30]`;
  assert.equal((parseLargeIntegers(ids)!.value as unknown[]).length, 50_001);
});

test("an integer that is too long or nested too deeply is an error, and isn't rounded", () => {
  assert.throws(() => parseLargeIntegers('{"n":1e999999999}'), UndecidableError);
  assert.throws(() => parseLargeIntegers(`{"n":${'9'.repeat(2_000)}}`), /more than 1000 digits/);
  assert.throws(
    () => parseLargeIntegers(`${'['.repeat(50_000)}9007199254740993${']'.repeat(50_000)}`),
    UndecidableError,
  );
});
