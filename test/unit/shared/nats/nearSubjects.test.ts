import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearSubjects } from '../../../../shared/nats/nearSubjects.ts';

for (const [why, pattern, subject] of [
  ['a letter too few', 'ci.shop.image-redy.v1', 'ci.shop.image-ready.v1'],
  ['letters in two parts', 'ci.shob.image-redy.v1', 'ci.shop.image-ready.v1'],
  ['another version', 'ci.shop.v1', 'ci.shop.v2'],
  ['upper and lower case', 'CI.Shop.v1', 'ci.shop.v1'],
  ['a part more', 'ci.shop.done', 'ci.shop.web.done'],
  ['a part less', 'ci.shop.web.done', 'ci.shop.done'],
  ['a wildcard that is one part short', 'ci.*', 'ci.shop.done'],
  ['a wildcard beside a letter', 'ci.*.dome', 'ci.shop.done'],
  ['everything below a name', 'shob.>', 'shop.web.done'],
] as const)
  test(`a subject resembles a pattern: ${why}`, () => {
    assert.deepEqual(nearSubjects([pattern], [subject], 3), [subject]);
  });

for (const [why, pattern, subject] of [
  ['another word', 'ci.shop.built', 'ci.shop.deployed'],
  ['three letters', 'ci.shop.imgredy.v1', 'ci.shop.image-ready.v1'],
  ['another number', 'ci.shop.4711', 'ci.shop.4712'],
  ['a part of one letter', 'ci.a', 'ci.b'],
  ['two letters, and nothing else that tells', 'ci.>', 'cd.shop.done'],
  ['two parts more', 'ci.done', 'ci.shop.web.done'],
  ['a part more, and a letter', 'ci.shop.dome', 'ci.shop.web.done'],
] as const)
  test(`a subject doesn't resemble a pattern: ${why}`, () => {
    assert.deepEqual(nearSubjects([pattern], [subject], 3), []);
  });

test('the nearest subjects come first, up to the limit', () => {
  const subjects = ['ci.shop.donne', 'ci.shop.web.done', 'CI.shop.done', 'ci.shop.dome', 'ci.other'];
  assert.deepEqual(nearSubjects(['ci.shop.done', 'x.y'], subjects, 3), [
    'CI.shop.done',
    'ci.shop.dome',
    'ci.shop.donne',
  ]);
});

test('many long subjects take little time, since nothing else can run meanwhile', () => {
  const subjects = Array.from({ length: 20_000 }, (_, index) => `ci.${'x'.repeat(200)}${index}.${'y'.repeat(200)}`);
  const began = process.cpuUsage();
  nearSubjects([`ci.${'x'.repeat(203)}.${'y'.repeat(199)}z`], subjects, 3);
  // It takes 50 ms on a machine with nothing else to do, and 20 s by the textbook's table.
  // Of the processor's time, which others on the machine don't stretch.
  const took = process.cpuUsage(began).user / 1_000;
  assert.ok(took < 2_000, `${took} ms`);
});
