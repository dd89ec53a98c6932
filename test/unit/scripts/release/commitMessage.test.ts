import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageProblems } from '../../../../scripts/release/commitMessage.ts';

const WHY = '\n\nIt was slow: 40 ms for each event.';

test('a commit says what changes for whom in its first line, and why in its body', () => {
  assert.deepEqual(messageProblems(`Wait: check the clock before judging each event${WHY}`), []);
  assert.deepEqual(messageProblems(`Move the fixed parts of a batch\n\nThey were copied.\n`), []);
  assert.deepEqual(messageProblems(`A${'b'.repeat(71)}${WHY}`), []);
});

for (const [name, message, problem] of [
  ['whose first line is too long', `A${'b'.repeat(72)}${WHY}`, 'the first line has 73 characters, over 72'],
  ['whose first line has a full stop', `Add a test.${WHY}`, 'the first line ends with a full stop'],
  ['in lower case', `add a test${WHY}`, 'the first line begins in lower case'],
  ['that tells what was done', `Fixed a test${WHY}`, "the first line isn't in the imperative"],
  ['that tells what was done, after an area', `Wait: added a test${WHY}`, "the first line isn't in the imperative"],
  ['without a body', 'Add a test', 'no body says why'],
  ['with an empty body', 'Add a test\n\n \n', 'no body says why'],
] as const) {
  test(`a message ${name} is refused`, () => {
    assert.deepEqual(messageProblems(message), [problem]);
  });
}
