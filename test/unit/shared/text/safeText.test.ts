import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quoted, safeText } from '../../../../shared/text/safeText.ts';

test('ordinary text in any script stays unchanged', () => {
  for (const text of [
    '',
    'Published to ci.built.v1',
    'Zoë, 東京, Ελλάδα, العربية, 👍',
    'a # b ## c [x]',
    '100% ${a} $(b)',
  ])
    assert.equal(safeText(text), text);
});

for (const text of [
  '##vso[task.complete result=Succeeded;]',
  'in the middle ##vso[task.setvariable variable=a]b',
  '##VSO[task.complete result=Failed;]',
  '##vSo[task.debug]x',
  // Deleting one marker would put the outer one together.
  '##vso##vso[[task.complete result=Succeeded;]',
  '####vso[vso[task.complete result=Succeeded;]',
  '##\u200bvso[task.complete result=Succeeded;]',
  '##vs\u00ado[task.complete result=Succeeded;]',
  '#\u0000#vso[task.complete result=Succeeded;]',
  '##vso\ufeff[task.complete result=Succeeded;]',
  '#\u0591#v\u0488so\u0301[task.complete result=Succeeded;]',
  '##v\u017fo[task.complete result=Succeeded;]',
  'first\n##vso[task.complete result=Succeeded;]',
  'first\r##vso[task.complete result=Succeeded;]',
  '##[error]red',
  '##[command]x',
]) {
  test(`the agent finds no command in ${JSON.stringify(text)}`, () => {
    const shown = safeText(text);
    assert.doesNotMatch(shown, /##vso\[|##\[/i);
    // What .NET's culture-sensitive comparisons do not see must not hide a command either.
    assert.doesNotMatch(shown.replace(/[\p{C}\p{M}\p{Default_Ignorable_Code_Point}]/gu, ''), /##vso\[|##\[/iu);
    assert.equal(shown.split(/[\r\n]/).length, 1);
    assert.equal(safeText(shown), shown);
  });
}

test('line breaks, tabs and invisible characters are shown, not dropped', () => {
  assert.equal(safeText('a\nb\r\nc\rd\te'), 'a\\nb\\nc\\nd e');
  assert.equal(safeText('a\u0000b\u001b[31mc'), 'a\\u{0}b\\u{1b}[31mc');
  assert.equal(safeText('a\u202eb\u2066c\u200fd'), 'a\\u{202e}b\\u{2066}c\\u{200f}d');
  assert.equal(safeText('a\u2028b\u2029c\u0085d'), 'a\\u{2028}b\\u{2029}c\\u{85}d');
  assert.equal(safeText('a\ud800b'), 'a\\u{d800}b');
  assert.equal(safeText('a\u{e0041}b'), 'a\\u{e0041}b');
});

test('long text is cut, and says by how much', () => {
  assert.equal(safeText('x'.repeat(4_000)), 'x'.repeat(4_000));
  assert.equal(safeText('x'.repeat(4_001)), `${'x'.repeat(4_000)}… (1 more characters)`);
  assert.equal(safeText('abcdef', 4), 'abcd… (2 more characters)');
});

test('a cut never splits a surrogate pair', () => {
  assert.equal(safeText('ab👍', 3), 'ab\\u{d83d}… (1 more characters)');
});

test('a quoted value is cut at 80 characters, and its quotes and line breaks are escaped', () => {
  assert.equal(quoted('a "b"\nc'), '"a \\"b\\"\\nc"');
  assert.equal(quoted('x'.repeat(81)), `"${'x'.repeat(80)}…"`);
});
