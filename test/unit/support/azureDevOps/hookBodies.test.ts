import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hookBodies, type HookBody } from '../../../support/azureDevOps/hookBodies.ts';

/** How the service hook events page and captures by others spell the events, each with its publisher and version. */
const CATALOGUE: Readonly<Record<string, readonly [publisher: string, version: string]>> = {
  'build.complete': ['tfs', '2.0'],
  'ms.vss-pipelines.run-state-changed-event': ['pipelines', '5.1-preview.1'],
  'ms.vss-pipelines.stage-state-changed-event': ['pipelines', '5.1-preview.1'],
  'ms.vss-pipelines.job-state-changed-event': ['pipelines', '5.1-preview.1'],
  'ms.vss-pipelinechecks-events.approval-pending': ['pipelines', '5.1-preview.1'],
  'ms.vss-pipelinechecks-events.approval-completed': ['pipelines', '5.1-preview.1'],
  'git.push': ['tfs', '1.0'],
  'git.pullrequest.created': ['tfs', '1.0'],
  'git.pullrequest.updated': ['tfs', '1.0'],
  'git.pullrequest.merged': ['tfs', '1.0'],
  'ms.vss-code.git-pullrequest-comment-event': ['tfs', '2.0'],
  'workitem.created': ['tfs', '5.1-preview.3'],
  'workitem.updated': ['tfs', '5.1-preview.3'],
  'workitem.commented': ['tfs', '5.1-preview.3'],
  'workitem.deleted': ['tfs', '5.1-preview.3'],
  'workitem.restored': ['tfs', '5.1-preview.3'],
  'ms.vss-release.release-created-event': ['rm', '3.0-preview.1'],
  'ms.vss-release.release-abandoned-event': ['rm', '3.0-preview.1'],
  'ms.vss-release.deployment-started-event': ['rm', '3.0-preview.1'],
  'ms.vss-release.deployment-completed-event': ['rm', '3.0-preview.1'],
  'ms.vss-release.deployment-approval-pending-event': ['rm', '3.0-preview.1'],
  'ms.vss-release.deployment-approval-completed-event': ['rm', '3.0-preview.1'],
  'ms.vss-pipelinechecks-events.check-updated-event': ['pipelines', '5.1-preview.1'],
};

const GUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
const NOW = new Date('2026-11-28T12:00:00.123Z');

function bodies(seed = 1) {
  return hookBodies({ seed, now: () => NOW });
}

/** The parts of a body that tests look at; a wrong guess fails them. */
function resourceOf(body: HookBody) {
  return JSON.parse(JSON.stringify(body.resource));
}

describe('the bodies of hooks', () => {
  test('cover the catalogue, each with its publisher, its version and an id of its own', () => {
    const all = bodies().everyEvent();
    const seen = Object.fromEntries(
      all.map(({ eventType, publisherId, resourceVersion }) => [eventType, [publisherId, resourceVersion]]),
    );
    assert.deepEqual(seen, CATALOGUE);
    assert.equal(new Set(all.map(({ id }) => id)).size, all.length);
    for (const { id, createdDate } of all) {
      assert.match(id, GUID);
      assert.equal(createdDate, '2026-11-28T12:00:00.1234567Z');
    }
  });

  test('are the same for the same seed, and others for another', () => {
    assert.deepEqual(bodies(7).everyEvent(), bodies(7).everyEvent());
    assert.notDeepEqual(bodies(7).everyEvent(), bodies(8).everyEvent());
  });

  test('name the given organization and project', () => {
    const projects = [
      { id: 'id-1', name: 'One' },
      { id: 'id-2', name: 'Two & Co' },
    ];
    const organization = {
      ...{ name: 'fabrikam', url: 'http://127.0.0.1:4711/fabrikam/', projects },
      ...{ accountId: 'account', collectionId: 'collection' },
    };
    const body = hookBodies({ organization, project: projects[1]! }).gitPushed();
    assert.deepEqual(body.resourceContainers, {
      collection: { id: 'collection', baseUrl: organization.url },
      account: { id: 'account', baseUrl: organization.url },
      project: { id: 'id-2', baseUrl: organization.url },
    });
    assert.equal(resourceOf(body).repository.project.name, 'Two & Co');
    assert.ok(resourceOf(body).repository.remoteUrl.startsWith(`${organization.url}Two%20%26%20Co/_git/`));
    assert.equal(hookBodies({ organization }).buildCompleted().resourceContainers['project']!.id, 'id-1');
  });

  test('say where they happened in their containers, except approvals and most releases', () => {
    const without = bodies()
      .everyEvent()
      .filter(({ resourceContainers }) => !('project' in resourceContainers))
      .map(({ eventType }) => eventType.replace(/^ms\.vss-|-event$/g, ''));
    assert.deepEqual(without, [
      'pipelinechecks-events.approval-pending',
      'pipelinechecks-events.approval-completed',
      'release.release-created',
      'release.release-abandoned',
      'release.deployment-completed',
      'release.deployment-approval-pending',
      'release.deployment-approval-completed',
    ]);
  });
});
