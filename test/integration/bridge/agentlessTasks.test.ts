import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { setup } from '../../../bridge/commands/setup.ts';
import { bucketKey, type WaitState } from '../../../bridge/waits/record.ts';
import { unseal } from '../../../bridge/waits/sealing.ts';
import { AgentlessTask, type AgentlessTaskOptions } from '../../support/azureDevOps/agentlessTask.ts';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { unavailable } from '../../support/azureDevOps/moods.ts';
import { configurationFile } from '../../support/bridge/configurationFile.ts';
import { WaitsBridge, waitsConfigurationOf, WaitsWorld } from '../../support/bridge/waitsBridge.ts';
import { BEARER, SEALING_KEY } from '../../support/bridge/waitsReceiver.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { Admin } from '../../support/nats/testStream.ts';

const INPUTS = { subject: 'ci.shop.done.v1', match: "data.tag == 'a\n--b'" };

type Change = (configuration: string, azure: AzureDevOps) => string;

/** A bridge over a real server and a stand-in of Azure DevOps, and tasks that call it. */
async function together(t: TestContext, change: Change = (configuration) => configuration) {
  const opened: AsyncDisposable[] = [];
  t.after(async () => {
    for (const one of opened.reverse()) await one[Symbol.asyncDispose]();
  });
  const open = async <One extends AsyncDisposable>(opening: Promise<One>): Promise<One> => {
    const one = await opening;
    opened.push(one);
    return one;
  };
  const server = await open(startNatsServer());
  const admin = await open(Admin.connect([server.url]));
  const azure = await open(AzureDevOps.start());
  const file = configurationFile(change(waitsConfigurationOf(azure, server.url), azure));
  const world = new WaitsWorld();
  assert.equal(await setup(file, { apply: true, streams: [] }, world), 0, world.stderr);
  await admin.manager.streams.add({ name: 'CI', subjects: ['ci.>'] });
  const bridge = await open(WaitsBridge.start(file, azure));
  return {
    ...{ azure, bridge },
    task: (options: Partial<AgentlessTaskOptions> = {}) =>
      new AgentlessTask(azure, { bridge: bridge.url, bearer: BEARER, ...options }),
    /** The record of a wait that was accepted. */
    record: async (key: string) => {
      const subject = `$KV.BRIDGE_WAITS.${key}`;
      const { data } = await admin.manager.streams.getMessage('KV_BRIDGE_WAITS', { last_by_subj: subject });
      return unseal(key, data, [SEALING_KEY])!;
    },
  };
}

function inState<State extends WaitState['state']>(state: WaitState, wanted: State) {
  assert.equal(state.state, wanted);
  return state as Extract<WaitState, { state: State }>;
}

describe('A task without an agent', { concurrency: 2 }, () => {
  test("is accepted in each hub with its plan's details, and completed when it is cancelled", async (t) => {
    const all = await together(t);
    for (const hub of ['Build', 'Release', 'Gates', 'Checks'] as const) {
      const task = all.task({ hub, version: 8, pipeline: { id: 7, name: 'deploy' } });
      const taken = await task.execute(INPUTS);
      assert.equal(taken.status, 200, taken.text);
      const { key, state } = await all.record(taken.json.key);
      assert.equal(bucketKey(key), taken.json.key);
      const { call } = inState(state, 'waiting');
      assert.deepEqual(call.inputs, INPUTS);
      assert.deepEqual([call.planVersion, call.token, call.timeline], [8, task.token, task.plan.timeline]);

      assert.deepEqual(await task.cancel(), taken);
      assert.equal(await task.completed, 'failed');
      assert.match(task.logText, /^Verdict: cancelled \(Cancelled\)\nReason: The task was cancelled/);
    }
    assert.deepEqual(all.azure.plans.brokenRules, []);
  });

  test('is refused without proof, and its token goes nowhere else', async (t) => {
    const all = await together(t);
    await using evil = await AzureDevOps.start();
    const task = all.task();
    const statusWith = async (headers: Record<string, string>) =>
      (await task.execute(INPUTS, task.headers(headers))).status;
    assert.equal(await statusWith({ 'X-Job-Token': all.task().token }), 403);
    assert.equal(await statusWith({ 'X-Project-Id': all.azure.organization.projects[1]!.id }), 403);
    assert.equal(await statusWith({ 'X-Plan-Url': evil.url }), 403);
    assert.equal(await statusWith({ 'X-Plan-Url': `${all.azure.origin}/contoso/../evil/` }), 403);
    assert.equal(await statusWith({ 'X-Plan-Id': '../..' }), 400);
    assert.equal(await statusWith({ Authorization: 'Bearer another' }), 401);
    assert.equal(evil.requests.length, 0);
    all.azure.feel(unavailable(), { times: 1 });
    assert.equal((await task.execute(INPUTS)).status, 503);
    all.azure.signIn.expireJobToken(task.token);
    assert.equal((await task.execute(INPUTS)).status, 403);
    assert.ok(!all.bridge.world.stderr.includes(task.token));
  });

  test('proves its job by an ID token if its rule requires that', async (t) => {
    const all = await together(t, (configuration, azure) =>
      configuration
        .replace('  rules:', `  issuers: ['${azure.issuer.url}']\n  rules:`)
        .replace('subjects: [ci.shop.>]', 'subjects: [ci.shop.>], proof: job'),
    );
    await all.azure.issuer.ready();
    const taken = await all.task().execute(INPUTS);
    assert.equal(taken.status, 200, taken.text);
    all.azure.feel(
      async (_, answer) => {
        const { plan } = all.task({ pipeline: { id: 9, name: 'other' } });
        const given = await answer();
        return { ...given, body: JSON.stringify({ oidcToken: await all.azure.issuer.issue(plan) }) };
      },
      { when: ({ path }) => path.endsWith('/oidctoken') },
    );
    const refused = await all.task().execute(INPUTS);
    assert.equal(refused.status, 403);
    assert.match(refused.text, /another pipeline/);
  });
});
