import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import type { ParameterDeclaration } from '../../support/azureDevOps/templateParameters.ts';
import { ask, basic, list, runsPath, start } from './asking.ts';

const PARAMETERS: readonly ParameterDeclaration[] = [
  { name: 'natsEventId', type: 'string', default: '' },
  { name: 'target', type: 'string', values: ['test', 'production'] },
];
const JSON_TYPE = { 'content-type': 'application/json' };

describe('starting a run', { concurrency: 4 }, () => {
  test('answers 200 with the run, and the stand-in records all of it', async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare({ name: 'web-cd', parameters: PARAMETERS });
    const before = Date.now();
    const { status, json } = await start(azure, pipeline, {
      resources: { repositories: { self: { refName: 'refs/heads/release/1' } } },
      templateParameters: { natsEventId: 'e-1' },
    });
    assert.equal(status, 200);
    const { id, name, state, createdDate, url, resources, templateParameters, _links } = json;
    assert.deepEqual(
      { state, templateParameters },
      { state: 'inProgress', templateParameters: { natsEventId: 'e-1' } },
    );
    assert.match(name, /^\d{8}\.\d+$/);
    assert.match(createdDate, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$/);
    assert.ok(Date.parse(createdDate) >= before);
    assert.equal(url, `${azure.url}${pipeline.project.id}/_apis/pipelines/${pipeline.id}/runs/${id}`);
    assert.equal(_links.web.href, `${azure.url}${pipeline.project.id}/_build/results?buildId=${id}`);
    assert.deepEqual(
      { ...json.pipeline, url: '' },
      { id: pipeline.id, name: 'web-cd', folder: '\\', revision: 3, url: '' },
    );
    assert.equal(resources.repositories.self.refName, 'refs/heads/release/1');

    const [run] = azure.runs;
    assert.deepEqual([run!.id, run!.project.name, run!.pipeline], [id, 'Shop', pipeline]);
    assert.deepEqual([run!.parameters, run!.ref], [{ natsEventId: 'e-1' }, 'refs/heads/release/1']);
    assert.equal(run!.identity.name, 'Ada Example');
    assert.equal(run!.receivedAt, azure.requests[0]!.at);
  });

  test('gives ids that increase across all projects', async () => {
    await using azure = await AzureDevOps.start();
    const pipelines = ['Shop', 'Orders & Co'].map((project) => azure.pipelines.declare({ project }));
    const ids: number[] = [];
    for (const pipeline of [...pipelines, ...pipelines]) ids.push((await start(azure, pipeline)).json.id);
    assert.deepEqual(
      ids,
      ids.toSorted((one, other) => one - other),
    );
    assert.equal(new Set(ids).size, 4);
    assert.notEqual(pipelines[0]!.id, pipelines[1]!.id);
  });

  test('builds the default branch when no ref is given, and accepts no short branch name', async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare({ defaultBranch: 'refs/heads/trunk' });
    await start(azure, pipeline);
    assert.equal(azure.runs[0]!.ref, 'refs/heads/trunk');
    for (const refName of ['main', 'refs/heads/', 'heads/main']) {
      const { status, json } = await start(azure, pipeline, { resources: { repositories: { self: { refName } } } });
      assert.deepEqual([status, json.typeKey], [400, 'PipelineValidationException'], refName);
    }
    for (const refName of [7, {}, null]) {
      const { status } = await start(azure, pipeline, { resources: { repositories: { self: { refName } } } });
      assert.equal(status, 400, JSON.stringify(refName));
    }
    assert.equal(azure.runs.length, 1);
  });

  test('previews the YAML without a run, as strictly as with one', async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare({ parameters: PARAMETERS });
    const preview = (templateParameters: object) => start(azure, pipeline, { previewRun: true, templateParameters });
    const { status, json } = await preview({ natsEventId: 'e-1' });
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(json), ['finalYaml']);
    assert.match(json.finalYaml, /echo "e-1"\n.*echo "test"/);
    assert.equal((await preview({ natsEventID: 'e-1' })).status, 400);
    assert.equal((await start(azure, pipeline, { previewRun: 'true' })).status, 400);
    assert.deepEqual([azure.runs.length, azure.requests.length], [0, 3]);
  });

  test('refuses variables that are not settable, in the words of the documentation', async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare({ settableVariables: ['level'] });
    const variables = { level: { value: '1' }, a: { value: '1' }, b: { value: '2' } };
    const { status, json } = await start(azure, pipeline, { variables });
    assert.deepEqual([status, json.typeKey], [400, 'PipelineValidationException']);
    assert.match(json.message, /^You can't set the following variables \(a, b\)\. If you want/);
    assert.equal((await start(azure, pipeline, { variables: { level: { value: '1' } } })).status, 200);
    assert.equal((await start(azure, pipeline, { variables: { level: '1' } })).status, 400);
  });

  test('ignores unknown members', async () => {
    await using azure = await AzureDevOps.start();
    assert.equal((await start(azure, azure.pipelines.declare(), { natsEventId: 'e', tags: {} })).status, 200);
  });

  test('fails loudly when a test asks for something the stand-in does not have', async (t) => {
    await using azure = await AzureDevOps.start();
    t.mock.method(console, 'error', () => {});
    const pipeline = azure.pipelines.declare();
    for (const body of [{ stagesToSkip: ['a'] }, { previewRun: true, yamlOverride: '' }]) {
      assert.equal((await start(azure, pipeline, body)).status, 599);
    }
  });

  test('accepts only a JSON object', async () => {
    await using azure = await AzureDevOps.start();
    const path = runsPath(azure.pipelines.declare());
    for (const body of ['', '[]', '{"a":', '"text"', 'null']) {
      const { status } = await ask(azure, path, { method: 'POST', headers: JSON_TYPE, body });
      assert.equal(status, 400, body);
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const { status } = await ask(azure, path, { method: 'POST', headers: { 'content-type': type }, body: '{}' });
      assert.equal(status, 415, type);
    }
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    assert.equal((await ask(azure, path, { method: 'POST', headers, body: '{}' })).status, 200);
    assert.equal(azure.runs.length, 1);
  });
});

