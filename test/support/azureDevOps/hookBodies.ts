import { codeHooks } from './codeHooks.ts';
import { HookWorld, type HookBody, type HookWorldOptions } from './hookWorld.ts';
import { pipelineHooks } from './pipelineHooks.ts';
import { releaseHooks } from './releaseHooks.ts';
import { workItemHooks } from './workItemHooks.ts';

export type { HookBody, HookWorldOptions } from './hookWorld.ts';

/**
 * Builders of what Azure DevOps posts to web hooks, one for each event, with real shapes and made-up values. Each call is a
 * new event with its own id.
 */
export function hookBodies(options: HookWorldOptions = {}) {
  const world = new HookWorld(options);
  const bodies = { ...pipelineHooks(world), ...codeHooks(world), ...workItemHooks(world), ...releaseHooks(world) };
  /** An event that is newer than the receiver. */
  const unknown = (eventType = 'ms.vss-pipelinechecks-events.check-updated-event'): HookBody =>
    world.envelope({
      ...{ publisher: 'pipelines', eventType, resourceVersion: '5.1-preview.1', text: 'Something happened.' },
      resource: { id: world.random.guid(), projectId: world.project.id },
    });
  return {
    ...bodies,
    unknown,
    world,
    /** One of each event, or one for each state if it has states. */
    everyEvent: (): HookBody[] => [
      bodies.buildCompleted(),
      ...(['inProgress', 'canceling', 'completed'] as const).map((state) => bodies.runStateChanged(state)),
      ...(['notStarted', 'waiting', 'running', 'completed'] as const).map((state) => bodies.stageStateChanged(state)),
      ...(['waiting', 'running', 'completed'] as const).map((state) => bodies.jobStateChanged(state)),
      ...[bodies.approvalPending(), bodies.approvalCompleted(), bodies.gitPushed()],
      ...[bodies.pullRequestCreated(), bodies.pullRequestUpdated()],
      ...[bodies.pullRequestMerged(), bodies.pullRequestCommented()],
      ...[bodies.workItemCreated(), bodies.workItemUpdated(), bodies.workItemCommented()],
      ...[bodies.workItemDeleted(), bodies.workItemRestored()],
      ...[bodies.releaseCreated(), bodies.releaseAbandoned(), bodies.deploymentStarted(), bodies.deploymentCompleted()],
      ...[bodies.deploymentApprovalPending(), bodies.deploymentApprovalCompleted(), unknown()],
    ],
  };
}
