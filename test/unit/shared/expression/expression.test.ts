import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventView } from '../../../../shared/event/receivedEvent.ts';
import { compileExpression, isTruthy } from '../../../../shared/expression/expression.ts';
import { cloudEvent, viewOf as eventView } from '../../../support/event.ts';

function viewOf(data: unknown, payload = JSON.stringify(data)): EventView {
  return eventView(payload, { ...cloudEvent({ id: 'e1' }), 'x-tag': ['one', 'two'] });
}

const value = (expression: string, data: unknown): unknown => compileExpression(expression).evaluate(viewOf(data));

test('an expression sees every part of an event', () => {
  assert.deepEqual(
    value('[subject, data.a, dataBase64, headers."x-tag"[1], event.id, stream, sequence, time]', { a: 1 }),
    ['ci.done.v1', 1, null, 'two', 'e1', 'CI', 7, '2026-05-31T08:00:01.000Z'],
  );
  assert.deepEqual(value('keys(@)', 1), Object.keys(viewOf(1).toJSON()));
  assert.equal(value('$.data.list[?@ == $.sequence] | [0]', { list: [6, 7] }), 7);
});

test('truth follows JMESPath: only null, false and empty values are false', () => {
  for (const [json, truth] of [
    ['null', false],
    ['false', false],
    ['""', false],
    ['[]', false],
    ['{}', false],
    ['true', true],
    ['0', true],
    ['-0.0', true],
    ['"false"', true],
    ['" "', true],
    ['[null]', true],
    ['{"a":null}', true],
  ] as const) {
    const data: unknown = JSON.parse(json);
    assert.equal(isTruthy(data), truth, json);
    assert.equal(value('!!data', data), truth, `the library agrees on ${json}`);
  }
  assert.equal(isTruthy(value('data.absent', {})), false);
  assert.equal(isTruthy(value('event', 1)), true);
});

test('members that JavaScript objects inherit are absent unless the event has them', () => {
  for (const name of Object.getOwnPropertyNames(Object.prototype)) {
    for (const path of [`data.${name}`, `event.${name}`, `headers.${name}`, name, `data.list[*].${name} | [0]`]) {
      assert.equal(value(path, { list: [{}] }), null, path);
    }
    assert.equal(value(`data.${name}.a`, JSON.parse(`{"${name}":{"a":5}}`)), 5);
    assert.equal(value(`data.${name}`, 'text'), null);
  }
  assert.equal(value('!(data.constructor.name)', {}), true);
});

