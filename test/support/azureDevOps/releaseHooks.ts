import type { HookBody, HookWorld } from './hookWorld.ts';

export interface ReleaseValues {
  readonly releaseId?: number;
  /** Of the environment, or of the approval; the default fits the event. */
  readonly status?: string;
}

/**
 * Classic releases, at 3.0-preview.1. In the samples of the service hook events page only "deployment started" has a
 * project among its containers, and that one has an empty release of id 0 beside its environment.
 */
export function releaseHooks(world: HookWorld) {
  const { ada, bob, project } = world;
  const idOf = ({ releaseId = 1 + world.random.below(5_000) }: ReleaseValues): number => releaseId;
  const releaseUrl = (id: number): string => world.api(`Release/releases/${id}`);
  const definition = { id: 1, name: 'web-cd', url: world.api('Release/definitions/1') };
  const adaInShort = { id: ada.id, displayName: ada.displayName };

  function environmentOf(releaseId: number, status: string) {
    return {
      ...{ id: 5, releaseId: 0, name: 'Dev', status, variables: {}, preDeployApprovals: [], postDeployApprovals: [] },
      ...{ deploySteps: [], rank: 1, definitionEnvironmentId: 1, owner: adaInShort, modifiedOn: world.ago() },
      release: { id: releaseId, name: `Release-${releaseId}`, url: releaseUrl(releaseId) },
    };
  }

  function releaseOf(id: number, status: string) {
    const definitionReference = { Definition: { id: '1', name: 'web-ci' }, Project: project };
    return {
      ...{ id, name: `Release-${id}`, status, createdOn: world.ago(600), modifiedOn: world.ago() },
      ...{ createdBy: adaInShort, modifiedBy: adaInShort, environments: [environmentOf(id, 'notStarted')] },
      artifacts: [
        { sourceId: `${project.id}:1`, type: 'Build', alias: 'web-ci', definitionReference, isPrimary: true },
      ],
      ...{ releaseDefinition: definition, description: '', reason: 'continuousIntegration', variables: {}, _links: {} },
    };
  }

  function happened(event: string, text: string, resource: Record<string, unknown>): HookBody {
    return world.envelope({
      ...{ publisher: 'rm', eventType: `ms.vss-release.${event}-event`, resourceVersion: '3.0-preview.1', text },
      ...{ resource: { ...resource, project }, withoutProject: event !== 'deployment-started' },
    });
  }

  function approval(isPending: boolean, values: ReleaseValues): HookBody {
    const id = idOf(values);
    const status = isPending ? 'pending' : (values.status ?? 'approved');
    const approver = { id: bob.id, displayName: bob.displayName };
    return happened(
      `deployment-approval-${isPending ? 'pending' : 'completed'}`,
      `Approval of Release-${id} ${status}.`,
      {
        approval: {
          ...{
            id: 0,
            revision: 0,
            approver,
            approvalType: 'preDeploy',
            createdOn: world.ago(60),
            status,
            comments: '',
          },
          ...(!isPending && { approvedBy: approver }),
          ...{ isAutomated: false, attempt: 0, rank: 1, release: { id, name: `Release-${id}` } },
          ...{ releaseDefinition: definition, releaseEnvironment: { id: 8, name: 'Dev' } },
        },
        release: releaseOf(id, 'active'),
      },
    );
  }

  return {
    releaseCreated(values: ReleaseValues = {}): HookBody {
      const id = idOf(values);
      return happened('release-created', `Release Release-${id} created.`, { release: releaseOf(id, 'active') });
    },

    releaseAbandoned(values: ReleaseValues = {}): HookBody {
      const id = idOf(values);
      return happened('release-abandoned', `Release Release-${id} abandoned.`, { release: releaseOf(id, 'abandoned') });
    },

    deploymentStarted(values: ReleaseValues = {}): HookBody {
      const id = idOf(values);
      return happened('deployment-started', `Deployment of release Release-${id} to stage Dev started.`, {
        environment: environmentOf(id, values.status ?? 'queued'),
        release: { ...releaseOf(0, 'undefined'), name: null, environments: [], artifacts: [], createdBy: null },
      });
    },

    deploymentCompleted(values: ReleaseValues = {}): HookBody {
      const id = idOf(values);
      const { status = 'succeeded' } = values;
      const environment = environmentOf(id, status);
      return happened('deployment-completed', `Deployment of release Release-${id} ${status}.`, { environment });
    },

    deploymentApprovalPending: (values: ReleaseValues = {}): HookBody => approval(true, values),
    deploymentApprovalCompleted: (values: ReleaseValues = {}): HookBody => approval(false, values),
  };
}
