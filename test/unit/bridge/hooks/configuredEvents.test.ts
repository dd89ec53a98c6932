import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { entriesFor, isForProject } from '../../../../bridge/hooks/configuredEvents.ts';
import { readHook, type Hook } from '../../../../bridge/hooks/hook.ts';
import { BUILD, hookBody, SHOP } from '../../../support/bridge/hookPosts.ts';

/** Whether an entry of `hooks.events` with these inputs matches the hook. */
function takes(eventType: string, resource: unknown, inputs: Readonly<Record<string, string>>): boolean {
  const hook = readHook(hookBody(eventType, resource)) as Hook;
  return entriesFor(hook, [{ event: eventType, project: '*', inputs }]).length === 1;
}

const STAGE = { name: 'Build', displayName: 'Build it', state: 'completed', result: 'succeeded' };
const RUN = { id: 1, state: 'inProgress' };
const PIPELINE = { id: 139 };
const STAGE_EVENT = 'ms.vss-pipelines.stage-state-changed-event';
const APPROVAL_EVENT = 'ms.vss-pipelinechecks-events.approval-pending';
const PUSH = {
  repository: { id: 'R-1', name: 'web' },
  refUpdates: [{ name: 'refs/heads/main' }, { name: 'refs/heads/x/y' }],
};
const WORK_ITEM = { fields: { 'System.AreaPath': 'Shop\\Web\\Cart', 'System.WorkItemType': 'Bug' } };
const RELEASE = { release: { releaseDefinition: { id: 3 } }, environment: { status: 'partiallySucceeded' } };

type Case = readonly [
  eventType: string,
  resource: unknown,
  taken: readonly Readonly<Record<string, string>>[],
  refused: readonly Readonly<Record<string, string>>[],
];

const CASES: readonly Case[] = [
  [
    'build.complete',
    BUILD,
    [{}, { definitionName: 'web' }, { definitionName: 'WEB', buildStatus: 'Succeeded' }, { definitionName: '' }],
    [{ definitionName: 'api' }, { definitionName: 'web', buildStatus: 'Failed' }],
  ],
  ['build.complete', { ...BUILD, result: 'canceled' }, [{ buildStatus: 'Stopped' }], [{ buildStatus: 'Succeeded' }]],
  [
    STAGE_EVENT,
    { stage: STAGE, run: RUN, pipeline: PIPELINE },
    [
      { pipelineId: '139', stageNameId: 'Build', stageStateId: 'Completed', stageResultId: 'Succeeded' },
      { stageNameId: 'build it' },
    ],
    [{ pipelineId: '13' }, { stageNameId: 'Deploy' }, { stageStateId: 'Running' }, { stageResultId: 'Failed' }],
  ],
  [
    'ms.vss-pipelines.run-state-changed-event',
    { run: RUN, pipeline: PIPELINE },
    [{ runStateId: 'InProgress' }, { runResultId: 'Failed' }],
    [{ runStateId: 'Completed' }],
  ],
  [
    APPROVAL_EVENT,
    { pipeline: { id: '139' }, stageName: 'Deploy', resource: { name: 'Production' } },
    [{ pipelineId: '139', stageName: 'Deploy', environmentName: 'production' }],
    [{ environmentName: 'Staging' }, { pipelineId: '1' }],
  ],
  [
    'git.push',
    PUSH,
    [{ repository: 'r-1' }, { repository: 'web', branch: 'main' }, { branch: 'refs/heads/x/y' }, { pushedBy: 'g-1' }],
    [{ repository: 'api' }, { branch: 'y' }],
  ],
  [
    'git.pullrequest.updated',
    { repository: PUSH.repository, targetRefName: 'refs/heads/main' },
    [{ branch: 'main', notificationType: 'ReviewersUpdateNotification', pullrequestCreatedBy: 'g-1' }],
    [{ branch: 'release' }],
  ],
  [
    'workitem.created',
    WORK_ITEM,
    [{ areaPath: 'Shop' }, { areaPath: 'Shop\\Web\\Cart', workItemType: 'Bug' }, { tag: 'x' }, { changedFields: 'x' }],
    [{ areaPath: 'Sho' }, { areaPath: 'Shop\\Web\\Cart\\Sum' }, { workItemType: 'Task' }],
  ],
  [
    'workitem.updated',
    { fields: { 'System.AreaPath': { oldValue: 'a', newValue: 'b' } }, revision: WORK_ITEM },
    [{ areaPath: 'Shop\\Web' }],
    [{ areaPath: 'Else' }],
  ],
  [
    'ms.vss-release.deployment-completed-event',
    RELEASE,
    [{ releaseDefinitionId: '3', releaseEnvironmentStatus: '128' }, { releaseEnvironmentId: '5' }],
    [{ releaseDefinitionId: '4' }, { releaseEnvironmentStatus: '4' }],
  ],
  [
    'ms.vss-release.deployment-approval-completed-event',
    { approval: { approvalType: 'preDeploy', status: 'approved' } },
    [{ releaseApprovalType: '1', releaseApprovalStatus: '2' }],
    [{ releaseApprovalType: '2' }, { releaseApprovalStatus: '4' }],
  ],
  // Inputs that the body can't answer count as matching.
  ['build.complete', {}, [{ definitionName: 'web', buildStatus: 'Failed' }, { toString: 'x' }], []],
  ['ms.vss-x.some-event', {}, [{ anything: 'x' }], []],
];

describe('An entry of hooks.events', () => {
  for (const [eventType, resource, taken, refused] of CASES) {
    test(`filters ${eventType} by its inputs`, () => {
      for (const inputs of taken) assert.equal(takes(eventType, resource, inputs), true, JSON.stringify(inputs));
      for (const inputs of refused) assert.equal(takes(eventType, resource, inputs), false, JSON.stringify(inputs));
    });
  }

  test('names an event as Azure DevOps does or as the bridge does', () => {
    const hook = readHook(hookBody('build.complete', BUILD)) as Hook;
    const entry = (event: string) => ({ event, project: '*', inputs: {} });
    const entries = ['build.complete', 'build.completed', 'git.push', 'build', ''].map(entry);
    assert.deepEqual(
      entriesFor(hook, entries).map(({ event }) => event),
      ['build.complete', 'build.completed'],
    );
  });

  test('is for one project, by name or id, or for all', () => {
    const entry = (project: string) => [{ event: 'build.complete', project, inputs: {} }];
    for (const project of ['*', 'Shop', 'shop', SHOP.id, SHOP.id.toUpperCase()])
      assert.equal(isForProject(entry(project), SHOP), true, project);
    for (const project of ['Shop2', 'Sho', '']) assert.equal(isForProject(entry(project), SHOP), false, project);
    assert.equal(isForProject([], SHOP), false);
  });
});
