import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TaskError } from '../../../../shared/errors.ts';
import { Problems } from '../../../../shared/inputs/problems.ts';
import { checkGuardrail } from '../../../../tasks/agent/guardrails.ts';
import { complaint } from '../../../support/complaint.ts';

/** What a wait on these subjects is told; undefined when all are allowed. */
function outsideOf(allowed: string, subjects: readonly string[]): TaskError | undefined {
  const data = (name: string) => (name === 'waitSubjects' ? allowed : 'nothing.at.all');
  const problems = new Problems('the inputs of this step');
  checkGuardrail({ url: '', scheme: 'None', parameter: () => undefined, data }, problems, 'waitSubjects', subjects);
  return complaint(problems);
}

for (const [allowed, subjects, outside] of [
  ['', ['ci.built.v1'], []],
  ['ci.>', ['ci.built.v1', 'ci.*'], []],
  ['deploy.*, ci.>\nqa', ['ci.built', 'deploy.prod', 'qa'], []],
  ['ci.>', ['ci', 'cd.x'], ['ci', 'cd.x']],
  ['ci.*', ['ci.>', 'ci.*'], ['ci.>']],
  ['ci.built', ['ci.*', '>'], ['ci.*', '>']],
] as const) {
  test(`the guardrail "${allowed.replace('\n', ' ')}" lets ${subjects.join(', ')} through except ${outside.join(', ') || 'none'}`, () => {
    const told = outsideOf(allowed, subjects);
    assert.equal(told?.code, outside.length === 0 ? undefined : 'Denied');
    for (const subject of subjects) {
      const isTold = told?.message.includes(`"${subject}" is outside what the service connection allows`) ?? false;
      assert.equal(isTold, (outside as readonly string[]).includes(subject), subject);
    }
  });
}

test('a subject outside the guardrail is reported with what is allowed', () => {
  assert.equal(
    outsideOf('ci.>, qa', ['cd.x'])?.message,
    'Denied: subject: "cd.x" is outside what the service connection allows (waitSubjects: ci.>, qa). Use a subject inside, or ask the administrator of the connection.',
  );
});
