import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import type { PlanOptions } from '../../support/azureDevOps/plans.ts';
import { ask, basic, type Asking } from './asking.ts';

const NO_TASK = '00000000-0000-0000-0000-000000000000';

/** A plan with one task, and a way to ask for what is below it with the token of the task's job. */
function planOf(azure: AzureDevOps, options: PlanOptions = {}) {
  const plan = azure.plans.create(options);
  const task = plan.addTask();
  const token = azure.plans.token(plan, task);
  const at = (place: string, hub: string = plan.hub, project = plan.project.id, id: string = plan.id) =>
    `${encodeURIComponent(project)}/_apis/distributedtask/hubs/${hub}/plans/${id}${place}?api-version=7.1`;
  const send = (method: string, place: string, body?: unknown, asking: Asking = {}) =>
    ask(azure, at(place), {
      ...{ method, authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      ...asking,
    });
  const complete = (changes: Record<string, unknown> = {}) =>
    send('POST', '/events', {
      ...{ name: 'TaskCompleted', jobId: task.job, taskId: task.instance, result: 'succeeded', ...changes },
    });
  const patch = (record: Record<string, unknown>) =>
    send('PATCH', `/timelines/${plan.timeline}/records`, { value: [{ id: task.instance, ...record }], count: 1 });
  return { plan, task, token, at, send, complete, patch };
}

describe('A plan', { concurrency: 4 }, () => {
  test("describes itself, with its hub's name in any case", async () => {
    await using azure = await AzureDevOps.start();
    for (const hub of ['Build', 'Release', 'Gates', 'Checks'] as const) {
      const { plan, at, token } = planOf(azure, { hub, project: 'Orders & Co', pipeline: { id: 7, name: 'deploy' } });
      for (const written of [hub, hub.toLowerCase(), hub.toUpperCase()]) {
        const { status, json } = await ask(azure, at('', written), { authorization: `Bearer ${token}` });
        assert.equal(status, 200);
        assert.deepEqual(
          [json.planId, json.scopeIdentifier, json.version, json.definition.id, json.definition.name, json.planType],
          [plan.id, plan.project.id, 13, 7, 'deploy', hub],
        );
        assert.deepEqual([json.timeline.id, json.owner.id], [plan.timeline, plan.owner.id]);
      }
    }
    assert.deepEqual(azure.plans.brokenRules, []);
  });

  test("accepts only its own jobs' tokens, until they expire", async () => {
    await using azure = await AzureDevOps.start();
    const { at, token, send, patch } = planOf(azure);
    const other = planOf(azure);
    const statusWith = async (authorization: string) => (await send('GET', '', undefined, { authorization })).status;
    assert.equal(await statusWith(`Bearer ${token}`), 200);
    assert.equal(await statusWith(basic(token)), 200);
    assert.equal(await statusWith(`Bearer ${other.token}`), 403);
    assert.equal(await statusWith(basic(azure.pat)), 403);
    assert.equal(await statusWith('Bearer nobody'), 203);
    assert.equal(azure.plans.brokenRules.length, 2);

    azure.signIn.expireJobToken(token);
    assert.equal(await statusWith(`Bearer ${token}`), 203);
    assert.equal((await patch({ state: 'inProgress' })).status, 401);
    azure.refusalForm = 'redirect';
    assert.equal((await ask(azure, at(''), { authorization: `Bearer ${token}` })).status, 302);
  });

  test('is found only in its own project and hub', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, at, token } = planOf(azure);
    const statusOf = async (path: string) => (await ask(azure, path, { authorization: `Bearer ${token}` })).status;
    assert.equal(await statusOf(at('', 'gates')), 404);
    assert.equal(await statusOf(at('', 'pipelines')), 404);
    assert.equal(await statusOf(at('', 'build', randomUUID())), 404);
    assert.equal(await statusOf(at('', 'build', 'Shop')), 400);
    assert.equal(await statusOf(at('', 'build', plan.project.id, 'x')), 400);
    assert.equal(azure.plans.brokenRules.length, 5);
  });

  test('accepts progress, outputs and a log, and shows them in its timeline', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, task, send, patch } = planOf(azure);
    assert.equal((await patch({ state: 'inProgress', percentComplete: 40, currentOperation: 'waits' })).status, 200);
    const created = await send('POST', '/logs', { path: `logs\\${task.instance}` });
    assert.equal(created.status, 200);
    const bytes = { headers: { 'content-type': 'application/octet-stream' }, body: `first\n${'x'.repeat(2_000)}\n` };
    assert.equal((await send('POST', `/logs/${created.json.id}`, undefined, bytes)).status, 200);
    assert.equal((await patch({ log: { id: created.json.id } })).status, 200);
    assert.equal((await patch({ variables: { a: { value: '1', isSecret: false } } })).status, 200);
    await patch({ variables: { b: { value: '2' } } });

    const { json } = await send('GET', `/timelines/${plan.timeline}/records`);
    const [record] = json.value;
    assert.deepEqual([json.count, record.id, record.parentId, record.type], [1, task.instance, task.job, 'Task']);
    assert.deepEqual([record.state, record.percentComplete, record.currentOperation], ['inProgress', 40, 'waits']);
    assert.deepEqual([record.log.id, Object.keys(record.variables)], [created.json.id, ['a', 'b']]);
    assert.equal(plan.logs.get(created.json.id)!.text, `first\n${'x'.repeat(1_024)}\n`);
    assert.deepEqual(azure.plans.brokenRules, []);

    const writeAnother = async (text: string) => {
      const another = await send('POST', '/logs', { path: `logs\\${task.instance}` });
      await send('POST', `/logs/${another.json.id}`, undefined, { ...bytes, body: text });
      await patch({ log: { id: another.json.id } });
    };
    await writeAnother(bytes.body);
    assert.deepEqual(azure.plans.brokenRules, []);
    await writeAnother('second\n');
    assert.match(azure.plans.brokenRules.join(), /^A second log/);
  });

  test('has logs of its own, which a task may replace', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, task, send, patch } = planOf(azure);
    plan.logRequest(task, 'POST https://bridge.example/v1/waits');
    const { json } = await send('GET', `/timelines/${plan.timeline}/records`);
    assert.equal(plan.logs.get(json.value[0].log.id)!.text, 'POST https://bridge.example/v1/waits\n');
    const created = await send('POST', '/logs', { path: `logs\\${task.instance}` });
    assert.equal((await patch({ log: { id: created.json.id } })).status, 200);
    assert.deepEqual(azure.plans.brokenRules, []);
  });

  test('ends a task by TaskCompleted, once', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, task, send, complete, patch } = planOf(azure);
    for (const name of ['TaskAssigned', 'TaskStarted']) assert.equal((await complete({ name })).status, 204);
    assert.equal(task.state, 'inProgress');
    assert.equal((await complete({ result: 'failed' })).status, 204);
    assert.equal(await task.completed, 'failed');
    const { json } = await send('GET', `/timelines/${plan.timeline}/records`);
    assert.deepEqual([json.value[0].state, json.value[0].result], ['completed', 'failed']);

    const again = await complete();
    assert.deepEqual([again.status, again.json.typeKey], [500, 'OrchestrationSessionNotFoundException']);
    assert.equal(task.result, 'failed');
    assert.deepEqual(azure.plans.brokenRules, []);
    await patch({ variables: { late: { value: '' } } });
    assert.match(azure.plans.brokenRules.join(), /^Outputs came after TaskCompleted/);
  });

  test('identifies the tasks of gates by other ids before version 13', async () => {
    await using azure = await AzureDevOps.start();
    const old = planOf(azure, { hub: 'Gates', version: 8 });
    assert.equal((await old.complete()).status, 204);
    assert.equal(old.task.state, 'inProgress');
    assert.match(azure.plans.brokenRules.join(), /^TaskCompleted is for no task/);
    assert.equal((await old.complete({ jobId: old.task.instance, taskId: NO_TASK })).status, 204);
    assert.equal(await old.task.completed, 'succeeded');

    for (const options of [{ hub: 'Gates' }, { hub: 'Build', version: 8 }] as const) {
      const { task, complete } = planOf(azure, options);
      await complete({ jobId: task.instance, taskId: NO_TASK });
      assert.equal(task.state, 'inProgress');
      await complete();
      assert.equal(await task.completed, 'succeeded');
    }
  });

  test('answers calls with 500 once it has ended, and with 404 once it is gone', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, send, complete, patch } = planOf(azure);
    plan.fate = 'ended';
    for (const { status, json } of [await complete(), await patch({ state: 'inProgress' })])
      assert.deepEqual([status, json.typeKey], [500, 'OrchestrationSessionNotFoundException']);
    assert.equal((await send('GET', '')).status, 200);
    plan.fate = 'deleted';
    for (const { status, json } of [await complete(), await send('GET', '')])
      assert.deepEqual([status, json.typeKey], [404, 'TaskOrchestrationPlanNotFoundException']);
  });

  test('refuses and records calls that the real one would refuse', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, task, send, complete, patch } = planOf(azure);
    const records = `/timelines/${plan.timeline}/records`;
    const typed = (type: string) => ({ headers: { 'content-type': type }, body: '{}' });
    const log = (await send('POST', '/logs', { path: `logs\\${task.instance}` })).json.id;
    const cases: [status: number, answer: ReturnType<typeof send>][] = [
      [400, complete({ name: 'TaskDone' })],
      [400, complete({ result: 'matched' })],
      [400, complete({ jobId: 'job' })],
      [415, send('POST', '/events', undefined, typed('text/plain'))],
      [400, send('POST', '/events', [])],
      [400, send('PATCH', records, { value: [], count: 1 })],
      [400, patch({ id: 'x' })],
      [400, patch({ status: 'completed' })],
      [400, patch({ state: 'done' })],
      [400, patch({ log: { id: 99 } })],
      [400, patch({ percentComplete: 101 })],
      [400, patch({ variables: { a: '1' } })],
      [404, send('GET', `/timelines/${randomUUID()}/records`)],
      [400, send('POST', '/logs', { path: '../x' })],
      [415, send('POST', `/logs/${log}`, { a: 1 })],
      [404, send('POST', '/logs/99', undefined, typed('application/octet-stream'))],
      [404, send('POST', `/jobs/${randomUUID()}/oidctoken`, {})],
      [403, send('POST', `/jobs/${plan.addTask().job}/oidctoken`, {})],
    ];
    for (const [index, [wanted, answer]] of cases.entries())
      assert.equal((await answer).status, wanted, `case ${index}: ${(await answer).text}`);
    assert.equal(azure.plans.brokenRules.length, cases.length);
    assert.equal((await send('PUT', '/events', {})).status, 405);
  });

  test('gives its jobs ID tokens that anyone can verify', async () => {
    await using azure = await AzureDevOps.start();
    const { plan, task, send } = planOf(azure);
    const { status, json } = await send('POST', `/jobs/${task.job}/oidctoken`, {});
    assert.equal(status, 200);
    const { json: discovery } = await ask(azure, `${azure.issuer.url}/.well-known/openid-configuration`);
    assert.equal(discovery.issuer, azure.issuer.url);
    const keys = createRemoteJWKSet(new URL(discovery.jwks_uri));
    const { payload } = await jwtVerify(json.oidcToken, keys, {
      ...{ issuer: azure.issuer.url, audience: 'api://AzureADTokenExchange', algorithms: ['RS256'] },
    });
    assert.deepEqual([payload['prj_id'], payload['def_id']], [plan.project.id, '42']);
    assert.equal(payload.sub, 'p://contoso/Shop/web');
  });
});
