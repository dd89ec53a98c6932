import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readBody } from '../../bridge/waits/body.ts';
import { INPUT_NAMES } from '../../bridge/waits/criteria.ts';
import { readRunStart, readTaskRequest } from '../../bridge/waits/request.ts';
import type { CallTemplate } from '../../localAgent/serverTemplate.ts';
import { AGENTLESS_TASK, readTask } from '../../scripts/build/manifest.ts';
import { Problems } from '../../shared/inputs/problems.ts';
import { HANDLER, rendered, type Filling } from '../support/azureDevOps/agentlessTask.ts';

const [PROJECT, PLAN, JOB, TIMELINE, INSTANCE] = [1, 2, 3, 4, 5].map((n) => `0d6b5d2c-9a4b-4b34-8c53-00000000000${n}`);
const FILLING: Filling = {
  bridge: 'https://bridge.example.com',
  bearer: 'a<b>&"c"',
  variables: {
    ...{ 'system.CollectionUri': 'https://dev.azure.com/contoso/', 'system.TeamProjectId': PROJECT!.toUpperCase() },
    ...{ 'system.HostType': 'build', 'system.PlanId': PLAN!, 'system.JobId': JOB!, 'system.TimelineId': TIMELINE! },
    ...{ 'system.TaskInstanceId': INSTANCE!, 'system.PipelineStartTime': '2026-11-29 10:00:00+00:00' },
    'system.AccessToken': 'the-token-of-the-job',
  },
};

/** The headers as the bridge gets them. */
function received(template: CallTemplate, filling = FILLING): Record<string, string> {
  const { headers } = rendered(template, filling);
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function inputsIn(inputs: Record<string, string>) {
  return readBody(Buffer.from(rendered(HANDLER.Execute, { ...FILLING, inputs }).body), PLAN!, INPUT_NAMES);
}

describe('The requests of the agentless task', () => {
  it('pass on every input, and nothing else', () => {
    const { inputs } = readTask(AGENTLESS_TASK);
    const names = inputs.map(({ name }) => name).filter((name) => name !== 'bridgeConnection');
    assert.deepEqual([...names].sort(), [...INPUT_NAMES].sort());
    const given = Object.fromEntries(names.map((name) => [name, `the value of ${name}`]));
    assert.deepEqual(inputsIn(given), { inputs: given });
    for (const name of names) assert.deepEqual(inputsIn({ [name]: '1' }), { inputs: { [name]: '1' } });
  });

  it('treat absent and empty inputs alike, as not set', () => {
    assert.deepEqual(inputsIn({}), { inputs: {} });
    assert.deepEqual(inputsIn(Object.fromEntries(INPUT_NAMES.map((name) => [name, '']))), { inputs: {} });
  });

  for (const [what, template] of [
    ['Execute', HANDLER.Execute],
    ['Cancel', HANDLER.Cancel!],
  ] as const) {
    it(`${what} identifies its task in headers that the bridge can read`, () => {
      const problems = new Problems('this call');
      const headers = received(template);
      assert.deepEqual(readTaskRequest(headers, problems), {
        planUrl: 'https://dev.azure.com/contoso/',
        ids: { project: PROJECT, hub: 'build', plan: PLAN, job: JOB, instance: INSTANCE },
        timeline: TIMELINE,
        token: 'the-token-of-the-job',
      });
      assert.equal(readRunStart(headers, problems), Date.parse('2026-11-29T10:00:00Z'));
      problems.done();
      assert.equal(headers['authorization'], `Bearer ${FILLING.bearer}`);
      assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
    });
  }

  it('are refused with the name of a variable that Azure DevOps left unexpanded', () => {
    const problems = new Problems('this call');
    const headers = received(HANDLER.Execute, { ...FILLING, variables: {} });
    readTaskRequest(headers, problems);
    // A release has no start, which is no problem unless somebody asks for it.
    assert.equal(readRunStart(headers, problems), undefined);
    assert.throws(
      () => problems.done(),
      ({ message }: Error) => {
        const expected = ['CollectionUri', 'TeamProjectId', 'HostType', 'PlanId', 'JobId', 'TimelineId'];
        for (const name of [...expected, 'TaskInstanceId', 'AccessToken'])
          assert.ok(message.includes(`"$(system.${name})" is a variable`), `${name} is not in: ${message}`);
        assert.ok(!message.includes('PipelineStartTime'));
        return true;
      },
    );
  });

  it('have no system value except the plan in the body, where inputs could imitate it', () => {
    const { Body = '', EndpointUrl } = HANDLER.Execute;
    assert.deepEqual([...new Set(Body.match(/\$\(system\.\w+\)/gi))], ['$(system.PlanId)']);
    assert.doesNotMatch(EndpointUrl + Body, /\{\{/);
  });

  it("go to the bridge's routes, and wait for it to complete the task", () => {
    const { Execute, Cancel, Events } = HANDLER;
    assert.equal(rendered(Execute, FILLING).url, `${FILLING.bridge}/v1/waits`);
    assert.equal(rendered(Cancel!, FILLING).url, `${FILLING.bridge}/v1/waits/cancel`);
    assert.equal(rendered(Cancel!, FILLING).body, '');
    assert.equal((Execute as { WaitForCompletion?: string }).WaitForCompletion, 'true');
    // Above the 47 hours that the bridge lets wait at most, and within the 72 of Azure DevOps.
    assert.equal(Events?.TaskCompleted?.Timeout, '2.00:00:00');
  });
});
