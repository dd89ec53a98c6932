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

  test('name the organisation and the project they are told', () => {
    const projects = [
      { id: 'id-1', name: 'One' },
      { id: 'id-2', name: 'Two & Co' },
    ];
    const organisation = {
      ...{ name: 'fabrikam', url: 'http://127.0.0.1:4711/fabrikam/', projects },
      ...{ accountId: 'account', collectionId: 'collection' },
    };
    const body = hookBodies({ organisation, project: projects[1]! }).gitPushed();
    assert.deepEqual(body.resourceContainers, {
      collection: { id: 'collection', baseUrl: organisation.url },
      account: { id: 'account', baseUrl: organisation.url },
      project: { id: 'id-2', baseUrl: organisation.url },
    });
    assert.equal(resourceOf(body).repository.project.name, 'Two & Co');
    assert.ok(resourceOf(body).repository.remoteUrl.startsWith(`${organisation.url}Two%20%26%20Co/_git/`));
    assert.equal(hookBodies({ organisation }).buildCompleted().resourceContainers['project']!.id, 'id-1');
  });

  test('say where they happened in their containers, but for approvals and most of releases', () => {
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

  test('have a build that ended, with numbers for ids', () => {
    const build = resourceOf(
      bodies().buildCompleted({ buildId: 4242, result: 'failed', templateParameters: { a: '1' } }),
    );
    assert.deepEqual(
      [build.id, build.status, build.result, build.uri, build.definition.id, build.templateParameters],
      [4242, 'completed', 'failed', 'vstfs:///Build/Build/4242', 139, { a: '1' }],
    );
    assert.match(build.sourceVersion, /^[\da-f]{40}$/);
    assert.match(build.requestedFor.id, GUID);
    assert.match(build.plans[0].planId, GUID);
  });

  test('have runs, stages and jobs whose results come with their ends', () => {
    const hooks = bodies();
    const running = resourceOf(hooks.runStateChanged('inProgress', { runId: 7 }));
    const ended = resourceOf(hooks.runStateChanged('completed', { runId: 7, result: 'canceled' }));
    assert.deepEqual([running.run.id, running.runId, 'result' in running.run], [7, 7, false]);
    assert.deepEqual([ended.run.state, ended.run.result], ['completed', 'canceled']);
    assert.match(ended.requestedFor.id, GUID);
    const stage = resourceOf(hooks.stageStateChanged('notStarted', { runId: 7 }));
    assert.deepEqual([stage.stage.state, stage.stageName, 'startTime' in stage.stage], ['notStarted', 'Build', false]);
    const job = resourceOf(hooks.jobStateChanged('completed', { runId: 7, result: 'failed' }));
    assert.deepEqual([job.job.state, job.job.result, job.run.id, 'runId' in job], ['completed', 'failed', 7, false]);
  });

  test('have approvals with texts for ids, and a requester by name until the end', () => {
    const hooks = bodies();
    const pending = resourceOf(hooks.approvalPending({ runId: 20163, environment: 'Test' }));
    assert.deepEqual(
      [pending.run.id, pending.pipeline.id, pending.resource.id, pending.approval.pipeline.id],
      ['20163', '139', '7', '139'],
    );
    assert.deepEqual([pending.runId, pending.approval.pipeline.owner.id], [20163, 20163]);
    assert.equal(pending.run.requestedFor, 'Bob Example');
    assert.equal(pending.approvalId, pending.approval.id);
    assert.equal(pending.projectId, hooks.world.project.id);
    const completed = resourceOf(hooks.approvalCompleted({ status: 'rejected' }));
    assert.deepEqual(
      [completed.run.requestedFor, completed.approval.status, completed.approval.steps[0].status],
      [null, 'rejected', 'rejected'],
    );
    assert.match(completed.approval.steps[0].actualApprover.id, GUID);
  });

  test('have pushes that create, delete and may list no commits', () => {
    const hooks = bodies();
    const commit = 'a'.repeat(40);
    const push = resourceOf(hooks.gitPushed({ commit, commits: 2, branch: 'refs/heads/x' }));
    assert.deepEqual([push.commits.length, push.commits[0].commitId], [2, commit]);
    assert.deepEqual([push.refUpdates[0].name, push.refUpdates[0].newObjectId], ['refs/heads/x', commit]);
    assert.equal(resourceOf(hooks.gitPushed()).commits.length, 1);
    assert.equal('commits' in resourceOf(hooks.gitPushed({})), false);
    assert.match(resourceOf(hooks.gitPushed({ change: 'created' })).refUpdates[0].oldObjectId, /^0{40}$/);
    assert.match(resourceOf(hooks.gitPushed({ change: 'deleted' })).refUpdates[0].newObjectId, /^0{40}$/);
  });

  test('have pull requests that hide what has changed, and comments that hide their thread', () => {
    const hooks = bodies();
    const values = { pullRequestId: 12, vote: -5, mergeStatus: 'conflicts' } as const;
    const updated = resourceOf(hooks.pullRequestUpdated(values));
    assert.deepEqual(Object.keys(updated), Object.keys(resourceOf(hooks.pullRequestCreated(values))));
    assert.deepEqual([updated.pullRequestId, updated.reviewers[0].vote, updated.mergeStatus], [12, -5, 'conflicts']);
    const commented = resourceOf(hooks.pullRequestCommented({ pullRequestId: 12, content: 'Hm.' }));
    assert.deepEqual([commented.pullRequest.pullRequestId, commented.comment.content], [12, 'Hm.']);
    assert.match(commented.comment._links.threads.href, /pullRequests\/12\/threads\/4821$/);
    assert.equal('thread' in commented, false);
  });

  test('have work items with people as objects, or as texts at 1.0; an update has an id of its own', () => {
    const hooks = bodies();
    const created = resourceOf(hooks.workItemCreated({ workItemId: 5 }));
    assert.equal(created.id, 5);
    assert.match(created.fields['System.AssignedTo'].id, GUID);
    const old = hooks.workItemCreated({ resourceVersion: '1.0' });
    assert.equal(old.resourceVersion, '1.0');
    assert.equal(resourceOf(old).fields['System.AssignedTo'], 'Bob Example <bob.example@contoso.example>');
    const updated = resourceOf(hooks.workItemUpdated({ workItemId: 5, state: 'Closed' }));
    assert.deepEqual([updated.workItemId, updated.revision.id], [5, 5]);
    assert.notEqual(updated.id, 5);
    assert.deepEqual(updated.fields['System.State'], { oldValue: 'New', newValue: 'Closed' });
    assert.equal(updated.revision.fields['System.State'], 'Closed');
    assert.equal(resourceOf(hooks.workItemCommented({ comment: 'Aha.' })).fields['System.History'], 'Aha.');
    assert.match(resourceOf(hooks.workItemDeleted({ workItemId: 5 })).url, /recyclebin\/5$/);
  });

  test('have releases; where a deployment starts, only the environment knows which', () => {
    const hooks = bodies();
    assert.deepEqual(
      [hooks.releaseCreated({ releaseId: 4 }), hooks.releaseAbandoned({ releaseId: 4 })]
        .map(resourceOf)
        .map(({ release, project }) => [release.id, release.status, project.name]),
      [
        [4, 'active', 'Shop'],
        [4, 'abandoned', 'Shop'],
      ],
    );
    const started = resourceOf(hooks.deploymentStarted({ releaseId: 4 }));
    assert.deepEqual([started.release.id, started.release.name, started.environment.release.id], [0, null, 4]);
    const completed = resourceOf(hooks.deploymentCompleted({ releaseId: 4, status: 'rejected' }));
    assert.deepEqual(
      ['release' in completed, completed.environment.status, completed.environment.release.id],
      [false, 'rejected', 4],
    );
    const [pending, approved] = [hooks.deploymentApprovalPending(), hooks.deploymentApprovalCompleted()].map(
      resourceOf,
    );
    assert.deepEqual([pending.approval.status, approved.approval.status], ['pending', 'approved']);
    assert.equal('approvedBy' in pending.approval, false);
    assert.match(approved.approval.approvedBy.id, GUID);
  });
});
