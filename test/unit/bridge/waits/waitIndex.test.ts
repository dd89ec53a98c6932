import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Threshold } from '../../../../bridge/waits/threshold.ts';
import { PassedEvents, WaitIndex } from '../../../../bridge/waits/waitIndex.ts';

const wait = (subjects: readonly string[], correlationId?: string) => ({ subjects, correlationId });

describe('The index of waits', () => {
  test('finds by subject, pattern and correlation id, each wait once', () => {
    const index = new WaitIndex();
    const any = wait(['ci.done', 'ci.*']);
    const mine = wait(['ci.done'], 'mine');
    const wide = wait(['ci.>'], 'mine');
    for (const one of [any, mine, wide, wait(['ci.done'], 'other'), wait(['cd.done'])]) index.add(one);
    assert.deepEqual([...index.find('ci.done', () => 'mine')], [any, mine, wide]);
    assert.deepEqual([...index.find('ci.done', () => undefined)], [any]);
    assert.deepEqual([...index.find('ci.done.v1', () => 'mine')], [wide]);
    index.delete(mine);
    index.delete(any);
    assert.deepEqual([...index.find('ci.done', () => 'mine')], [wide]);
  });

  test('reads the correlation id only if it matters', () => {
    const index = new WaitIndex();
    index.add(wait(['ci.done']));
    index.add(wait(['ci.other'], 'c'));
    index.find('ci.done', () => assert.fail('the index was read'));
  });

  test('finds one of 50,000 waits by its correlation id', () => {
    const index = new WaitIndex();
    for (let number = 0; number < 50_000; number++) index.add(wait(['ci.done'], `c-${number}`));
    assert.equal(index.find('ci.done', () => 'c-49999').size, 1);
  });
});

describe('The counter of events', () => {
  test("counts each event on a wait's subjects once, for as long as someone uses the count", () => {
    const passed = new PassedEvents();
    const literal = passed.join(['ci.done']);
    const several = passed.join(['ci.*', '*.done']);
    assert.equal(passed.join(['ci.done']), literal);
    for (const subject of ['ci.done', 'ci.other', 'cd.done', 'cd.other']) passed.passed(subject);
    assert.deepEqual([literal.count, several.count], [1, 3]);
    passed.leave(['ci.done']);
    passed.passed('ci.done');
    assert.equal(literal.count, 2);
    passed.leave(['ci.done']);
    passed.passed('ci.done');
    assert.equal(literal.count, 2);
  });
});

test('A threshold returns what it has reached, lowest first', () => {
  const threshold = new Threshold<number>();
  const numbers = Array.from({ length: 500 }, (_, index) => (index * 7_919) % 501);
  for (const number of numbers) threshold.add(number, number);
  threshold.keep((number) => number % 2 === 0);
  const even = numbers.filter((number) => number % 2 === 0).sort((one, other) => one - other);
  const low = even.filter((number) => number <= 250);
  assert.deepEqual([...threshold.reach(250)], low);
  assert.deepEqual([...threshold.reach(Infinity)], even.slice(low.length));
  assert.equal(threshold.size, 0);
});
