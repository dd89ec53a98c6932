import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problems } from '../../../../shared/inputs/problems.ts';
import { complaint } from '../../../support/complaint.ts';

/** What is told about these problems; undefined when there are none. */
function told(...noted: readonly Parameters<Problems['note']>[]) {
  const problems = new Problems('the body of this request');
  for (const problem of noted) problems.note(...problem);
  return complaint(problems);
}

test('one problem is reported unchanged, and none is no error', () => {
  assert.equal(told(), undefined);
  assert.equal(told(['subject: outside', 'Use another.', 'Denied'])?.message, 'Denied: subject: outside. Use another.');
});

test('several problems are reported together, in the order they were found', () => {
  const { message } = told(['subject: is required'], ['timeout: too long', 'Give at most 20d.'])!;
  assert.equal(
    message,
    'InvalidInput: 2 problems with the body of this request. (1) subject: is required. (2) timeout: too long. Give at most 20d.',
  );
});

test('problems of one kind keep their code; mixed ones are InvalidInput', () => {
  const [one, two] = [
    ['a', '', 'Denied'],
    ['b', '', 'Denied'],
  ] as const;
  assert.equal(told([...one], [...two])?.code, 'Denied');
  assert.equal(told([...one], [...two], ['c'])?.code, 'InvalidInput');
});

test('each problem is printed once: in the message, or on a log line if that gets too long', () => {
  assert.deepEqual(told(['subject: is required'], ['timeout: too long'])?.details, []);
  const { details, message } = told(
    ...Array.from({ length: 100 }, (_, index): [string] => [`headers: ${'x'.repeat(80)} ${index + 1}`]),
  )!;
  assert.match(message, /100 problems with/);
  assert.match(message, new RegExp(`And ${details.length} more\\.$`));
  assert.ok(message.length < 4_000);
  assert.match(details.at(-1)!, /^\(100\) headers: x+ 100\.$/);
  const printed = [message, ...details].join(' ');
  for (let number = 1; number <= 100; number++) assert.equal(printed.split(`x ${number}.`).length, 2, String(number));
});
