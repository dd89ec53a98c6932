/** An event to which one can subscribe, as its publisher describes it. */
export interface PublishedEvent {
  readonly publisher: 'tfs' | 'pipelines' | 'rm';
  readonly id: string;
  /** The newest first. */
  readonly versions: readonly string[];
  /** Filters, and the values they accept; undefined: any. */
  readonly inputs: Readonly<Record<string, readonly string[] | undefined>>;
}

const PREVIEW = ['5.1-preview.1'];
const RESULTS = ['Succeeded', 'Failed', 'Canceled'];
const STAGE = { pipelineId: undefined, stageNameId: undefined };
const CHECK = { pipelineId: undefined, stageName: undefined, environmentName: undefined };
const PULL_REQUEST = {
  repository: undefined,
  branch: undefined,
  pullrequestCreatedBy: undefined,
  pullrequestReviewersContains: undefined,
};
const NOTIFICATIONS = ['Push', 'ReviewersUpdate', 'StatusUpdate', 'ReviewerVote'].map((what) => `${what}Notification`);
const WORK_ITEM = { areaPath: undefined, workItemType: undefined, tag: undefined };
const RELEASE = { releaseDefinitionId: undefined, releaseEnvironmentId: undefined };
const APPROVAL = { ...RELEASE, releaseApprovalType: ['1', '2'] };

function event(
  publisher: PublishedEvent['publisher'],
  id: string,
  versions: readonly string[],
  inputs: PublishedEvent['inputs'],
): PublishedEvent {
  return { publisher, id, versions, inputs };
}

/** From others' captures of `_apis/hooks/publishers`: the events, versions and filters of each publisher. */
export const PUBLISHED_EVENTS: readonly PublishedEvent[] = [
  event('tfs', 'build.complete', ['2.0', '1.0'], {
    definitionName: undefined,
    buildStatus: ['Succeeded', 'PartiallySucceeded', 'Failed', 'Stopped'],
  }),
  event('tfs', 'git.push', ['1.0'], { repository: undefined, branch: undefined, pushedBy: undefined }),
  event('tfs', 'git.pullrequest.created', ['1.0'], PULL_REQUEST),
  event('tfs', 'git.pullrequest.updated', ['1.0'], { ...PULL_REQUEST, notificationType: NOTIFICATIONS }),
  event('tfs', 'git.pullrequest.merged', ['1.0'], { ...PULL_REQUEST, mergeResult: undefined }),
  event('tfs', 'ms.vss-code.git-pullrequest-comment-event', ['2.0', '1.0'], {
    repository: undefined,
    branch: undefined,
  }),
  ...['created', 'updated', 'commented', 'deleted', 'restored'].map((what) =>
    event('tfs', `workitem.${what}`, ['5.1-preview.3', '1.0'], {
      ...WORK_ITEM,
      ...(what === 'updated' && { changedFields: undefined }),
    }),
  ),
  event('pipelines', 'ms.vss-pipelines.run-state-changed-event', PREVIEW, {
    pipelineId: undefined,
    runStateId: ['InProgress', 'Canceling', 'Completed'],
    runResultId: RESULTS,
  }),
  event('pipelines', 'ms.vss-pipelines.stage-state-changed-event', PREVIEW, {
    ...STAGE,
    stageStateId: ['NotStarted', 'Waiting', 'Running', 'Completed'],
    stageResultId: RESULTS,
  }),
  event('pipelines', 'ms.vss-pipelines.job-state-changed-event', PREVIEW, {
    ...STAGE,
    jobNameId: undefined,
    jobStateId: ['Waiting', 'Running', 'Completed'],
    jobResultId: RESULTS,
  }),
  event('pipelines', 'ms.vss-pipelinechecks-events.approval-pending', PREVIEW, CHECK),
  event('pipelines', 'ms.vss-pipelinechecks-events.approval-completed', PREVIEW, CHECK),
  event('pipelines', 'ms.vss-pipelinechecks-events.check-updated-event', ['5.1-preview.2', ...PREVIEW], CHECK),
  ...['release-created', 'release-abandoned'].map((what) =>
    event('rm', `ms.vss-release.${what}-event`, ['3.0-preview.1'], { releaseDefinitionId: undefined }),
  ),
  event('rm', 'ms.vss-release.deployment-started-event', ['3.0-preview.1'], RELEASE),
  event('rm', 'ms.vss-release.deployment-completed-event', ['3.0-preview.1'], {
    ...RELEASE,
    releaseEnvironmentStatus: ['4', '8', '16', '128'],
  }),
  event('rm', 'ms.vss-release.deployment-approval-pending-event', ['3.0-preview.1'], APPROVAL),
  event('rm', 'ms.vss-release.deployment-approval-completed-event', ['3.0-preview.1'], {
    ...APPROVAL,
    releaseApprovalStatus: ['2', '4'],
  }),
];

const NAMES = { tfs: 'Azure DevOps', pipelines: 'Pipelines', rm: 'Release Management' } as const;

/** The publishers as the API lists them. */
export function publishersAsListed(url: string): readonly unknown[] {
  return (['tfs', 'pipelines', 'rm'] as const).map((id) => ({
    ...{ id, url: `${url}_apis/hooks/publishers/${id}`, name: NAMES[id], description: `Events of ${NAMES[id]}` },
    supportedEvents: PUBLISHED_EVENTS.filter(({ publisher }) => publisher === id).map((one) => ({
      ...{ publisherId: id, id: one.id, name: one.id, url: `${url}_apis/hooks/publishers/${id}/eventTypes/${one.id}` },
      supportedResourceVersions: one.versions,
      inputDescriptors: Object.keys(one.inputs).map(descriptor),
    })),
    inputDescriptors: ['projectId'].map(descriptor),
  }));
}

function descriptor(id: string): unknown {
  return { id, name: id, inputMode: 'combo', isConfidential: false, useInDefaultDescription: true };
}
