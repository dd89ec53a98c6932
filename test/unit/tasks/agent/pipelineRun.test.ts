import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultMessageId, readPipelineRun } from '../../../../tasks/agent/pipelineRun.ts';
import { FakeAgent } from '../../../support/agent/fakeAgent.ts';

const BUILD = {
  'System.CollectionUri': 'https://dev.azure.com/contoso/',
  'System.TeamProject': 'Orders',
  'System.DefinitionId': '12',
  'Build.DefinitionName': 'orders-ci',
  'Build.BuildId': '4711',
  'Build.RequestedFor': 'Ada Lovelace',
  'Build.SourceVersion': '4b825dc642cb6eb9a060e54bf8d69288fbee4904',
  'System.StageName': 'Deploy',
  'System.JobName': 'Job',
  'System.TaskDisplayName': 'Publish an event',
  'System.TaskInstanceName': 'publish',
  'System.PlanId': 'plan-1',
  'System.JobId': 'job-2',
  'System.TaskInstanceId': 'task-3',
  'System.StageAttempt': '1',
  'System.JobAttempt': '2',
};

function runWith(variables: Readonly<Record<string, string>>) {
  return readPipelineRun(new FakeAgent({ variables }));
}

test('an event names the organization, project, pipeline, run, requester and commit', () => {
  const { owner, source, step } = runWith(BUILD);
  assert.deepEqual(owner, {
    azporganization: 'contoso',
    azpproject: 'Orders',
    azppipeline: 'orders-ci',
    azprunid: '4711',
    azprequester: 'Ada Lovelace',
    azpcommit: '4b825dc642cb6eb9a060e54bf8d69288fbee4904',
  });
  assert.equal(source, 'https://dev.azure.com/contoso/Orders/_build?definitionId=12');
  assert.deepEqual(step, {
    stage: 'Deploy',
    job: 'Job',
    step: 'Publish an event',
    planId: 'plan-1',
    jobId: 'job-2',
    taskInstanceId: 'task-3',
  });
});

for (const [collection, organization, base] of [
  ['https://dev.azure.com/contoso/', 'contoso', 'https://dev.azure.com/contoso/'],
  ['https://dev.azure.com/contoso', 'contoso', 'https://dev.azure.com/contoso/'],
  ['https://contoso.visualstudio.com/', 'contoso', 'https://contoso.visualstudio.com/'],
  [
    'https://contoso.visualstudio.com/DefaultCollection/',
    'contoso',
    'https://contoso.visualstudio.com/DefaultCollection/',
  ],
  ['https://tfs.example:8080/tfs/Our%20Team/', 'Our Team', 'https://tfs.example:8080/tfs/Our%20Team/'],
  ['https://tfs.example/tfs/Our Team/', 'Our Team', 'https://tfs.example/tfs/Our%20Team/'],
  ['https://tfs.example/', 'tfs.example', 'https://tfs.example/'],
] as const) {
  test(`the collection ${collection} is the organization ${organization}`, () => {
    const { owner, source } = runWith({ ...BUILD, 'System.CollectionUri': collection });
    assert.equal(owner.azporganization, organization);
    assert.equal(source, `${base}Orders/_build?definitionId=12`);
    assert.ok(URL.canParse(source));
  });
}

test("the source is percent-encoded, whatever the project's name", () => {
  const { owner, source } = runWith({ ...BUILD, 'System.TeamProject': 'Größe & Co/Ünit #1?' });
  assert.equal(owner.azpproject, 'Größe & Co/Ünit #1?');
  assert.equal(
    source,
    `https://dev.azure.com/contoso/${encodeURIComponent('Größe & Co/Ünit #1?')}/_build?definitionId=12`,
  );
  assert.match(source, /^[!-~]+$/);
});

test("a classic agent's collection and a release are found under their own variables", () => {
  const { owner, source } = runWith({
    'System.TeamFoundationCollectionUri': 'https://dev.azure.com/contoso/',
    'System.TeamProject': 'Orders',
    'Release.DefinitionName': 'orders-release',
    'Release.ReleaseId': '99',
    'Release.RequestedFor': 'Grace Hopper',
  });
  assert.deepEqual(owner, {
    azporganization: 'contoso',
    azpproject: 'Orders',
    azppipeline: 'orders-release',
    azprunid: '99',
    azprequester: 'Grace Hopper',
  });
  assert.equal(source, 'https://dev.azure.com/contoso/Orders/_build');
});

test("a collection that isn't a URL doesn't fail the step", () => {
  assert.equal(runWith({ ...BUILD, 'System.CollectionUri': 'contoso' }).owner.azporganization, undefined);
});

test("a collection with invalid percent-encoding doesn't fail the step", () => {
  const { owner, source } = runWith({ ...BUILD, 'System.CollectionUri': 'https://tfs.example/tfs/100%/' });
  assert.equal(owner.azporganization, '100%');
  assert.equal(source, 'https://tfs.example/tfs/100%25/Orders/_build?definitionId=12');
});

test("a lone surrogate, which Windows' environment can hold, doesn't fail the step", () => {
  const half = { 'System.CollectionUri': 'https://dev.azure.com/c\ud800/', 'System.TeamProject': 'O\udfff' };
  const { source } = runWith({ ...BUILD, ...half, 'System.DefinitionId': '\ud800' });
  assert.equal(source, 'https://dev.azure.com/c%EF%BF%BD/O%EF%BF%BD/_build?definitionId=%EF%BF%BD');
});

test('outside a pipeline there is a source, but no owner', () => {
  assert.deepEqual(runWith({}), { owner: {}, source: 'urn:azure-pipelines:unknown', step: {} });
});

test('the message id stays the same on a step retry, and changes when someone reruns the job', () => {
  const agent = new FakeAgent({ variables: BUILD });
  const id = defaultMessageId(agent);
  assert.equal(id, 'plan-1.1.job-2.2.task-3');
  assert.equal(defaultMessageId(new FakeAgent({ variables: BUILD })), id);
  for (const [name, value] of [
    ['System.StageAttempt', '2'],
    ['System.JobAttempt', '3'],
    ['System.JobId', 'job-7'],
    ['System.PlanId', 'plan-7'],
    ['System.TaskInstanceId', 'task-7'],
  ] as const)
    assert.notEqual(defaultMessageId(new FakeAgent({ variables: { ...BUILD, [name]: value } })), id);
  assert.deepEqual(agent.warnings, []);
});

test('outside a pipeline the message id is random, with a warning', () => {
  const agent = new FakeAgent({ variables: { ...BUILD, 'System.PlanId': '' } });
  const ids = new Set([defaultMessageId(agent), defaultMessageId(agent)]);
  assert.equal(ids.size, 2);
  assert.match(agent.warnings[0]!, /^The message id is random, since the variables of a pipeline run are absent/);
});

test("run variables that aren't valid ids give a random message id", () => {
  for (const value of ['plan 1', 'a\nb', 'a\rNats-Msg-Id: x', 'é', '$(x)', 'x'.repeat(51)]) {
    const agent = new FakeAgent({ variables: { ...BUILD, 'System.PlanId': value } });
    assert.match(defaultMessageId(agent), /^[0-9a-f-]{36}$/);
    assert.equal(agent.warnings.length, 1);
  }
});
