import { paths, type BodyPath } from './bodyPath.ts';

/** What events of one kind have in common. All paths start at the body's `resource`. */
export interface Family {
  /** Templates for the CloudEvents `subject`: the first whose values are all in the body. */
  readonly subjects: readonly Template[];
  /** CloudEvents extensions with the places of their values, best first. */
  readonly attributes: Readonly<Partial<Record<OwnerAttribute, readonly BodyPath[]>>>;
  /** The inputs of a subscription that the body answers. */
  readonly inputs: Readonly<Record<string, Input>>;
}

export type OwnerAttribute = 'azppipeline' | 'azprunid' | 'azprequester' | 'azpcommit';

/** Texts alternating with paths of values. */
export type Template = readonly (string | BodyPath)[];

/** A filter of a subscription (`publisherInputs`). */
export interface Input {
  /** Where the body has the value that the filter checks. */
  readonly paths: readonly BodyPath[];
  /** Whether the filter accepts the body's value, both in lower case; absent: they must be equal. */
  readonly takes?: (filter: string, told: string) => boolean;
}

/** What becomes of one of Azure DevOps' events. */
interface KnownEvent {
  readonly family: Family;
  /** The name of the event: one, or one per state found in the body. */
  readonly name: string | { readonly path: BodyPath; readonly names: Readonly<Record<string, string>> };
}

/** Reads templates as a table has them, with paths in braces. */
function templates(...texts: readonly string[]): readonly Template[] {
  return texts.map((text) =>
    // Split by a group, every other part is a path.
    text.split(/\{([^}]+)\}/).map((part, index) => (index % 2 === 0 ? part : part.split('.'))),
  );
}

function told(...texts: readonly string[]): Input {
  return { paths: paths(...texts) };
}

/** A filter whose values aren't the words of the body. */
function renamed(words: Readonly<Record<string, string>>, ...texts: readonly string[]): Input {
  return { paths: paths(...texts), takes: (filter, value) => (words[filter] ?? filter) === value };
}

