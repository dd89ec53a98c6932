import type { HookBody, HookWorld, Person } from './hookWorld.ts';

export type RunResult = 'succeeded' | 'failed' | 'canceled';

export interface BuildValues {
  readonly buildId?: number;
  readonly result?: RunResult | 'partiallySucceeded';
  readonly reason?: string;
  readonly branch?: string;
  readonly commit?: string;
  readonly templateParameters?: Readonly<Record<string, string>>;
}

export interface RunValues {
  readonly runId?: number;
  /** For a completed state; default `succeeded`. */
  readonly result?: RunResult;
  readonly templateParameters?: Readonly<Record<string, string>>;
  /** Who started it; default: Bob, for another person's push. */
  readonly requestedFor?: Person;
  readonly name?: string;
}

export interface ApprovalValues {
  readonly runId?: number;
  readonly environment?: string;
  readonly status?: 'approved' | 'rejected' | 'skipped' | 'timedOut';
}

/** Service hook events page: the one version that the `pipelines` publisher has. */
const VERSION = '5.1-preview.1';

/** Builds, runs, stages, jobs and approvals. */
export function pipelineHooks(world: HookWorld) {
  const { ada, bob, pipeline, project, repository } = world;
  const runIdOf = ({ runId = 20_000 + world.random.below(10_000) }: RunValues): number => runId;
  const runName = (runId: number): string => `20261128.${runId % 100}`;
  const pipelineOf = () => {
    const { id, name, folder, revision } = pipeline;
    return { url: world.api(`pipelines/${id}?revision=${revision}`), id, name, folder, revision };
  };

  function runOf(runId: number, state: string, values: RunValues) {
    const { result = 'succeeded', templateParameters = {}, name = runName(runId) } = values;
    return {
      _links: {
        self: { href: world.api(`pipelines/${pipeline.id}/runs/${runId}`) },
        web: { href: world.page(`_build/results?buildId=${runId}`) },
      },
      ...{ templateParameters, pipeline: pipelineOf(), state },
      ...(state === 'completed' && { result, finishedDate: world.ago() }),
      createdDate: world.ago(60),
      url: world.api(`pipelines/${pipeline.id}/runs/${runId}`),
      ...{ id: runId, name },
    };
  }

  /** Without `result` and `finishTime` until it's completed. */
  function partOf(name: string, state: string, { result = 'succeeded' }: RunValues) {
    return {
      ...{ id: world.random.guid(), name, displayName: name, attempt: 1, state },
      ...(state === 'completed' && { result, finishTime: world.ago() }),
      ...(state !== 'notStarted' && { startTime: world.ago(30) }),
    };
  }

  function happened(eventType: string, text: string, resource: Record<string, unknown>): HookBody {
    return world.envelope({ publisher: 'pipelines', eventType, resourceVersion: VERSION, text, resource });
  }

  /**
   * Others captured approvals with string ids, without a project among their containers, and with a display
   * name where runs have an identity, which is null once the approval is completed. The page's samples have only nulls.
   */
  function approval(isCompleted: boolean, values: ApprovalValues): HookBody {
    const { runId = runIdOf({}), environment = 'Production', status = 'approved' } = values;
    const id = world.random.guid();
    const [assignedApprover, now] = [world.identity(ada), isCompleted ? status : 'pending'];
    const step = {
      ...(isCompleted && { actualApprover: assignedApprover }),
      ...{ assignedApprover, status: now, order: 1, history: [], initiatedOn: world.ago(60) },
    };
    return world.envelope({
      publisher: 'pipelines',
      eventType: `ms.vss-pipelinechecks-events.approval-${isCompleted ? 'completed' : 'pending'}`,
      resourceVersion: VERSION,
      text: `Approval ${now} for deployment of pipeline ${pipeline.name} to environment ${environment}.`,
      withoutProject: true,
      resource: {
        approval: {
          ...{ id, status: now, steps: [step], executionOrder: 'anyOrder', blockedApprovers: [] },
          ...{ instructions: 'Look at the tests first.', createdOn: world.ago(60), lastModifiedOn: world.ago() },
          ...(isCompleted && { minRequiredApprovers: 1 }),
          pipeline: { id: String(pipeline.id), name: pipeline.name, owner: { id: runId, name: runName(runId) } },
        },
        ...{ approvalId: id, attemptId: 1, projectId: project.id, runId, stageName: 'Deploy' },
        pipeline: { id: String(pipeline.id), name: pipeline.name },
        resource: { id: '7', name: environment, resourceType: 'environment' },
        run: {
          ...{ id: String(runId), name: runName(runId), queuedOn: isCompleted ? null : world.ago(60) },
          ...{ requestedFor: isCompleted ? null : bob.displayName, runReason: isCompleted ? null : 'Manual' },
        },
        stage: { id: world.random.guid(), name: 'Deploy' },
      },
    });
  }

  return {
    /** Service hook events page: `build.complete` at 2.0; 1.0 is the shape of XAML builds. */
    buildCompleted(values: BuildValues = {}): HookBody {
      const { buildId = runIdOf({}), result = 'succeeded', reason = 'manual', branch = 'refs/heads/main' } = values;
      return world.envelope({
        ...{ publisher: 'tfs', eventType: 'build.complete', resourceVersion: '2.0' },
        text: `Build ${runName(buildId)} ${result}`,
        resource: {
          ...{ id: buildId, buildNumber: runName(buildId), status: 'completed', result, reason },
          ...{ queueTime: world.ago(90), startTime: world.ago(80), finishTime: world.ago() },
          url: world.api(`build/Builds/${buildId}`),
          uri: `vstfs:///Build/Build/${buildId}`,
          definition: { id: pipeline.id, name: pipeline.name, path: pipeline.folder, type: 'build', project },
          ...{ project, repository: { ...repository, type: 'TfsGit' } },
          ...{ sourceBranch: branch, sourceVersion: values.commit ?? world.random.commit() },
          ...{ requestedFor: world.identity(bob), requestedBy: world.identity(ada) },
          ...{ tags: [], triggerInfo: {}, templateParameters: values.templateParameters ?? {} },
          plans: [{ planId: world.random.guid() }],
        },
      });
    },

    runStateChanged(state: 'inProgress' | 'canceling' | 'completed', values: RunValues = {}): HookBody {
      const runId = runIdOf(values);
      return happened('ms.vss-pipelines.run-state-changed-event', `Run ${runName(runId)} ${state}.`, {
        ...{ run: runOf(runId, state, values), pipeline: pipelineOf(), runId, projectId: project.id, stages: [] },
        requestedFor: world.identity(values.requestedFor ?? bob),
        requestedBy: world.identity(values.requestedFor ?? ada),
      });
    },

    stageStateChanged(state: 'notStarted' | 'waiting' | 'running' | 'completed', values: RunValues = {}): HookBody {
      const runId = runIdOf(values);
      return happened('ms.vss-pipelines.stage-state-changed-event', `Run ${runName(runId)} stage Build ${state}.`, {
        ...{ stage: partOf('Build', state, values), run: runOf(runId, 'inProgress', values), pipeline: pipelineOf() },
        ...{ runId, projectId: project.id, stageName: 'Build' },
      });
    },

    /** Only in Azure DevOps Services. Its sample names the run only inside `run`. */
    jobStateChanged(state: 'waiting' | 'running' | 'completed', values: RunValues = {}): HookBody {
      const runId = runIdOf(values);
      const author = { name: ada.displayName, email: ada.uniqueName, date: world.ago(600) };
      return happened('ms.vss-pipelines.job-state-changed-event', `Run ${runName(runId)} job Compile ${state}.`, {
        ...{ job: partOf('Compile', state, values), stage: partOf('Build', 'running', values) },
        ...{ run: runOf(runId, 'inProgress', values), pipeline: pipelineOf() },
        repositories: [
          { type: 'Git', change: { author, committer: author, message: 'Faster' }, url: world.page('_git/web') },
        ],
      });
    },

    approvalPending: (values: ApprovalValues = {}): HookBody => approval(false, values),
    approvalCompleted: (values: ApprovalValues = {}): HookBody => approval(true, values),
  };
}
