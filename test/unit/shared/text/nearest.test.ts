import assert from 'node:assert/strict';
import { test } from 'node:test';
import { probablyMeant } from '../../../../shared/text/nearest.ts';

test('a word probably means one that differs in two letters, and in no more than half of either', () => {
  for (const [word, known, meant] of [
    ['subjct', ['stream', 'subject'], 'subject'],
    ['SUBJCET', ['subject'], 'subject'],
    ['sbjct', ['subject'], 'subject'],
    ['sbjt', ['subject'], undefined],
    ['ab', ['abcd'], undefined],
    ['abcd', ['ab'], undefined],
    ['', ['a'], undefined],
    ['a', [], undefined],
    ['x'.repeat(101), ['x'.repeat(100)], undefined],
    ['x'.repeat(100), ['x'.repeat(101), 'x'.repeat(99)], 'x'.repeat(99)],
  ] as const)
    assert.equal(probablyMeant(word, known), meant, word);
});
