import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { WaitEnding } from '../../../../bridge/waits/record.ts';
import type { Decided } from '../../../../bridge/waits/outbox.ts';
import { tell } from '../../../../bridge/waits/tell.ts';
import { completesTask, setsOutputs, writesLog } from '../../../support/azureDevOps/kinds.ts';
import { broken, reset, throttled, unavailable } from '../../../support/azureDevOps/moods.ts';
import type { PlanOptions } from '../../../support/azureDevOps/plans.ts';
import type { Mood } from '../../../support/azureDevOps/standInServer.ts';
import { Random } from '../../../support/azureDevOps/random.ts';
import { planWorld } from '../../../support/bridge/planWorld.ts';

const COUNTS = {
  ...{ seen: 3, foreign: 0, untrusted: 0, expired: 0, invalid: 0 },
  ...{ notMatching: 2, repeated: 0, negative: 0, matched: 1 },
};
const MATCHED: WaitEnding = {
  ...{
    verdict: 'matched',
    reason: '',
    counts: COUNTS,
    missing: 0,
    outputs: { verdict: 'matched', 'event.tag': '1.2' },
  },
  event: {
    ...{ subject: 'ci.shop.done.v1', stream: 'CI', sequence: 42, id: 'e-1\n##vso[x]', source: 'https://ci/' },
    ...{ signedBy: 'release', storedAt: Date.parse('2026-11-28T10:00:00Z') },
  },
};
const TIMED_OUT: WaitEnding = {
  ...{
    verdict: 'timedOut',
    reason: 'No event came at all',
    counts: { ...COUNTS, seen: 0, notMatching: 0, matched: 0 },
  },
  ...{
    missing: Array.from({ length: 25 }, (_, index) => `v${index}`),
    outputs: { verdict: 'timedOut' },
    code: 'Timeout',
  },
};

async function world(t: TestContext, ending = MATCHED, options: PlanOptions = {}) {
  const all = await planWorld(t, options);
  const { call, place, access } = all;
  const decided: Decided = {
    key: { organization: 'contoso', ...call, instance: place.instance },
    call: {
      ...{ planUrl: call.planUrl, timeline: place.timeline, token: call.token, inputs: {}, digest: '' },
      ...{ owner: { project: 'Shop', pipeline: 'web', rule: 2 }, planVersion: place.planVersion },
    },
    ending,
  };
  return { ...all, decided, told: (changed: Decided = decided) => tell(changed, access) };
}

