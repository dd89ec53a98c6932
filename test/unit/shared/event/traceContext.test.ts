import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childOf, parseTraceparent } from '../../../../shared/event/traceContext.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

test("the specification's traceparent is read", () => {
  assert.deepEqual(parseTraceparent(`00-${TRACE}-${SPAN}-01`), { traceId: TRACE, spanId: SPAN, flags: 1 });
  assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-00`)?.flags, 0);
});

test('the known part of a later version is read, whatever follows', () => {
  assert.equal(parseTraceparent(`cc-${TRACE}-${SPAN}-01`)?.traceId, TRACE);
  assert.equal(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-the-future-brings`)?.spanId, SPAN);
  assert.equal(parseTraceparent(`cc-${TRACE}-${SPAN}-01-${'x'.repeat(456)}`)?.spanId, SPAN);
});

for (const [why, text] of [
  ['version ff', `ff-${TRACE}-${SPAN}-01`],
  ['a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['upper case', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
  ['a short trace id', `00-${TRACE.slice(1)}-${SPAN}-01`],
  ['a long span id', `00-${TRACE}-${SPAN}0-01`],
  ['more than version 00 has', `00-${TRACE}-${SPAN}-01-more`],
  ['flags run into something else in a later version', `cc-${TRACE}-${SPAN}-01more`],
  ['a line break at the end', `00-${TRACE}-${SPAN}-01\n`],
  ['a line break in what a later version adds', `cc-${TRACE}-${SPAN}-01-a\nb`],
  ['spaces around', ` 00-${TRACE}-${SPAN}-01 `],
  ['more than 512 characters', `cc-${TRACE}-${SPAN}-01-${'x'.repeat(457)}`],
  ['nothing', ''],
] as const) {
  test(`a traceparent with ${why} is refused`, () => assert.equal(parseTraceparent(text), undefined));
}

test('a child stays in the trace of its parent, with a span of its own', () => {
  const [first, second] = [childOf(`00-${TRACE}-${SPAN}-00`), childOf(`00-${TRACE}-${SPAN}-00`)];
  assert.match(first, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  assert.notEqual(parseTraceparent(first)?.spanId, SPAN);
  assert.notEqual(first, second);
});

test('a child of a later version is written as version 00, without unknown flags', () => {
  assert.match(childOf(`cc-${TRACE}-${SPAN}-ff-more`), new RegExp(`^00-${TRACE}-[0-9a-f]{16}-03$`));
});

test('without a valid parent a new, sampled trace begins', () => {
  for (const parent of [undefined, '', 'nonsense', `00-${'0'.repeat(32)}-${SPAN}-01`]) {
    const [first, second] = [childOf(parent), childOf(parent)];
    assert.match(first, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    assert.notEqual(parseTraceparent(first), undefined);
    assert.notEqual(parseTraceparent(first)?.traceId, parseTraceparent(second)?.traceId);
  }
});