function branch(text: string): Input {
  const short = (name: string) => name.replace(/^refs\/heads\//, '');
  return { paths: paths(text), takes: (filter, name) => short(filter) === short(name) };
}

/** A field of a work item; a comment or a change has it in its revision. */
function field(name: string): readonly BodyPath[] {
  return [
    ['revision', 'fields', name],
    ['fields', name],
  ];
}

const BUILD: Family = {
  subjects: templates('builds/{id}'),
  attributes: {
    azppipeline: paths('definition.name'),
    azprunid: paths('id'),
    azprequester: paths('requestedFor.displayName', 'requestedFor.uniqueName'),
    azpcommit: paths('sourceVersion'),
  },
  inputs: { definitionName: told('definition.name'), buildStatus: renamed({ stopped: 'canceled' }, 'result') },
};

const OF_A_RUN: Family['attributes'] = {
  azppipeline: paths('pipeline.name', 'approval.pipeline.name'),
  azprunid: paths('run.id', 'runId', 'approval.pipeline.owner.id'),
  azprequester: paths(
    ...['run.requestedFor.displayName', 'requestedFor.displayName', 'run.requestedFor'],
    ...['run.requestedFor.uniqueName', 'requestedFor.uniqueName'],
  ),
  azpcommit: paths('run.resources.repositories.self.version', 'repositories.0.change.version'),
};

const PIPELINE = told('pipeline.id', 'approval.pipeline.id');
const STAGE_NAME = told('stage.name', 'stageName', 'stage.displayName', 'stage.id');

const RUN: Family = {
  subjects: templates('runs/{run.id}', 'runs/{runId}'),
  attributes: OF_A_RUN,
  inputs: { pipelineId: PIPELINE, runStateId: told('run.state'), runResultId: told('run.result') },
};

const STAGE: Family = {
  subjects: templates('runs/{run.id}/stages/{stage.name}', 'runs/{runId}/stages/{stageName}'),
  attributes: OF_A_RUN,
  inputs: {
    pipelineId: PIPELINE,
    stageNameId: STAGE_NAME,
    stageStateId: told('stage.state'),
    stageResultId: told('stage.result'),
  },
};

const JOB: Family = {
  subjects: templates('runs/{run.id}/jobs/{job.id}', 'runs/{run.id}/jobs/{job.name}'),
  attributes: OF_A_RUN,
  inputs: {
    pipelineId: PIPELINE,
    stageNameId: STAGE_NAME,
    jobNameId: told('job.name', 'job.id'),
    jobStateId: told('job.state'),
    jobResultId: told('job.result'),
  },
};

const APPROVAL: Family = {
  subjects: templates('approvals/{approval.id}', 'approvals/{approvalId}'),
  attributes: OF_A_RUN,
  inputs: { pipelineId: PIPELINE, stageName: STAGE_NAME, environmentName: told('resource.name') },
};

const REPOSITORY = told('repository.id', 'repository.name');

const GIT: Family = {
  subjects: templates('repositories/{repository.id}/pushes/{pushId}'),
  attributes: { azpcommit: paths('refUpdates.0.newObjectId') },
  inputs: { repository: REPOSITORY, branch: branch('refUpdates.*.name') },
};

const PULL_REQUEST: Family = {
  subjects: templates('pullrequests/{pullRequestId}'),
  attributes: { azpcommit: paths('lastMergeSourceCommit.commitId') },
  inputs: { repository: REPOSITORY, branch: branch('targetRefName') },
};

const COMMENT: Family = {
  subjects: templates('pullrequests/{pullRequest.pullRequestId}'),
  attributes: { azpcommit: paths('pullRequest.lastMergeSourceCommit.commitId') },
  inputs: {
    repository: told('pullRequest.repository.id', 'pullRequest.repository.name'),
    branch: branch('pullRequest.targetRefName'),
  },
};

const WORK_ITEM: Family = {
  subjects: templates('workitems/{workItemId}', 'workitems/{id}'),
  attributes: {},
  inputs: {
    areaPath: {
      paths: field('System.AreaPath'),
      takes: (filter, path) => path === filter || path.startsWith(`${filter}\\`),
    },
    workItemType: { paths: field('System.WorkItemType') },
  },
};

/** An event of a deployment or approval may have an empty release, or none, besides its own subject. */
const RELEASE: Family = {
  subjects: templates('releases/{environment.release.id}/environments/{environment.id}', 'releases/{release.id}'),
  attributes: {
    azppipeline: paths('release.releaseDefinition.name', 'approval.releaseDefinition.name'),
    azprunid: paths('environment.release.id', 'release.id'),
    azprequester: paths('release.createdFor.displayName', 'release.createdBy.displayName'),
  },
  inputs: {
    releaseDefinitionId: told('release.releaseDefinition.id', 'approval.releaseDefinition.id'),
    releaseEnvironmentId: told('environment.definitionEnvironmentId'),
    releaseEnvironmentStatus: renamed(
      { '4': 'succeeded', '8': 'canceled', '16': 'rejected', '128': 'partiallysucceeded' },
      'environment.status',
    ),
    releaseApprovalType: renamed({ '1': 'predeploy', '2': 'postdeploy' }, 'approval.approvalType'),
    releaseApprovalStatus: renamed({ '2': 'approved', '4': 'rejected' }, 'approval.status'),
  },
};

/** Changes of packages, which come from change feeds. */
export const PACKAGE: Family = {
  subjects: templates(
    'packages/{package.name}/{packageVersionChange.packageVersion.version}',
    'packages/{package.name}',
  ),
  attributes: {},
  inputs: {},
};

/** What the bridge doesn't know. */
export const OTHER: Family = { subjects: [], attributes: {}, inputs: {} };

const RUN_STATES = { inProgress: 'in-progress', canceling: 'canceling', completed: 'completed' };
const STAGE_STATES = { notStarted: 'not-started', waiting: 'waiting', running: 'running', completed: 'completed' };

/** Azure DevOps' events by its own names for them. */
export const KNOWN_EVENTS: ReadonlyMap<string, KnownEvent> = new Map<string, KnownEvent>([
  ['build.complete', { family: BUILD, name: 'build.completed' }],
  ['ms.vss-pipelines.run-state-changed-event', { family: RUN, name: byState('run', RUN_STATES) }],
  ['ms.vss-pipelines.stage-state-changed-event', { family: STAGE, name: byState('stage', STAGE_STATES) }],
  ['ms.vss-pipelines.job-state-changed-event', { family: JOB, name: byState('job', STAGE_STATES) }],
  ['ms.vss-pipelinechecks-events.approval-pending', { family: APPROVAL, name: 'approval.pending' }],
  ['ms.vss-pipelinechecks-events.approval-completed', { family: APPROVAL, name: 'approval.completed' }],
  ['git.push', { family: GIT, name: 'git.pushed' }],
  ['git.pullrequest.created', { family: PULL_REQUEST, name: 'pullrequest.created' }],
  ['git.pullrequest.updated', { family: PULL_REQUEST, name: 'pullrequest.updated' }],
  ['git.pullrequest.merged', { family: PULL_REQUEST, name: 'pullrequest.merged' }],
  ['ms.vss-code.git-pullrequest-comment-event', { family: COMMENT, name: 'pullrequest.commented' }],
  ...['created', 'updated', 'commented', 'deleted', 'restored'].map(
    (event) => [`workitem.${event}`, { family: WORK_ITEM, name: `workitem.${event}` }] as const,
  ),
  ...Object.entries({
    'release-created': 'created',
    'release-abandoned': 'abandoned',
    'deployment-started': 'deployment-started',
    'deployment-completed': 'deployment-completed',
    'deployment-approval-pending': 'approval-pending',
    'deployment-approval-completed': 'approval-completed',
  }).map(([event, name]) => [`ms.vss-release.${event}-event`, { family: RELEASE, name: `release.${name}` }] as const),
]);

/** Azure DevOps' names of known events, and the bridge's own. */
export const EVENT_NAMES: readonly string[] = [...KNOWN_EVENTS].flatMap(([event, { name }]) => [
  event,
  ...(typeof name === 'string' ? [name] : Object.values(name.names)),
]);

function byState(family: string, states: Readonly<Record<string, string>>): KnownEvent['name'] {
  const names = Object.entries(states).map(([state, name]) => [state, `${family}.${name}`]);
  return { path: [family, 'state'], names: Object.fromEntries(names) as Record<string, string> };
}
