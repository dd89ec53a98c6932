import { apiError } from './apiError.ts';
import type { Identity } from './signIn.ts';
import { json, type Answer, type RecordedRequest } from './standInServer.ts';

/** An authenticated request for a route that exists. */
export interface ApiRequest extends RecordedRequest {
  readonly identity: Identity;
  /** The values of the path's placeholders, decoded. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** One route of a REST area. A new area is a function that returns its routes, given to `AzureDevOps.add`. */
export interface ApiRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the organization, case-insensitive: `{project}/_apis/pipelines/{pipeline}/runs`. */
  readonly path: string;
  /** It was never released: an api-version without `-preview` is refused. */
  readonly preview?: boolean;
  /** A caller whose sign-in fails is redirected to the sign-in page (302) instead of getting it (203). */
  readonly redirectsToSignIn?: boolean;
  answer(request: ApiRequest): Answer | Promise<Answer>;
}

export interface FoundRoute {
  readonly route: ApiRoute;
  readonly parameters: Readonly<Record<string, string>>;
}

const WEB_API = 'Microsoft.VisualStudio.Services.WebApi';
/** The newest version, which is a preview; the one before is the newest release. */
const NEWEST = 7.2;
const VERSION = /^(\d+\.\d+)(-preview(?:\.\d+)?)?$/;

/**
 * The route for a path below the organization.
 * @returns an error response if there is none
 */
export function findRoute(routes: readonly ApiRoute[], method: string, path: string): FoundRoute | Answer {
  const fitting = routes.flatMap((route) => {
    const parameters = parametersOf(route.path, path);
    return parameters === undefined ? [] : [{ route, parameters }];
  });
  if (fitting.length === 0) {
    const message = `The controller for path '/${path}' was not found or does not implement IController.`;
    return apiError(404, 'HttpException', message, { space: 'System.Web' });
  }
  return (
    fitting.find(({ route }) => route.method === method) ??
    json(405, { count: 1, value: { Message: `The requested resource does not support http method '${method}'.` } })
  );
}

/** REST versioning page: only a GET may omit the version, previews have to be named, and there's a newest one. */
export function versionProblem(route: ApiRoute, request: RecordedRequest): Answer | undefined {
  const accepted = /;\s*api-version=([^;,\s]+)/.exec(request.headers.accept ?? '')?.[1];
  const version = request.query.get('api-version') ?? accepted;
  const refuse = (typeKey: string, message: string) => apiError(400, typeKey, message, { space: WEB_API });
  if (version === undefined) {
    if (request.method === 'GET') return undefined;
    return refuse(
      'VssVersionNotSpecifiedException',
      `No api-version was supplied for the "${request.method}" request. The version must be supplied either as part of ` +
        'the Accept header (e.g. "application/json; api-version=1.0") or as a query parameter (e.g. "?api-version=1.0").',
    );
  }
  const [, number, preview] = VERSION.exec(version) ?? [];
  if (number === undefined) {
    return refuse('VssInvalidApiResourceVersionException', `The api-version "${version}" is invalid.`);
  }
  if (Number(number) > NEWEST) {
    return refuse(
      'VssVersionOutOfRangeException',
      `The requested REST API version of ${number} is out of range for this server. The latest REST API version this ` +
        `server supports is ${NEWEST}.`,
    );
  }
  if (preview === undefined && (route.preview === true || Number(number) === NEWEST)) {
    return refuse(
      'VssInvalidPreviewVersionException',
      `The requested version "${number}" of the resource is under preview. The -preview flag must be supplied in the ` +
        `api-version for such requests. For example: "${number}-preview"`,
    );
  }
  return undefined;
}

function parametersOf(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split('/');
  const given = path.split('/');
  if (wanted.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = decodeURIComponent(given[index]!);
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    if (name !== undefined) parameters[name] = value;
    else if (part.toLowerCase() !== value.toLowerCase()) return undefined;
  }
  return parameters;
}
