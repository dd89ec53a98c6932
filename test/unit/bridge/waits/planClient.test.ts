import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { PlanCall } from '../../../../bridge/waits/caller.ts';
import { planCaller, PlanClient, type PlanAnswer } from '../../../../bridge/waits/planClient.ts';
import { AgentlessTask } from '../../../support/azureDevOps/agentlessTask.ts';
import { AzureDevOps } from '../../../support/azureDevOps/azureDevOps.ts';
import { completesTask, readsPlan, setsOutputs, writesLog } from '../../../support/azureDevOps/kinds.ts';
import {
  broken,
  htmlWithSuccess,
  redirected,
  reset,
  retryAfterOnSuccess,
  signInAsked,
  slow,
  throttled,
  unavailable,
} from '../../../support/azureDevOps/moods.ts';
import type { Mood } from '../../../support/azureDevOps/standInServer.ts';
import { planWorld as world } from '../../../support/bridge/planWorld.ts';

describe('The client of plans', { concurrency: 4 }, () => {
  test('reads a plan of each hub', async (t) => {
    for (const hub of ['Build', 'Release', 'Gates', 'Checks'] as const) {
      const { client, plan, azure } = await world(t, { hub, version: 8, pipeline: { id: 7, name: 'deploy' } });
      assert.deepEqual(await client.plan(), {
        kind: 'done',
        value: { project: plan.project.id, pipeline: { id: 7, name: 'deploy' }, version: 8, run: plan.owner.id },
      });
      assert.deepEqual(azure.plans.brokenRules, []);
    }
  });

  test('shows progress, sets outputs, writes one log and completes the task', async (t) => {
    const { client, agentless, task, place, azure } = await world(t);
    assert.deepEqual(await client.record(place), { kind: 'done', value: { isCompleted: false } });
    const done = { kind: 'done', value: undefined };
    assert.deepEqual(await client.progress(place, 'waits for\nci.done', 33.4), done);
    assert.deepEqual([task.percentComplete, task.currentOperation], [33, 'waits for\\nci.done']);
    assert.deepEqual(await client.setOutputs(place, { verdict: 'matched', 'event.a': '1' }), done);
    assert.deepEqual(await client.writeLog(place, ['Verdict: matched', '##vso[task.complete]']), done);
    assert.deepEqual(await client.complete(place, 'succeeded'), done);
    assert.equal(await agentless.completed, 'succeeded');
    assert.deepEqual(agentless.outputs, { verdict: 'matched', 'event.a': '1' });
    assert.equal(agentless.logText, 'Verdict: matched\n##_vso[task.complete]\n');
    assert.deepEqual(await client.record(place), { kind: 'done', value: { isCompleted: true } });
    assert.deepEqual(azure.plans.brokenRules, []);
  });

  test('cuts log lines where Azure DevOps would, and marks them', async (t) => {
    const { client, agentless, place } = await world(t);
    await client.writeLog(place, [
      'a'.repeat(1_024),
      'b'.repeat(1_025),
      `${'c'.repeat(1_022)}😀d`,
      '\u0001'.repeat(400),
    ]);
    const lines = agentless.logText.split('\n');
    assert.equal(lines[0], 'a'.repeat(1_024));
    assert.equal(lines[1], `${'b'.repeat(1_023)}…`);
    assert.equal(lines[2], `${'c'.repeat(1_022)}…`);
    assert.ok(lines[3]!.length === 1_024 && lines[3]!.endsWith('…'));
  });

  test("completes a gate's task by the ids that its version knows", async (t) => {
    for (const version of [8, 12, 13]) {
      const { client, agentless, place, azure } = await world(t, { hub: 'Gates', version });
      await client.complete(place, 'failed');
      assert.equal(agentless.task.state, 'completed', String(version));
      assert.deepEqual(azure.plans.brokenRules, []);
    }
    const { client, agentless, place } = await world(t, { hub: 'Checks', version: 8 });
    await client.complete(place, 'failed');
    assert.equal(agentless.task.state, 'completed');
  });

  test('proves callers', async (t) => {
    const { azure, access, call, plan } = await world(t);
    const caller = planCaller(access);
    const { signal } = new AbortController();
    const proven = { project: plan.project.id, pipeline: { id: 42, name: 'web' }, version: 13, run: plan.owner.id };
    assert.deepEqual(await caller.plan(call, signal), { kind: 'ok', value: proven });
    const token = await caller.idToken(call, signal);
    assert.ok(token.kind === 'ok' && token.value.split('.').length === 3);
    const kindWith = async (changes: Partial<PlanCall>) => (await caller.plan({ ...call, ...changes }, signal)).kind;
    assert.equal(await kindWith({ token: 'a-token-of-nobody' }), 'refused');
    const other = new AgentlessTask(azure, { bridge: '', bearer: '' });
    assert.equal(await kindWith({ token: other.token }), 'refused');
    const requests = azure.requests.length;
    assert.deepEqual(await caller.plan({ ...call, planUrl: 'http://127.0.0.1:1/contoso/' }, signal), {
      kind: 'refused',
      reason: 'the plan URL "http://127.0.0.1:1/contoso/" is not one of the organizations whose tasks may wait',
    });
    assert.equal(azure.requests.length, requests);
    azure.feel(unavailable(), { times: 1 });
    assert.equal(await kindWith({}), 'unavailable');
  });

  test('sends a token only to a listed organization, and never an id that is a path', async (t) => {
    const { access, call, client, azure, place } = await world(t);
    await using evil = await AzureDevOps.start();
    assert.deepEqual(PlanClient.open(access, { ...call, planUrl: evil.url }), {
      problem: `"${evil.url}" is not one of the organizations whose tasks may wait`,
    });
    for (const name of ['project', 'plan', 'job'] as const)
      for (const id of ['..', `${call[name]}/../..`, `${call[name]}?a`, `${call[name]}\n`, ''])
        assert.throws(() => PlanClient.open(access, { ...call, [name]: id }), RangeError);
    assert.throws(() => PlanClient.open(access, { ...call, hub: '../build' as 'build' }), RangeError);
    for (const name of ['timeline', 'instance'] as const) {
      const bad = { ...place, [name]: '../../x' };
      for (const work of [
        ...[() => client.record(bad), () => client.setOutputs(bad, {}), () => client.progress(bad, '', 1)],
      ])
        await assert.rejects(async () => work(), RangeError);
    }
    await assert.rejects(client.complete({ ...place, instance: 'x' }, 'failed'), RangeError);
    await assert.rejects(client.writeLog({ ...place, instance: 'x' }, []), RangeError);
    assert.equal(azure.requests.length, 0);

    for (const status of [301, 302, 307, 308] as const) {
      azure.feel(redirected(`${evil.origin}/contoso/`, status), { times: 1 });
      assert.notEqual((await client.complete(place, 'succeeded')).kind, 'done');
    }
    assert.equal(evil.requests.length, 0);
  });
});

