import { apiError } from './apiError.ts';
import { buildBody } from './buildBody.ts';
import { readBuildQuery, type BuildQuery } from './buildQuery.ts';
import type { Builds, StartedRun } from './builds.ts';
import type { Pipelines } from './pipelines.ts';
import { findProject, type Organization, type Project } from './projects.ts';
import type { ApiRequest, ApiRoute } from './routes.ts';
import { json } from './standInServer.ts';

export interface BuildRoutesOptions {
  readonly organization: () => Organization;
  readonly pipelines: Pipelines;
  readonly builds: Builds;
}

/** The Build area's routes that read runs as builds. */
export function buildRoutes({ organization, pipelines, builds }: BuildRoutesOptions): ApiRoute[] {
  const isVisible =
    ({ identity }: ApiRequest, project: Project) =>
    (run: StartedRun): boolean =>
      run.project.id === project.id && pipelines.isVisible(run.pipeline, identity.id);
  return [
    {
      method: 'GET',
      path: '{project}/_apis/build/builds',
      answer: (request) => {
        const project = findProject(request, organization());
        if ('status' in project) return project;
        const query = readBuildQuery(request.query);
        if ('status' in query) return query;
        const found = select(builds.listed().filter(isVisible(request, project)), query);
        const page = found.slice(0, Math.min(query.top, builds.pageSize));
        // Builds - List page: "a continuation token, returned by a previous call"; as with projects, in a header.
        const more = page.length < found.length ? { 'x-ms-continuationtoken': query.tokenAfter(page.at(-1)!) } : {};
        const value = page.map((run) => buildBody(run, organization()));
        return json(200, { count: value.length, value }, more);
      },
    },
    {
      method: 'GET',
      path: '{project}/_apis/build/builds/{build}',
      answer: (request) => {
        const project = findProject(request, organization());
        if ('status' in project) return project;
        const asked = request.parameters['build']!;
        const run = builds.runs.filter(isVisible(request, project)).find(({ id }) => String(id) === asked);
        if (run !== undefined) return json(200, buildBody(run, organization()));
        return apiError(404, 'BuildNotFoundException', `The requested build ${asked} could not be found.`, {
          ...{ space: 'Microsoft.TeamFoundation.Build.WebApi', assembly: 'Microsoft.TeamFoundation.Build2.WebApi' },
        });
      },
    },
  ];
}

function select(runs: readonly StartedRun[], { definitions, isWithin, compare, isAfterToken }: BuildQuery) {
  return runs
    .filter(({ pipeline }) => definitions === undefined || definitions.includes(pipeline.id))
    .filter(isWithin)
    .sort(compare)
    .filter(isAfterToken);
}