describe('Telling a task how its wait ended', { concurrency: 4 }, () => {
  test('sets outputs, then the log, then completes it', async (t) => {
    const { azure, agentless, told } = await world(t, { ...MATCHED, notes: ['outputs: event.x is empty.'] });
    assert.deepEqual(await told(), { kind: 'done' });
    assert.equal(await agentless.completed, 'succeeded');
    assert.deepEqual(agentless.outputs, { verdict: 'matched', 'event.tag': '1.2' });
    assert.equal(
      agentless.logText,
      `Verdict: matched
Event: ci.shop.done.v1, CI:42, id e-1\\n##_vso[x], source https://ci/, signed by release, stored 2026-11-28T10:00:00.000Z
Events seen: 3 (1 matched, 2 not matching)
Note: outputs: event.x is empty.
Waited for: pipeline web of project Shop, allowed by waits.rules[2]
`,
    );
    const order = azure.requests.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`);
    assert.deepEqual(order, ['GET records', 'PATCH records', 'POST logs', 'POST 1', 'PATCH records', 'POST events']);
    assert.deepEqual(azure.plans.brokenRules, []);
  });

  test('succeeds for a match, and for a timeout if onTimeout is succeed', async (t) => {
    const resultOf = async (verdict: WaitEnding['verdict'], inputs: Record<string, string> = {}) => {
      const { decided, told, agentless } = await world(t, { ...TIMED_OUT, verdict });
      assert.deepEqual(await told({ ...decided, call: { ...decided.call, inputs } }), { kind: 'done' });
      return agentless.completed;
    };
    assert.equal(await resultOf('matched'), 'succeeded');
    for (const verdict of ['negative', 'invalid', 'timedOut', 'cancelled', 'error'] as const) {
      assert.equal(await resultOf(verdict), 'failed', verdict);
      const wanted = verdict === 'timedOut' ? 'succeeded' : 'failed';
      assert.equal(await resultOf(verdict, { onTimeout: 'succeed' }), wanted, verdict);
    }
    assert.equal(await resultOf('timedOut', { onTimeout: 'fail' }), 'failed');
  });

  test('says why, and what is missing', async (t) => {
    const { agentless, told } = await world(t, TIMED_OUT);
    await told();
    assert.match(agentless.logText, /^Verdict: timedOut \(Timeout\)\nReason: No event came at all\nEvents seen: 0\n/);
    assert.match(agentless.logText, /\nMissing: v0, .*, v19, …\n/);
    const { agentless: other, told: tellOther } = await world(t, { ...TIMED_OUT, missing: 4 });
    await tellOther();
    assert.match(other.logText, /\nMissing: 4\n/);
  });

  test('names a contract violation in the log as in the output', async (t) => {
    const { agentless, told } = await world(t, { ...TIMED_OUT, verdict: 'invalid', code: 'ContractViolation' });
    await told();
    assert.match(agentless.logText, /^Verdict: contractViolation \(ContractViolation\)\n/);
  });

  test("writes the task's log even if Azure DevOps has started one", async (t) => {
    const { azure, agentless, plan, task, told } = await world(t);
    plan.logRequest(task, 'POST https://bridge.example/v1/waits');
    assert.deepEqual(await told(), { kind: 'done' });
    assert.match(agentless.logText, /^Verdict: matched\n/);
    assert.deepEqual(azure.plans.brokenRules, []);
  });

  test("is done if another replica has just completed the task, despite Azure DevOps' error", async (t) => {
    const { azure, agentless, told } = await world(t);
    const twice: Mood = async (_, answer) => {
      await answer();
      return answer();
    };
    azure.feel(twice, { times: 1, when: completesTask });
    assert.deepEqual(await told(), { kind: 'done' });
    assert.equal(await agentless.completed, 'succeeded');
    assert.equal(azure.requests.find(completesTask)!.status, 500);
  });

  test('gives up if the plan ends just before completing the task', async (t) => {
    const { azure, told, plan, task } = await world(t);
    const ends: Mood = async (_, answer) => {
      plan.fate = 'ended';
      return answer();
    };
    azure.feel(ends, { times: 1, when: completesTask });
    assert.deepEqual(await told(), { kind: 'gone', reason: `No orchestration session found for id ${plan.id}` });
    assert.equal(task.state, 'inProgress');
  });

  test('comes back later if it is unclear whether another replica completed the task', async (t) => {
    const { azure, told } = await world(t);
    const twice: Mood = async (_, answer) => {
      azure.feel(unavailable(), { times: 1 });
      await answer();
      return answer();
    };
    azure.feel(twice, { times: 1, when: completesTask });
    assert.equal((await told()).kind, 'later');
    assert.deepEqual(await told(), { kind: 'done' });
  });

  test('leaves a completed task alone', async (t) => {
    const { azure, told, task } = await world(t);
    Object.assign(task, { state: 'completed', result: 'canceled' });
    assert.deepEqual(await told(), { kind: 'done' });
    assert.equal(azure.requests.length, 1);
  });

  test("completes an old gate's task", async (t) => {
    const { azure, told, agentless } = await world(t, MATCHED, { hub: 'Gates', version: 8 });
    assert.deepEqual(await told(), { kind: 'done' });
    assert.equal(await agentless.completed, 'succeeded');
    assert.deepEqual(azure.plans.brokenRules, []);
  });

  test('makes no call once the organization is off the list', async (t) => {
    const { azure, decided, access } = await world(t);
    const told = await tell(decided, { ...access, allowPlanUrl: () => ({ problem: 'is not allowed' }) });
    assert.deepEqual(told, { kind: 'gone', reason: 'the plan URL is not allowed' });
    assert.equal(azure.requests.length, 0);
  });

  test('gives up if the plan or its token is gone, and comes back later for anything else', async (t) => {
    const { azure, plan, told, decided } = await world(t);
    azure.feel(throttled({ retryAfter: 2 }), { times: 1, when: setsOutputs });
    const throttledOnce = await told();
    assert.ok(throttledOnce.kind === 'later' && throttledOnce.retryAfterMs === 2_000);
    azure.feel(unavailable(), { times: 1, when: writesLog });
    assert.equal((await told()).kind, 'later');
    azure.feel(broken(), { times: 1, when: completesTask });
    assert.equal((await told()).kind, 'later');
    plan.fate = 'ended';
    assert.equal((await told()).kind, 'gone');
    plan.fate = 'running';
    azure.signIn.expireJobToken(decided.call.token);
    assert.equal((await told()).kind, 'gone');
  });

  test('fails a task whose outputs are refused, and says so', async (t) => {
    const { azure, told, agentless } = await world(t);
    azure.feel(async () => ({ status: 400, body: '{"message":"too large"}' }), { when: setsOutputs });
    const problem = 'Azure DevOps does not accept the outputs: too large';
    assert.deepEqual(await told(), { kind: 'done', problem });
    assert.equal(await agentless.completed, 'failed');
    assert.ok(agentless.logText.endsWith(`\n${problem}\n`));
  });

  test('completes a task whose log is refused, but gives up if its record or completion is refused', async (t) => {
    const refusal = async () => ({ status: 403, body: '{"message":"no"}' });
    const { azure, told, agentless } = await world(t);
    azure.feel(refusal, { when: writesLog });
    assert.deepEqual(await told(), { kind: 'done', problem: 'Azure DevOps does not accept the log: no' });
    assert.equal(await agentless.completed, 'succeeded');
    for (const when of [completesTask, undefined]) {
      const other = await world(t);
      other.azure.feel(refusal, when && { when });
      assert.deepEqual(await other.told(), { kind: 'gone', reason: 'no' });
    }
  });

  test('completes a task once, with one log and all outputs, whatever fails, in 60 histories', async (t) => {
    const moods = [
      reset(),
      reset({ done: true }),
      throttled({ retryAfter: 0.01 }),
      broken({ done: true }),
      unavailable(),
    ];
    const random = new Random(20_261_129);
    let tries = 0;
    for (let history = 0; history < 60; history++) {
      const { azure, told, agentless, plan } = await world(t);
      for (const mood of moods) azure.feel(mood, { chance: 0.08, seed: random.below(1_000_000) });
      let kind = '';
      for (let round = 0; round < 500 && kind !== 'done'; round++) {
        ({ kind } = await told());
        assert.notEqual(kind, 'gone', `history ${history}`);
        tries++;
      }
      assert.equal(kind, 'done', `history ${history}`);
      assert.equal(await agentless.completed, 'succeeded');
      assert.deepEqual(agentless.outputs, MATCHED.outputs);
      assert.equal(agentless.logText.match(/Verdict/g)?.length, 1);
      assert.equal(plan.events.length, 1);
      assert.deepEqual(azure.plans.brokenRules, []);
      await azure.stop();
    }
    assert.ok(tries > 200, `only ${tries} tries: nothing broke`);
  });
});
