import { apiError } from './apiError.ts';
import type { ApiRequest, ApiRoute } from './routes.ts';
import { json, type Answer } from './standInServer.ts';

export interface Project {
  readonly id: string;
  readonly name: string;
}

/** An organization as its API and hooks present it. */
export interface Organization {
  readonly name: string;
  /** With closing slash. */
  readonly url: string;
  readonly accountId: string;
  readonly collectionId: string;
  readonly projects: readonly Project[];
}

const CORE = 'Microsoft.TeamFoundation.Core.WebApi';
/** Projects - List page: the default page size. */
const PAGE = 100;
const GUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** The area for the caller's identity and the list of projects. */
export function coreRoutes(organization: () => Organization): ApiRoute[] {
  const referenceOf = ({ id, name }: Project) => ({
    ...{ id, name, url: `${organization().url}_apis/projects/${id}`, state: 'wellFormed', revision: 11 },
    ...{ visibility: 'private', lastUpdateTime: '2026-02-02T11:47:33.5Z' },
  });
  return [
    {
      method: 'GET',
      path: '_apis/connectionData',
      // REST errors that users report: this resource never left preview, so a plain 7.1 is a 400.
      preview: true,
      redirectsToSignIn: true,
      answer: ({ identity: { id, name, account } }) => {
        const user = {
          ...{ id, descriptor: `Microsoft.IdentityModel.Claims.ClaimsIdentity;${account}`, providerDisplayName: name },
          ...{ isActive: true, properties: { Account: { $type: 'System.String', $value: account } } },
        };
        return json(200, {
          ...{ authenticatedUser: user, authorizedUser: user, instanceId: organization().accountId },
          ...{ deploymentId: organization().collectionId, deploymentType: 'hosted' },
        });
      },
    },
    {
      method: 'GET',
      path: '_apis/projects',
      answer: (request) => {
        const all = visibleTo(request, organization());
        const start = Number(request.query.get('continuationToken') ?? request.query.get('$skip') ?? 0);
        const end = start + Number(request.query.get('$top') ?? PAGE);
        const value = all.slice(start, end).map(referenceOf);
        // Projects - List page: the next page's token comes in a header, and only when there is a next page.
        const more = end < all.length ? { 'x-ms-continuationtoken': String(end) } : {};
        return json(200, { count: value.length, value }, more);
      },
    },
    {
      method: 'GET',
      path: '_apis/projects/{project}',
      answer: (request) => {
        const found = findProject(request, organization());
        return 'status' in found ? found : json(200, { ...referenceOf(found), _links: {} });
      },
    },
  ];
}

/**
 * The project that a request's path names, by id or by name in any case.
 * @returns an error response if there is none
 */
export function findProject(request: ApiRequest, organization: Organization): Project | Answer {
  const asked = request.parameters['project']!;
  const isAsked = ({ id, name }: Project) => [id, name.toLowerCase()].includes(asked.toLowerCase());
  return visibleTo(request, organization).find(isAsked) ?? noProject(asked);
}

function visibleTo({ identity }: ApiRequest, { projects }: Organization): readonly Project[] {
  return projects.filter(({ name }) => identity.projects?.includes(name) ?? true);
}

/** Also for callers who may not see the project. */
function noProject(asked: string): Answer {
  if (!GUID.test(asked)) {
    const message =
      `TF200016: The following project does not exist: ${asked}. Verify that the name of the project is correct and ` +
      'that the project exists on the specified Azure DevOps Server.';
    return apiError(404, 'ProjectDoesNotExistWithNameException', message, { space: CORE });
  }
  const message =
    `VS800075: The project with id 'vstfs:///Classification/TeamProject/${asked}' does not exist, or you do not have ` +
    'permission to access it.';
  return apiError(404, 'ProjectDoesNotExistException', message, { space: CORE });
}
