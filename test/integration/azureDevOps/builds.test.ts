import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { ask, list, start, type Asked } from './asking.ts';

const ID = { name: 'natsEventId', type: 'string' } as const;
const idsOf = ({ json }: Asked): number[] => json.value.map(({ id }: { id: number }) => id);

/** An organization with one pipeline and some of its runs. */
async function withRuns(count: number): Promise<AzureDevOps> {
  const azure = await AzureDevOps.start();
  const pipeline = azure.pipelines.declare({ parameters: [ID] });
  for (let number = 0; number < count; number++) {
    await start(azure, pipeline, { templateParameters: { natsEventId: `e-${number}` } });
  }
  return azure;
}

describe('the list of builds', { concurrency: 4 }, () => {
  test('has each run with its parameters, as does the single build', async () => {
    await using azure = await withRuns(1);
    const { pipeline } = azure.runs[0]!;
    const [run] = azure.runs;
    const { status, json } = await list(azure, { definitions: String(pipeline.id) });
    assert.equal(status, 200);
    assert.equal(json.count, 1);
    const [build] = json.value;
    assert.deepEqual(
      [build.id, build.buildNumber, build.status, build.result],
      [run!.id, run!.name, 'inProgress', undefined],
    );
    assert.deepEqual([build.templateParameters, build.tags], [{ natsEventId: 'e-0' }, []]);
    assert.deepEqual([build.definition.id, build.definition.name], [pipeline.id, pipeline.name]);
    assert.equal(build.requestedFor.id, run!.identity.id);
    assert.equal(build.sourceBranch, 'refs/heads/main');
    assert.match(build.queueTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$/);
    assert.equal(Date.parse(build.queueTime), run!.queuedAt);
    assert.deepEqual((await ask(azure, `Shop/_apis/build/builds/${run!.id}?api-version=7.1`)).json, build);
  });

  test('has only builds of its project and of the requested definitions', async () => {
    await using azure = await AzureDevOps.start();
    const [first, second] = [azure.pipelines.declare(), azure.pipelines.declare()];
    const foreign = azure.pipelines.declare({ project: 'Orders & Co' });
    for (const pipeline of [first, second, foreign]) await start(azure, pipeline);
    const [one, two, three] = azure.runs.map(({ id }) => id);
    const queryOrder = 'queueTimeAscending';
    assert.deepEqual(idsOf(await list(azure, { queryOrder })), [one, two]);
    assert.deepEqual(idsOf(await list(azure, { queryOrder, definitions: String(second.id) })), [two]);
    assert.deepEqual(idsOf(await list(azure, { queryOrder, definitions: `${first.id},${second.id}` })), [one, two]);
    assert.deepEqual(idsOf(await list(azure, { definitions: String(foreign.id) })), []);
    assert.equal((await ask(azure, `Shop/_apis/build/builds/${three}`)).json.typeKey, 'BuildNotFoundException');
    assert.equal((await ask(azure, `Nowhere/_apis/build/builds/${one}`)).status, 404);
    assert.equal((await ask(azure, 'Nowhere/_apis/build/builds')).status, 404);
  });

  test('comes in pages, by a token in a header, in both directions', async () => {
    await using azure = await withRuns(5);
    const ids = azure.runs.map(({ id }) => id);
    azure.builds.pageSize = 2;
    for (const [queryOrder, wanted] of [
      ['queueTimeAscending', ids],
      ['queueTimeDescending', ids.toReversed()],
    ] as const) {
      const pages: number[][] = [];
      let token: string | null = '';
      while (token !== null && pages.length < 9) {
        const answer = await list(azure, { queryOrder, ...(token !== '' && { continuationToken: token }) });
        pages.push(idsOf(answer));
        token = answer.headers.get('x-ms-continuationtoken');
      }
      assert.deepEqual(pages, [wanted.slice(0, 2), wanted.slice(2, 4), wanted.slice(4)]);
    }
    const short = await list(azure, { queryOrder: 'queueTimeAscending', $top: '1' });
    assert.deepEqual([idsOf(short).length, short.headers.has('x-ms-continuationtoken')], [1, true]);
    assert.equal(idsOf(await list(azure, { $top: '50' })).length, 2);
  });

  test('refuses a continuation token from another order, or one that it never issued', async () => {
    await using azure = await withRuns(2);
    const { headers } = await list(azure, { queryOrder: 'queueTimeAscending', $top: '1' });
    const continuationToken = headers.get('x-ms-continuationtoken')!;
    const queryOrder = 'queueTimeDescending';
    assert.equal((await list(azure, { queryOrder, continuationToken })).status, 400);
    assert.equal((await list(azure, { queryOrder, continuationToken: '20163' })).status, 400);
  });

  test('continues at the right place when more runs start between two pages', async () => {
    await using azure = await withRuns(2);
    const { pipeline } = azure.runs[0]!;
    const ids = azure.runs.map(({ id }) => id);
    const queryOrder = 'queueTimeAscending';
    const first = await list(azure, { queryOrder, $top: '1' });
    await start(azure, pipeline, { templateParameters: { natsEventId: 'late' } });
    const continuationToken = first.headers.get('x-ms-continuationtoken')!;
    const then = await list(azure, { queryOrder, continuationToken });
    assert.deepEqual(idsOf(then), [ids[1], azure.runs[2]!.id]);
  });

  test("is limited by minTime and maxTime, compared with the time that it's ordered by", async () => {
    await using azure = await withRuns(3);
    const ids = azure.runs.map(({ id }) => id);
    azure.runs.forEach((run, index) => Object.assign(run, { queuedAt: Date.UTC(2026, 0, 1 + index) }));
    const minTime = '2026-01-02T00:00:00Z';
    const queryOrder = 'queueTimeAscending';
    assert.deepEqual(idsOf(await list(azure, { queryOrder, minTime })), ids.slice(1));
    assert.deepEqual(idsOf(await list(azure, { queryOrder, maxTime: minTime })), ids.slice(0, 2));
    // By the end, what hasn't ended is none of them; and that is the order when none is given.
    const byEnd = 'finishTimeAscending';
    assert.deepEqual(idsOf(await list(azure, { queryOrder: byEnd, minTime })), []);
    azure.builds.move(azure.runs[2]!, 'completed');
    azure.builds.move(azure.runs[0]!, 'canceling');
    assert.deepEqual(idsOf(await list(azure, { minTime })), [ids[2]]);
    assert.deepEqual(idsOf(await list(azure, { queryOrder: byEnd })), [ids[2], ids[0], ids[1]]);
  });

  test('puts unfinished builds last by finish time, or first if descending, also across pages', async () => {
    await using azure = await withRuns(3);
    const ids = azure.runs.map(({ id }) => id);
    azure.builds.move(azure.runs[1]!, 'completed');
    const orders = { finishTimeAscending: [ids[1], ids[0], ids[2]], finishTimeDescending: [ids[2], ids[0], ids[1]] };
    for (const [queryOrder, wanted] of Object.entries(orders)) {
      const first = await list(azure, { queryOrder, $top: '2' });
      const continuationToken = first.headers.get('x-ms-continuationtoken')!;
      const then = await list(azure, { queryOrder, continuationToken });
      assert.deepEqual([...idsOf(first), ...idsOf(then)], wanted);
    }
  });

  test('lacks a new build for a while, although the build itself can be fetched', async () => {
    await using azure = await withRuns(2);
    const ids = azure.runs.map(({ id }) => id);
    azure.builds.listingLagMs = 3_600_000;
    Object.assign(azure.runs[0]!, { queuedAt: Date.now() - 3_600_000 });
    assert.deepEqual(idsOf(await list(azure)), [ids[0]]);
    assert.equal((await ask(azure, `Shop/_apis/build/builds/${ids[1]}`)).status, 200);
  });

  test('refuses invalid parameters', async () => {
    await using azure = await AzureDevOps.start();
    for (const [name, value] of [
      ['queryOrder', 'queueTime'],
      ['queryOrder', ''],
      ['definitions', 'web'],
      ['minTime', 'yesterday'],
      ['maxTime', 'now'],
      ['$top', '0'],
      ['$top', 'all'],
    ] as const) {
      assert.equal((await list(azure, { [name]: value })).status, 400, `${name}=${value}`);
    }
    assert.equal((await ask(azure, 'Shop/_apis/build/builds?api-version=7.2')).status, 400);
    assert.equal((await ask(azure, 'Shop/_apis/build/builds')).status, 200);
  });

  test('fails loudly when a test asks for something the stand-in does not have', async (t) => {
    await using azure = await AzureDevOps.start();
    t.mock.method(console, 'error', () => {});
    assert.equal((await list(azure, { tagFilters: 'a' })).status, 599);
  });
});

