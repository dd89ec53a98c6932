import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readRunStart, readTaskRequest } from '../../../../bridge/waits/request.ts';
import { JOB_TOKEN, PLAN, PROJECT, taskHeaders, WAIT_KEY } from '../../../support/bridge/waitsReceiver.ts';
import { Problems } from '../../../../shared/inputs/problems.ts';
import type { TaskError } from '../../../../shared/errors.ts';

function read(others: Readonly<Record<string, string | undefined>> = {}) {
  const problems = new Problems('the headers');
  const request = readTaskRequest(taskHeaders(others), problems);
  problems.done();
  return request;
}

function problemWith(others: Readonly<Record<string, string | undefined>>): string {
  try {
    read(others);
  } catch (error) {
    return (error as TaskError).message;
  }
  return assert.fail('the request was accepted');
}

function runStart(text: string | undefined): number | undefined {
  const problems = new Problems('the headers');
  const time = readRunStart(taskHeaders({ 'x-run-start': text }), problems);
  problems.done();
  return time;
}

describe('The headers of a task', () => {
  test('identify a wait, whatever the case of IDs and hub', () => {
    const { hub, project, plan, job, instance } = WAIT_KEY;
    const ids = { hub, project, plan, job, instance };
    for (const name of ['build', 'Build', 'BUILD']) {
      const others = { 'x-plan-id': PLAN.toUpperCase(), 'x-hub-name': name };
      assert.deepEqual(read(others).ids, ids);
    }
    for (const name of ['release', 'Gates', 'checks'])
      assert.equal(read({ 'x-hub-name': name }).ids.hub, name.toLowerCase());
    assert.equal(read().token, JOB_TOKEN);
  });

  test('are reported with all their problems, and what to send', () => {
    const message = problemWith({
      'x-plan-id': undefined,
      'x-job-id': '..',
      'x-hub-name': 'builds',
      'x-job-token': ' ',
    });
    assert.match(
      message,
      /\(1\) X-Hub-Name: "builds" is not one of build, release, gates, checks\. Send \$\(system\.HostType\) in it\./,
    );
    assert.match(message, /\(2\) X-Plan-Id: the header is required\. Send \$\(system\.PlanId\) in it\./);
    assert.match(message, /\(3\) X-Job-Id: "\.\." is not a GUID\./);
    assert.match(message, /\(4\) X-Job-Token: the header is required\./);
  });

  test('accept only GUIDs as IDs', () => {
    for (const name of ['x-project-id', 'x-plan-id', 'x-job-id', 'x-timeline-id', 'x-task-instance-id'])
      for (const text of [
        `${PLAN}/..`,
        `{${PLAN}}`,
        PLAN.replaceAll('-', ''),
        `${PLAN}, ${PLAN}`,
        `${PLAN.slice(0, -1)}g`,
        `%20${PLAN}`,
        'ü',
      ])
        assert.match(problemWith({ [name]: text }), /is not a GUID/, `${name}: ${text}`);
    assert.equal(read({ 'x-project-id': ` ${PROJECT} ` }).ids.project, PROJECT);
  });

  test('are refused if they contain a variable that Azure DevOps did not replace', () => {
    assert.match(
      problemWith({ 'x-plan-id': '$(system.PlanId)' }),
      /"\$\(system\.PlanId\)" is a variable that Azure DevOps doesn't set here/,
    );
    assert.match(problemWith({ 'x-job-token': '$(system.AccessToken)' }), /X-Job-Token: "\$\(system/);
  });

  test('never show the token', () => {
    const message = problemWith({ 'x-job-token': `${JOB_TOKEN} x` });
    assert.match(message, /X-Job-Token: holds white space/);
    assert.ok(!message.includes('canary'));
    for (const name of ['x-plan-url', 'x-plan-id', 'x-hub-name', 'x-timeline-id']) {
      const text = problemWith({ [name]: `x${JOB_TOKEN}` });
      assert.ok(!text.toLowerCase().includes('canary'), text);
      assert.match(text, /holds the job's token/);
    }
    assert.throws(() => runStart(`2026 ${JOB_TOKEN}`), /^(?!.*canary).*X-Run-Start: holds the job's token/);
  });
});

describe('X-Run-Start', () => {
  test('is a time in ISO 8601 or in the form that the agent writes', () => {
    const at = Date.parse('2026-11-28T09:00:00Z');
    for (const text of [
      '2026-11-28T09:00:00Z',
      '2026-11-28 09:00:00+00:00',
      '2026-11-28T10:00:00+01:00',
      '2026-11-28T09:00Z',
      '2026-11-28 09:00:00.0000000+00:00',
    ])
      assert.equal(runStart(text), at, text);
  });

  test('is absent if it is empty or an unset variable', () => {
    for (const text of [undefined, '', ' ', '$(system.PipelineStartTime)']) assert.equal(runStart(text), undefined);
  });

  test('cannot be anything else', () => {
    for (const text of ['yesterday', '1764320400', '2026-11-28', '2026-11-28T09:00:00', '28.11.2026 09:00:00'])
      assert.throws(() => runStart(text), /X-Run-Start: ".*" is not a time in ISO 8601 with its offset/, text);
  });
});