describe('a pipeline is not found', { concurrency: 4 }, () => {
  test("if it doesn't exist, or only in another project", async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare();
    const status = async (path: string) =>
      (await ask(azure, path, { method: 'POST', headers: JSON_TYPE, body: '{}' })).status;
    const query = 'api-version=7.1';
    assert.equal(await status(`Shop/_apis/pipelines/${pipeline.id + 1}/runs?${query}`), 404);
    assert.equal(await status(`Shop/_apis/pipelines/web/runs?${query}`), 404);
    assert.equal(await status(`Orders%20%26%20Co/_apis/pipelines/${pipeline.id}/runs?${query}`), 404);
    assert.equal(await status(`Nowhere/_apis/pipelines/${pipeline.id}/runs?${query}`), 404);
    assert.equal(await status(`shop/_apis/Pipelines/${pipeline.id}/Runs?${query}`), 200);
    assert.equal(await status(`${pipeline.project.id}/_apis/pipelines/${pipeline.id}/runs?${query}`), 200);
  });

  test("by anyone who may not see it or its project; without permission to queue it's 403 with TF215106", async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare();
    const outside = basic(azure.signIn.addPat({ projects: ['Orders & Co'] }));
    assert.equal((await start(azure, pipeline, {}, { authorization: outside })).status, 404);

    await start(azure, pipeline);
    const { identity } = azure.runs[0]!;
    azure.pipelines.deny(pipeline, identity.id, 'queue');
    const denied = await start(azure, pipeline);
    assert.deepEqual([denied.status, denied.json.typeKey], [403, 'AccessDeniedException']);
    assert.match(denied.json.message, /^TF215106: Access denied\. Ada Example needs Queue builds permissions/);
    assert.equal((await list(azure)).json.count, 1);

    azure.pipelines.deny(pipeline, identity.id, 'view');
    assert.equal((await start(azure, pipeline)).status, 404);
    assert.equal((await list(azure)).json.count, 0);
    assert.equal((await ask(azure, `Shop/_apis/build/builds/${azure.runs[0]!.id}`)).status, 404);
    const other = basic(azure.signIn.addPat({ name: 'Bob Example' }));
    assert.equal((await start(azure, pipeline, {}, { authorization: other })).status, 200);
    assert.equal(azure.runs.length, 2);
  });
});