describe("Azure DevOps' response to a job", { concurrency: 4 }, () => {
  const answered = async (t: TestContext, mood: Mood, callMs?: number) => {
    const { azure, client, place, agentless } = await world(t, {}, callMs);
    azure.feel(mood, { times: 1 });
    return { answer: await client.complete(place, 'succeeded'), client, place, agentless };
  };

  const GONE: Readonly<Record<string, Mood>> = {
    'a token that has expired': signInAsked('page'),
    'a token that has expired, by redirect': signInAsked('redirect'),
    'a token that has expired, by 401': signInAsked('unauthorized'),
  };
  for (const [what, mood] of Object.entries(GONE))
    test(`is final: ${what}`, async (t) => {
      const { answer } = await answered(t, mood);
      assert.equal(answer.kind, 'gone');
    });

  test('is final: a plan that has ended or is unknown', async (t) => {
    const { plan, client, place } = await world(t);
    plan.fate = 'ended';
    const ended = await client.complete(place, 'succeeded');
    assert.deepEqual(ended, { kind: 'gone', reason: `No orchestration session found for id ${plan.id}` });
    plan.fate = 'deleted';
    assert.deepEqual(await client.complete(place, 'succeeded'), {
      kind: 'gone',
      reason: `No plan found for identifier ${plan.id}`,
    });
    assert.equal((await client.plan()).kind, 'gone');
  });

  const LATER: Readonly<Record<string, readonly [mood: Mood, retryAfterMs: number | undefined, reason: RegExp]>> = {
    'a limit': [throttled({ retryAfter: 1.5 }), 1_500, /TF400733/],
    'an internal error': [broken(), undefined, /TF400898/],
    'an unavailable front door': [unavailable(503), undefined, /status 503/],
    'a broken connection': [reset(), undefined, /./],
    'a page of a proxy': [htmlWithSuccess(), undefined, /status 200/],
    'another redirect': [redirected('http://127.0.0.1:1/', 307), undefined, /status 307/],
    'no answer in time': [slow(2_000, { done: 'after' }), undefined, /no answer within 200 ms/],
  };
  for (const [what, [mood, retryAfterMs, reason]] of Object.entries(LATER))
    test(`is worth another call: ${what}`, async (t) => {
      const { answer, client, place, agentless } = await answered(
        t,
        mood,
        what === 'no answer in time' ? 200 : undefined,
      );
      assert.ok(answer.kind === 'later', answer.kind);
      assert.equal(answer.retryAfterMs, retryAfterMs);
      assert.match(answer.reason, reason);
      assert.equal(agentless.task.state, 'inProgress');
      if (what !== 'no answer in time') assert.equal((await client.complete(place, 'succeeded')).kind, 'done');
    });

  test('is worth another call: something other than the expected JSON', async (t) => {
    const { azure, client, place } = await world(t);
    const later = (what: string): PlanAnswer => ({
      ...{ kind: 'later', retryAfterMs: undefined, reason: `Azure DevOps' answer is not a valid ${what}` },
    });
    for (const body of ['{}', '[]', '', '{"scopeIdentifier":"../x","version":1,"definition":{"id":1,"name":""}}']) {
      azure.feel(async () => ({ status: 200, body }), { times: 1, when: readsPlan });
      assert.deepEqual(await client.plan(), later('plan'), body);
    }
    for (const body of ['{"id":"../1"}', '{"id":1.5}', '{}']) {
      azure.feel(async () => ({ status: 200, body }), { times: 1, when: writesLog });
      assert.deepEqual(await client.writeLog(place, ['a']), later('log'), body);
    }
    azure.feel(async () => ({ status: 200, body: '{}' }), { times: 2 });
    assert.deepEqual(await client.record(place), later('timeline'));
    assert.deepEqual(await client.oidcToken(), later('ID token'));
  });

  test('is a refusal if the plan exists', async (t) => {
    const { azure, client, place } = await world(t);
    azure.feel(async () => ({ status: 400, body: '{"message":"too large"}' }), { when: setsOutputs });
    assert.deepEqual(await client.setOutputs(place, { a: '1' }), { kind: 'refused', reason: 'too large' });
    azure.feel(async () => ({ status: 408 }), { times: 1, when: completesTask });
    assert.equal((await client.complete(place, 'failed')).kind, 'later');
    azure.feel(retryAfterOnSuccess());
    assert.equal((await client.complete(place, 'failed')).kind, 'done');
  });
});