for (const [expression, problem] of [
  ['', /^position 1: it ends too early$/],
  ['data.a ==', /^position 10: it ends too early$/],
  ['(data.a', /^position 8: it ends too early: "\)" is missing$/],
  ['contains(data.a, ', /^position 18: it ends too early: "\)" is missing$/],
  ["(contains(['a', data.a", /it ends too early: "\]\)\)" is missing$/],
  ['data.list[?(a).b', /it ends too early: "\]" is missing$/],
  ["data.a == 'it''s'", /^position 15: "'s'" is unexpected$/],
  ['data.a ? `1`', /^position 13: it ends too early$/],
  ['data.list[', /^position 11: it ends too early: "\]" is missing$/],
  ['{a', /^position 3: it ends too early: "\}" is missing$/],
  ['data..a', /^position 6: "\." is unexpected$/],
  ['data.a data.b', /^position 8: "data" is unexpected$/],
  ['data.a constructor', /^position 8: "constructor" is unexpected$/],
  ['data.a __proto__', /^position 8: "__proto__" is unexpected$/],
  ['data.a and data.b', /^position 8: "and" is unexpected: write &&$/],
  ['data.n > 5', /^position 10: "5" is unexpected: a number is written between backticks, as in `5`$/],
  ['data.a)', /^position 7: "\)" is unexpected$/],
  ["(data.a 'b'", /^position 9: "'b'" is unexpected$/],
  ["data['a']", /^position 6: "'a'" is unexpected: a field is written after a dot, as in data\.a$/],
  ["data.list[0][ 'a-b' ].c", /is unexpected: a field is written after a dot, as in data\.list\[0\]\."a-b"$/],
  ["['data']['a']", /is unexpected: a field is written after a dot, as in data\.a$/],
  ['data[a]', /is unexpected: a field is written after a dot, as in data\.a$/],
  [`${'a'.repeat(10_000)}['b']`, /is unexpected: a field is written after a dot, as in a{199}\.b$/],
  ['data.a OR data.b', /^position 8: "OR" is unexpected: write \|\|$/],
  ['not data.a', /^position 5: "data" is unexpected: write ! for not$/],
  ["data.a <> 'b'", /^position 9: ">" is unexpected: write !=$/],
  ['data.a is null', /^position 8: "is" is unexpected: write ==$/],
  ["data.a in ['b']", /^position 8: "in" is unexpected: write contains\(\['a', 'b'\], data\.status\)$/],
  ["in(data.a, 'b')", /^there is no function in\(\): write contains\(\['a', 'b'\], data\.status\)$/],
  ["data.a =~ 'b'", /^position 9: "~" cannot be read: write starts_with\(data\.ref, 'v1'\) or contains\(/],
  ["data.a like 'b'", /^position 8: "like" is unexpected: write starts_with\(data\.ref, 'v1'\) or contains\(/],
  ["matches(data.a, 'b')", /^there is no function matches\(\): write starts_with\(data\.ref, 'v1'\) or contains\(/],
  ['data.a constructor', /^position 8: "constructor" is unexpected$/],
  ["eq(data.a, 'b')", /^there is no function eq\(\): write a == b$/],
  ["not_equals(data.a, 'b')", /^there is no function not_equals\(\): write a != b$/],
  ['and(data.a, data.b)', /^there is no function and\(\): write a && b$/],
  ['not(data.a)', /^there is no function not\(\): write !a$/],
  ['size(data.a)', /^there is no function size\(\): write length\(\)$/],
  ['constructor(data.a)', /^there is no function constructor\(\)$/],
  ["data.region = 'eu'", /^position 13: a comparison is written ==, not =$/],
  ["data.region == 'eu", /^position 16: "'" is never closed$/],
  ['data."re gion', /^position 6: "\\"" is never closed$/],
  ['data.n > `5', /^position 10: "`" is never closed$/],
  ['data.n > `five`', /is not JSON between its backticks: text goes in single quotes, as in 'five'$/],
  ["data.n > `it's`", /^position 10: "`it's`" is not JSON between its backticks: text goes in single quotes$/],
  ['data."\\x"', /^position 6: .* is not JSON between its quotes$/],
  ['data.a # why', /^position 8: "#" cannot be read$/],
  ['data.a\u00a0== `1`', /^position 7: .* cannot be read$/],
  ['lenght(data)', /^there is no function lenght\(\): write length\(\)$/],
  ['data.list[?toString(@)]', /^there is no function toString\(\): write to_string\(\)$/],
  ['length(data, event)', /^the function length\(\) takes 1 argument, not 2$/],
  ['data.a || contains(data)', /^the function contains\(\) takes 2 arguments, not 1$/],
  ["find_first('a')", /^the function find_first\(\) takes 2 to 4 arguments, not 1$/],
  ['not_null()', /^the function not_null\(\) takes at least 1 argument, not 0$/],
  ['sort_by(data, data.a)', /^argument 2 of the function sort_by\(\) is an expression with & before it$/],
  ['length(&data)', /^argument 1 of the function length\(\) has no & before it$/],
  ['data.ok && !data.failed', /^!a\.b means \(!a\)\.b, which is never true/],
  ['!data.list[?id]', /^!a\.b means/],
  ['!data[]', /^!a\.b means/],
  ['&data', /^& may only stand before an argument/],
  ['data.a & data.b', /^position 8: "&" is unexpected: write &&$/],
  ['$region', /^the variable \$region is not defined$/],
  ["$region = 'eu'", /^the variable \$region is set outside of let$/],
] as const) {
  test(`the expression ${JSON.stringify(expression)} is refused before the wait starts`, () => {
    assert.throws(() => compileExpression(expression), { message: problem });
  });
}

test('every form of JMESPath expression is accepted', () => {
  for (const [expression, expected] of [
    ["data.region == 'eu' && data.n >= `2` || !(data.ok)", true],
    ['data.list[*].id', [1, 2]],
    ['data.list[?id > `1`].id | [0]', 2],
    ['data.list[].id', [1, 2]],
    ['data.list[::-1].id', [2, 1]],
    ['data.*', ['eu', 2, true, [{ id: 1 }, { id: 2 }]]],
    ['[!(data.ok), !data, !contains(data.region, `"x"`), !data[0]]', [false, false, true, true]],
    ['{r: data.region, "n m": data.n}', { r: 'eu', 'n m': 2 }],
    ['let $n = data.n in data.list[?id == $n] | length(@)', 1],
    ['data.ok ? data.n * `10` : `0`', 20],
    ['sum(map(&id, data.list))', 3],
    ["'it\\'s \\\\'", "it's \\"],
    ['`{"a":"\\`"}`.a', '`'],
    ['data."region"', 'eu'],
    ['"d\\u0061ta".n', 2],
    ['\n data.n\t- `1`\r\n', 1],
  ] as const) {
    const data = { region: 'eu', n: 2, ok: true, list: [{ id: 1 }, { id: 2 }] };
    assert.deepEqual(value(expression, data), expected, expression);
  }
});

test('a deeply nested expression is refused instead of crashing', () => {
  assert.throws(() => compileExpression('('.repeat(20_000)), /^Error: position \d+: /);
});

test('a function given a value of the wrong type fails only for that event', () => {
  const { evaluate } = compileExpression("starts_with(data.name, 'a')");
  assert.throws(() => evaluate(viewOf({})), /starts_with\(\) expected argument 1 to be type \(string\)/);
  assert.equal(evaluate(viewOf({ name: 'abc' })), true);
});

test('numbers sort as numbers, and the latest date can be found', () => {
  assert.deepEqual(value('sort(data)', [10, 9, 1, 100]), [1, 9, 10, 100]);
  assert.deepEqual(value('sort(data)', ['b', 'a', 'B']), ['B', 'a', 'b']);
  assert.deepEqual([value('max(data)', ['a', 'B']), value('min(data)', ['a', 'B'])], ['a', 'B']);
  assert.deepEqual([value('max(data)', [2, 10]), value('min(data)', [2, 10])], [10, 2]);
  const builds = [{ at: '2026-01-02' }, { at: '2026-03-04' }, { at: '2025-01-01' }];
  assert.deepEqual(
    [value('max_by(data, &at).at', builds), value('min_by(data, &at).at', builds)],
    ['2026-03-04', '2025-01-01'],
  );
  assert.equal(value('max_by(data, &n)', []), null);
  assert.throws(() => value('max_by(data, &n)', [{ n: 1 }, { n: 'a' }]), /neither all numbers nor all strings/);
  assert.throws(() => value('max_by(data, &n)', [{}]), /neither all numbers nor all strings/);
});

test('text is a number only if JSON says so', () => {
  for (const text of ['', ' ', '\n', '0x0', '0b0', '+0', '00', '.0', '0.', ' 5', '5 ', 'Infinity', 'NaN', '1e'])
    assert.equal(value('to_number(data)', text), null, JSON.stringify(text));
  for (const [text, number] of Object.entries({ '0': 0, '-1.5': -1.5, '12e2': 1_200, '1E-2': 0.01 }))
    assert.equal(value('to_number(data)', text), number);
});

test('contains compares list items like ==', () => {
  const list = [{ s: 'failed', n: 1 }, [1, { a: 2 }], 'x', 7];
  for (const [expression, expected] of [
    ['contains(data, `{"n":1,"s":"failed"}`)', true],
    ['contains(data, `{"s":"failed"}`)', false],
    ['contains(data, `[1,{"a":2}]`)', true],
    ["contains(data, 'x')", true],
    ['contains(data, `7`)', true],
    ['contains(data, `{}`)', false],
  ] as const)
    assert.equal(value(expression, list), expected, expression);
});

test("a computed value beyond 2^53, or one that isn't a number, is an error", () => {
  const data = { a: 9007199254740991, b: 2, zero: 0, list: [9007199254740991, 2] };
  for (const expression of ['sum(data.list)', 'data.a + data.b - data.a', 'data.a * data.b', 'data.b % data.zero'])
    assert.throws(() => value(expression, data), /is computed, and is beyond 2\^53/, expression);
  assert.equal(value('data.a - data.b', data), 9007199254740989);
});

test("trimming removes spaces or the given characters, and hostile text can't stall it", () => {
  assert.equal(value('trim(data)', ' \n a b\t\n c \u0085'), 'a b\t\n c');
  assert.deepEqual(value("[trim_left(data, 'xy'), trim_right(data, 'xy')]", 'xyaxy'), ['axy', 'xya']);
  assert.equal(value("trim(data, '😀')", '😀😁😀'), '😁');
  assert.equal(value('length(trim(data))', `x${' '.repeat(1_000_000)}x`), 1_000_002);
});

test("data that looks like the library's internals stays data", () => {
  const reference = { expref: true, type: 'Field', name: 'a' };
  assert.deepEqual(value('data.evil', { evil: reference }), reference);
  assert.throws(() => compileExpression('sort_by(data.list, data.evil)'), /is an expression with & before it/);
  const list = [{ k: '__proto__', polluted: true }, { k: 'constructor' }];
  assert.equal(
    value('to_string(group_by(data, &k))', list),
    '{"__proto__":[{"k":"__proto__","polluted":true}],"constructor":[{"k":"constructor"}]}',
  );
  assert.deepEqual(value('length(group_by(data, &k).constructor)', list), 1);
  const own = JSON.parse('{"__proto__":{"a":1}}') as unknown;
  assert.equal(value('to_string(merge(data, data))', own), '{"__proto__":{"a":1}}');
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
});

test('a variable is visible in everything after it, whatever its value', () => {
  for (const [expression, expected] of [
    ['let $none = data.none in let $two = `2` in [$none, $two]', [null, 2]],
    ['let $off = data.off, $list = data.list in $list[?$off || id == `2`].id', [2]],
    ['let $n = data.n in map(&(id > $n), data.list)', [false, true]],
    ['let $n = data.n in sort_by(data.list, &($n - id))[0].id', 2],
    ['let $a = `1` in [let $a = `2` in $a, $a]', [2, 1]],
  ] as const)
    assert.deepEqual(value(expression, { off: false, n: 1, list: [{ id: 1 }, { id: 2 }] }), expected, expression);
});

test("the size of a function's result is limited before it's computed", () => {
  for (const [expression, data] of [
    ['pad_left(data.a, data.n)', { a: 'a', n: 200_000_000 }],
    ["length(split(pad_right(data.a, data.n), ''))", { a: 'a', n: 5_000_000 }],
    ['upper(pad_left(data.a, data.n))', { a: '\ufb03', n: 536_870_000 }],
    ['join(data.a, data.list)', { a: 'x'.repeat(50_000), list: Array(100).fill('') }],
    ["replace(data.a, 'x', data.a)", { a: 'x'.repeat(3_000) }],
    ['upper(data.a)', { a: 'x'.repeat(5_000_000) }],
    ['map(&reverse($.data.list), data.list)', { list: Array(3_000).fill(1) }],
    ['data.list[*].[$.data.list[]]', { list: Array(3_000).fill([1]) }],
    ['map(&items($.data), data.list)', { list: Array(5_000_000 / 4).fill(1), b: 1, c: 2, d: 3 }],
  ] as const)
    assert.throws(
      () => value(expression, data),
      /it holds a string of more than 4194304 characters|would come out of it/,
    );
  assert.equal(value("length(split(pad_left(data.a, data.n), ''))", { a: 'a', n: 1_000_000 }), 1_000_000);
  assert.equal(value('length(reverse(data))', 'ab'.repeat(500_000)), 1_000_000);
});

test("a near miss names the false part and its fields' values", () => {
  const event = viewOf({
    region: 'us',
    n: 3,
    amount: '129.5',
    'my key': null,
    list: [{ id: 1 }],
    text: 'x'.repeat(200),
  });
  for (const [expression, miss] of [
    ["data.region == 'eu'", `data.region == 'eu' was false (data.region = "us")`],
    ["data.n == `3` && data.region == 'eu' && data.x", `data.region == 'eu' was false (data.region = "us")`],
    [
      "data.n == `3` && (data.x || data.region == 'eu')",
      `(data.x || data.region == 'eu') was false (data.x = null, data.region = "us")`,
    ],
    ['(data.n && data.a) && data.b', '(data.n && data.a) was false (data.n = 3, data.a = null)'],
    ['data."my key" == \'a && b\'', `data."my key" == 'a && b' was false (data."my key" = null)`],
    ['data.region == "eu"', 'data.region == "eu" was false (data.region = "us", eu = null)'],
    ['data.list[0].id == `2` && `true`', 'data.list[0].id == `2` was false (data.list[0].id = 1)'],
    ['headers."x-tag"[0] == \'two\'', `headers."x-tag"[0] == 'two' was false (headers."x-tag"[0] = "one")`],
    ['length(data.list[?id == `9`]) > `0`', 'length(data.list[?id == `9`]) > `0` was false (data.list = [{"id":1}])'],
    [
      'data.n && let $r = data.region in $r && data.x',
      'let $r = data.region in $r && data.x was false (data.region = "us", data.x = null)',
    ],
    ['data.a || data.b', 'data.a || data.b was false (data.a = null, data.b = null)'],
    ['data.a == data.n && data.a', 'data.a == data.n was false (data.a = null, data.n = 3)'],
    ['`false`', '`false` was false'],
    ["data.n == '2'", `data.n == '2' was false (data.n = 3): "2" is text, and a number is written in backticks`],
    ["'US' == data.region", `'US' == data.region was false (data.region = "us"): it differs only in case`],
    ["data.n == 'web'", `data.n == 'web' was false (data.n = 3)`],
    [
      'data.region == `1`',
      'data.region == `1` was false (data.region = "us"): the event has text there, and text is written in single quotes',
    ],
    [
      'data.amount > `100`',
      'data.amount > `100` was false (data.amount = "129.5"): > compares only numbers, and the event has text there, so write to_number(data.amount)',
    ],
    [
      'data.n <= data.amount',
      'data.n <= data.amount was false (data.n = 3, data.amount = "129.5"): <= compares only numbers, and the event has text there, so write to_number(data.amount)',
    ],
    [
      'data.region > `1`',
      'data.region > `1` was false (data.region = "us"): > compares only numbers, and the event has text there',
    ],
    ['data.n > `100`', 'data.n > `100` was false (data.n = 3)'],
    ['  data.n != `3`\n  && data.x', 'data.n != `3` was false (data.n = 3)'],
  ] as const) {
    assert.equal(compileExpression(expression).nearMiss(event), miss);
  }
  assert.match(
    compileExpression('data.n && starts_with(data.n, data.region)').nearMiss(event) ?? '',
    /^starts_with\(data\.n, data\.region\) failed: .+ \(data\.n = 3, data\.region = "us"\)$/,
  );
  assert.equal(compileExpression("data.n && data.region == 'us'").nearMiss(event), undefined);
  const long = compileExpression("data.text == 'y'").nearMiss(event) ?? '';
  assert.ok(long.endsWith(`(data.text = "${'x'.repeat(78)}…)`), long);
});

test('a near miss stays short even with hostile data', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  const event = viewOf(null, `{"deep":${deep}}`);
  assert.equal(
    compileExpression('data.deep == `1`').nearMiss(event),
    'data.deep == `1` was false (data.deep = nested too deeply to be shown)',
  );
});

test('an integer beyond 2^53 is copied exactly and never compared after rounding', () => {
  const view = viewOf(null, '{"id":9007199254740993,"ids":[12345678901234567890,1],"text":"9007199254740993"}');
  const value = (text: string) => compileExpression(text).evaluate(view);
  assert.equal(value('data.id'), 9007199254740993n);
  assert.equal(value('to_string(data.ids)'), '[12345678901234567890,1]');
  assert.equal(value("data.text == '9007199254740993'"), true);
  assert.deepEqual(value('[length(data.ids), type(data.id)]'), [2, 'number']);
  for (const text of [
    'data.id == `9007199254740991`',
    'data.ids[?@ > `1`]',
    'contains(data.ids, `1`)',
    'sort_by([data], &id)',
    'data.id + `1`',
    'group_by([data], &id)',
    '-data.id',
  ])
    assert.throws(() => value(text), /(9007199254740993|12345678901234567890) is beyond 2\^53/);
  for (const text of ['length(data.id)', 'keys(data.id)', 'merge(data, data.id)', 'reverse(data.id)'])
    assert.throws(() => value(text), /is given a number as argument [12]$/);
  assert.equal(value('to_string(not_null(data.none, data.id))'), '9007199254740993');
  assert.throws(
    () => compileExpression('data.ok && data.id == `9007199254740993`'),
    /position 23: 9007199254740993 is beyond 2\^53.*'9007199254740993'/,
  );
});

test('a condition decides the same with rounded and with exact numbers', () => {
  const numbers =
    '0 -1 0.1 4503599627370495.5 4503599627370496.4 4503599627370496.6 9007199254740991 9007199254740992 9007199254740993 -9007199254740993 1e15 1e16 12345678901234567890 1.5e300 1e400 "1" null true {} [1]';
  const outcome = (text: string, view: EventView): unknown => {
    try {
      return compileExpression(text).evaluate(view);
    } catch (error) {
      return (error as Error).message;
    }
  };
  const decided = new Set<unknown>();
  for (const number of numbers.split(' '))
    for (const literal of [
      '`0`',
      '`-1`',
      '`0.1`',
      '`1e15`',
      '`4503599627370495`',
      '`9007199254740991`',
      "'1'",
      '`true`',
    ])
      for (const operator of ['==', '!=', '<', '<=', '>', '>=']) {
        const view = viewOf(null, `{"n":${number},"far":12345678901234567890}`);
        const fast = outcome(`!(data.n ${operator} ${literal}) || data.n ${operator} ${literal}`, view);
        // A function's arguments are always exact.
        const exact = `not_null(data.n, \`null\`) ${operator} ${literal}`;
        assert.equal(fast, outcome(`!(${exact}) || ${exact}`, view), `${number} ${operator} ${literal}`);
        assert.equal(
          outcome(`data.n ${operator} ${literal}`, view),
          outcome(exact, view),
          `${number} ${operator} ${literal}`,
        );
        decided.add(outcome(exact, view));
      }
  for (const verdict of [true, false]) assert.ok(decided.has(verdict));
  assert.ok(decided.size > 2, 'no outcome was undecidable');
});

test("an oversized integer elsewhere in the event doesn't affect a condition", () => {
  const view = viewOf(null, `{"n":1,"far":${'9'.repeat(200_000)}}`);
  assert.equal(compileExpression('data.n == `1`').evaluate(view), true);
  assert.throws(() => compileExpression('data.far == `1`').evaluate(view), /more than [\d,]+ digits/);
});