describe("the hook of a run's state", { concurrency: 4 }, () => {
  test('reports the run, and the build is in that state', async () => {
    await using azure = await withRuns(1);
    const { pipeline } = azure.runs[0]!;
    const run = azure.runs[0]!;
    const first = azure.runStateHook(run, 'inProgress');
    const second = azure.runStateHook(run, 'completed', 'failed');
    assert.notEqual(first.id, second.id);
    assert.equal(second.eventType, 'ms.vss-pipelines.run-state-changed-event');
    const { run: told, pipeline: its, projectId, requestedFor, runId } = JSON.parse(JSON.stringify(second.resource));
    assert.deepEqual([told.id, runId, told.state, told.result], [run.id, run.id, 'completed', 'failed']);
    assert.deepEqual(told.templateParameters, { natsEventId: 'e-0' });
    assert.equal(told.name, run.name);
    assert.deepEqual([its.id, its.name, projectId], [pipeline.id, pipeline.name, run.project.id]);
    assert.equal(its.parameters, undefined);
    assert.equal(requestedFor.id, run.identity.id);
    assert.equal(second.resourceContainers['project']!.id, run.project.id);
    assert.equal(second.resourceContainers['account']!.baseUrl, azure.url);
    const { json } = await ask(azure, `Shop/_apis/build/builds/${run.id}`);
    assert.deepEqual([json.status, json.result], ['completed', 'failed']);
    assert.ok(Date.parse(json.finishTime) >= run.queuedAt);
    azure.runStateHook(run, 'canceling');
    assert.equal((await ask(azure, `Shop/_apis/build/builds/${run.id}`)).json.status, 'cancelling');
  });
});
