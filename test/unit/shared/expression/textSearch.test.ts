import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileExpression } from '../../../../shared/expression/expression.ts';
import { indexOf, split } from '../../../../shared/expression/textSearch.ts';
import { interruptible } from '../../../../shared/text/interruptible.ts';
import { viewOf } from '../../../support/event.ts';

/** Two letters, so that much of it looks alike; the same for each seed. */
function alike(length: number, seed: number): string {
  let state = seed;
  return Array.from({ length }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % 7 === 0 ? 'b' : 'a';
  }).join('');
}

test('a long text is found where JavaScript finds it, from either end', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const text = alike(20_000, seed);
    const at = (seed * 937) % 15_000;
    for (const sought of [text.slice(at, at + 300), `${text.slice(at, at + 300)}c`, 'a'.repeat(300)]) {
      assert.equal(indexOf(text, sought), text.indexOf(sought));
      assert.equal(indexOf(text, sought, 'last'), text.lastIndexOf(sought));
      assert.deepEqual(split(text + sought + text, sought), (text + sought + text).split(sought));
    }
  }
});

test('texts crafted to be slow to search are searched in linear time', () => {
  // V8 compares a thousand characters at each of 450,000 places, and can't be interrupted meanwhile.
  const data = { a: 'a'.repeat(700_000), b: `${'a'.repeat(1_000)}b${'a'.repeat(249_000)}` };
  const view = viewOf(JSON.stringify(data));
  const cases: readonly (readonly [expression: string, value: unknown])[] = [
    ['contains(data.a, data.b)', false],
    ['find_first(data.a, data.b)', null],
    ['find_last(data.a, data.b)', null],
    ['length(split(data.a, data.b))', 1],
    ["length(replace(data.a, data.b, 'x'))", 700_000],
  ];
  for (const [text, value] of cases)
    assert.equal(
      interruptible(() => compileExpression(text).evaluate(view), 5_000),
      value,
      text,
    );
});

test('texts are found, split and replaced as JMESPath specifies', () => {
  const view = viewOf('{"t":"a-b-c-a","list":["a-b",2]}');
  const cases: readonly (readonly [expression: string, value: unknown])[] = [
    [
      "[contains(data.t, 'b-c'), contains(data.t, 'x'), contains(data.t, `1`), contains(data.list, `2`)]",
      [true, false, null, true],
    ],
    [
      "[find_first(data.t, 'a'), find_last(data.t, 'a'), find_first(data.t, 'a', `1`), find_last(data.t, 'a', `0`, `6`)]",
      [0, 6, 6, 0],
    ],
    ["[find_first(data.t, ''), find_first(data.t, 'x')]", [null, null]],
    ["split(data.t, '-')", ['a', 'b', 'c', 'a']],
    ["split(data.t, '-', `1`)", ['a', 'b-c-a']],
    ["split('ab', '')", ['a', 'b']],
    ["replace(data.t, '-', '$&')", 'a$&b$&c$&a'],
    ["replace(data.t, 'a', 'b', `1`)", 'b-b-c-a'],
    ["[to_number('12'), to_number('x'), to_number(`1`), to_number(`true`)]", [12, null, 1, null]],
  ];
  for (const [text, value] of cases) assert.deepEqual(compileExpression(text).evaluate(view), value, text);
  for (const text of ["split(data.t, '-', `-1`)", "replace(data.t, 'a', 'b', `0.5`)", "to_number('9007199254740993')"])
    assert.throws(() => compileExpression(text).evaluate(view), text);
});
