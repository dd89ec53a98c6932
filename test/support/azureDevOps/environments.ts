import { apiError } from './apiError.ts';
import { findProject, type Organization } from './projects.ts';
import type { ApiRequest, ApiRoute } from './routes.ts';
import { json, type Answer } from './standInServer.ts';

interface Environment {
  readonly id: number;
  readonly name: string;
  /** Whether the requester of a run may not approve it; undefined: it has no approval. */
  readonly requesterCannotBeApprover: boolean | undefined;
}

/** The environments of an organization's projects, and the approvals on them. */
export class Environments {
  readonly #all: Environment[] = [];
  /** While true, no caller may see them. */
  isHidden = false;

  declare(name: string, requesterCannotBeApprover?: boolean): void {
    this.#all.push({ id: this.#all.length + 1, name, requesterCannotBeApprover });
  }

  routes(organization: () => Organization): ApiRoute[] {
    const inProject = (answer: (request: ApiRequest) => Answer) => (request: ApiRequest) => {
      const project = findProject(request, organization());
      if ('status' in project) return project;
      if (this.isHidden) return apiError(403, 'AccessDeniedException', 'TF401019: You need more permissions.');
      return answer(request);
    };
    return [
      {
        method: 'GET',
        path: '{project}/_apis/pipelines/environments',
        // Not documented; names that begin with the filter match, so that no one relies on exact names.
        answer: inProject(({ query }) => {
          const begin = (query.get('name') ?? '').toLowerCase();
          const found = this.#all.filter(({ name }) => name.toLowerCase().startsWith(begin));
          return json(200, {
            count: found.length,
            value: found.map(({ id, name }) => ({ id, name, description: '' })),
          });
        }),
      },
      {
        method: 'GET',
        path: '{project}/_apis/pipelines/checks/configurations',
        preview: true,
        answer: inProject(({ query }) => this.#checksOf(query)),
      },
    ];
  }

  #checksOf(query: URLSearchParams): Answer {
    const id = Number(query.get('resourceId'));
    const found = this.#all.find((one) => query.get('resourceType') === 'environment' && one.id === id);
    const approval = found?.requesterCannotBeApprover;
    if (approval === undefined) return json(200, { count: 0, value: [] });
    // Check Configurations - List page: the settings come only when they're asked for.
    const settings = { approvers: [], executionOrder: 'anyOrder', minRequiredApprovers: 0, blockedApprovers: [] };
    const expanded = query.get('$expand') === 'settings';
    const value = {
      ...{ id: 100 + id, type: { id: '8c6f20a7-a545-4486-9777-f762fafe0d4d', name: 'Approval' }, timeout: 43_200 },
      ...{ resource: { type: 'environment', id: String(id) } },
      ...(expanded ? { settings: { ...settings, requesterCannotBeApprover: approval } } : {}),
    };
    return json(200, { count: 1, value: [value] });
  }
}
