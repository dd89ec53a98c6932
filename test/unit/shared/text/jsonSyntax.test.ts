import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonSyntaxProblem } from '../../../../shared/text/jsonSyntax.ts';

for (const [text, problem] of [
  ['', 'line 1, column 1: it ends where a value is expected'],
  ['{"a":1,}', 'line 1, column 8: expected a name in double quotes after the comma'],
  ["{ 'a': 1 }", 'line 1, column 3: expected a name in double quotes or }'],
  ['{ a: 1 }', 'line 1, column 3: expected a name in double quotes or }'],
  ['{"a" 1}', 'line 1, column 6: expected a colon'],
  ['{"a": }', 'line 1, column 7: expected a value'],
  ['{"a": 01}', 'line 1, column 7: expected a value'],
  ['{"a": True}', 'line 1, column 7: expected a value'],
  ['{"a": 1 "b": 2}', 'line 1, column 9: expected a comma or }'],
  ['[1, 2,]', 'line 1, column 7: expected a value after the comma'],
  ['{\n  "a": 1, \n\n}', 'line 4, column 1: expected a name in double quotes after the comma in line 2'],
  ['[1,', 'line 1, column 4: it ends where a value after the comma is expected'],
  ['{"a": 1, "b}', 'line 1, column 10: a text has no closing quote, a line break in it, or a wrong escape'],
  ['[1 2]', 'line 1, column 4: expected a comma or ]'],
  ['[1}', 'line 1, column 3: expected a comma or ]'],
  ['[,]', 'line 1, column 2: expected a value or ]'],
  ['{"a":\r\n  {"b": "c}\n}', 'line 2, column 9: a text has no closing quote, a line break in it, or a wrong escape'],
  ['{"a": "C:\\Users"}', 'line 1, column 7: a text has no closing quote, a line break in it, or a wrong escape'],
  ['{"a": [1]', 'line 1, column 10: it ends where a comma or } is expected'],
  ['{} {}', 'line 1, column 4: more follows after its end'],
] as const) {
  test(`the syntax error in ${text} is reported with its place`, () => {
    assert.throws(() => JSON.parse(text));
    assert.equal(jsonSyntaxProblem(text), problem);
  });
}

test('the reported place is where the text stops being valid JSON', () => {
  fc.assert(
    fc.property(
      fc.json(),
      fc.nat(),
      fc.constantFrom('x', ',', '}', ']', ':', '"', '\\', '1', '', ' '),
      (json, at, put) => {
        const index = at % (json.length + 1);
        const text = json.slice(0, index) + put + json.slice(index + 1);
        try {
          JSON.parse(text);
        } catch {
          const column = Number(/^line 1, column (\d+): /.exec(jsonSyntaxProblem(text))?.[1]);
          assert.ok(column >= 1 && column <= text.length + 1, text);
        }
      },
    ),
    { seed: 20261129, numRuns: 2_000 },
  );
});
