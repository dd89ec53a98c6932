import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compileExpression } from '../../../../shared/expression/expression.ts';

/** What somebody writes, and what has to be in the advice. */
const MISTAKES: readonly (readonly [expression: string, advice: string])[] = [
  ["region == 'eu'", 'events have no field "region", so it is always null: write data.region'],
  ["$.region == 'eu'", 'write data.region'],
  ['@.region', 'write data.region'],
  ['let $a = region in $a', 'write data.region'],
  ['dat.ok', 'write data'],
  ["Data.tag == 'v1'", 'write data'],
  ['header.tenant', 'write headers'],
  ["event.data.status == 'passed'", 'the payload is in data'],
  ['$.event.data', 'the payload is in data'],
  ['event.dataSchema', 'write event.dataschema'],
  ["headers.Tenant == 'shop'", 'write headers.tenant[0]'],
  ["headers.Tenant[0] == 'shop'", 'write headers.tenant[0]'],
  ["headers.tenant == 'shop'", 'headers.tenant is a list, which is never equal to one value: write headers.tenant[0]'],
  ["'shop' == headers.tenant", 'write headers.tenant[0]'],
  ["data.image-tag == 'v1'", 'as in data."image-tag"'],
  ["data.eu-west.ok == 'v1'", 'as in data."eu-west"'],
  ["headers.content-type == 'a/b'", 'as in headers."content-type"'],
  ['data.ok == true', 'write `true` between backticks'],
  ['data.ok != false', 'write `false` between backticks'],
  ['data.ok == null', 'write `null` between backticks'],
  ['data.list[?ok == true]', 'write `true` between backticks'],
  ['data.status == "passed"', "as in 'passed'"],
  ['"passed" == data.status', "as in 'passed'"],
  ['data.machines[?state == "running"]', "strings go in single quotes, as in 'running'"],
  ['data.machines[?"running" != state]', "strings go in single quotes, as in 'running'"],
  ['data.machines[?a.state == "running" && b]', "strings go in single quotes, as in 'running'"],
  ['status == passed', 'write data.status'],
  [
    "data.amount > '100'",
    '> compares only numbers, and "100" is text, so it is never true: write `100`, and to_number(data.amount) if the event has text there',
  ],
  ["'100' <= data.items[0].amount", 'write `100`, and to_number(data.items[0].amount) if'],
  ["data.ok && data.list[?amount < '1.5']", 'write `1.5`, and to_number(amount) if'],
  ["headers.retries[0] >= '3'", 'write `3`, and to_number(headers.retries[0]) if'],
  ["length(data.list) > '3'", 'write `3`'],
  ["sequence > '3'", 'write `3`'],
  ["data.version > 'v2'", '> compares only numbers, and "v2" is text, so it is never true'],
  ["time > '2026'", '> compares only numbers, and "2026" is text, so it is never true'],
  ['data.n < `true`', "< compares only numbers, and true isn't one, so it is never true"],
  ['data.n < `null`', "< compares only numbers, and null isn't one, so it is never true"],
  ['data.amount > "100"', 'numbers go in backticks, as in `100`'],
];

describe('An expression that is never true is refused, with what was probably meant', () => {
  for (const [expression, advice] of MISTAKES)
    test(expression, () => {
      const { certain } = compileExpression(expression).mistakes;
      assert.ok(
        certain.some((mistake) => mistake.includes(advice)),
        JSON.stringify(certain),
      );
    });

  for (const [expression, advice] of [
    [
      "data.eu-central-1 == 'x'",
      'position 16: "-1" is unexpected: a name with hyphens is quoted, as in data."eu-central-1"',
    ],
    [
      "data['region'] == 'eu'",
      'position 6: "\'region\'" is unexpected: a field is written after a dot, as in data.region',
    ],
    ['data["region"]', 'a field is written after a dot, as in data.region'],
    ['$..region', 'this is JMESPath and not JSONPath'],
    ["startsWith(data.tag, 'v')", 'there is no function startsWith(): write starts_with()'],
    ["ends-with(data.tag, 'v')", 'there is no function with()'],
    ['contain(data.list, `1`)', 'write contains()'],
    ['regex(data.tag)', 'there is no function regex()'],
    ['length(data.list) == 3', 'a number is written between backticks, as in `5`'],
  ] as const)
    test(expression, () => {
      assert.throws(
        () => compileExpression(expression),
        ({ message }: Error) => message.includes(advice) || assert.fail(message),
      );
    });
});

test('an expression that some event can meet has no mistake', () => {
  for (const expression of [
    "data.list[?id == 'a'].{name: id} | [0].x && event.type",
    "$.data.region == 'eu'",
    'data."image-tag" == \'v1\'',
    'data.list[?"state" == \'x\']',
    'data.list[?name == state]',
    'data.a - data.b > `1`',
    'data.total-data.used > `1`',
    "headers.tenant[0] == 'shop'",
    "contains(headers.tenant, 'shop')",
    'headers."x-tenant"',
    'keys(@)',
    'data | region',
    'data.true == `1`',
    "to_number(data.amount) > `100` && data.amount == '100'",
    'data.amount > data.limit',
    'event.dataschema',
    "starts_with(data.text, 'data.image-tag') && data.tag",
  ]) {
    const { certain, likely } = compileExpression(expression).mistakes;
    assert.deepEqual([...certain, ...likely], [], expression);
  }
});

test('a quoted name that needs its quotes is only a likely mistake', () => {
  const { certain, likely } = compileExpression('data.list[?state == "in-progress"]').mistakes;
  assert.deepEqual(certain, []);
  assert.deepEqual(likely, [
    `"in-progress" is read as the name of a field: strings go in single quotes, as in 'in-progress'`,
  ]);
});
