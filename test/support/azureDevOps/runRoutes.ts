import type { Builds, StartedRun } from './builds.ts';
import { isoTime } from './isoTime.ts';
import type { Pipeline, Pipelines } from './pipelines.ts';
import { findProject, type Organization } from './projects.ts';
import type { ApiRoute } from './routes.ts';
import { readRunRequest } from './runRequest.ts';
import { json } from './standInServer.ts';
import { invalidPipeline, parameterProblems, refuseParameters, type ValidationForm } from './templateParameters.ts';

export interface RunRoutesOptions {
  readonly organization: () => Organization;
  readonly pipelines: Pipelines;
  readonly builds: Builds;
  readonly validationForm: () => ValidationForm;
}

/** The Pipelines area's route that starts runs. */
export function runRoutes({ organization, pipelines, builds, validationForm }: RunRoutesOptions): ApiRoute[] {
  return [
    {
      method: 'POST',
      path: '{project}/_apis/pipelines/{pipeline}/runs',
      answer: (request) => {
        const project = findProject(request, organization());
        if ('status' in project) return project;
        const pipeline = pipelines.find(request, project, 'queue');
        if ('status' in pipeline) return pipeline;
        const order = readRunRequest(request);
        if ('status' in order) return order;
        const ref = order.ref ?? pipeline.defaultBranch;
        // Runs - Run Pipeline page: `refName` is the ref, not a branch's short name.
        if (!/^refs\/(heads|tags|pull)\/./.test(ref)) {
          return invalidPipeline(`Could not get the latest source version for the repository using ref ${ref}.`);
        }
        const locked = order.variables.filter((name) => !pipeline.settableVariables.includes(name));
        if (locked.length > 0) return lockedVariables(locked);
        const problems = parameterProblems(pipeline.parameters, order.parameters);
        if (problems.length > 0) return refuseParameters(problems, validationForm());
        // Runs - Run Pipeline page: `previewRun` creates no run and returns the YAML.
        if (order.isPreview) return json(200, { finalYaml: finalYaml(pipeline, order.parameters) });
        const { identity, at: receivedAt } = request;
        const run = builds.start({ pipeline, parameters: order.parameters, ref, identity, receivedAt });
        return json(200, runBody(run, organization()));
      },
    },
  ];
}

/** Pipeline security inputs page: the error's whole text. */
function lockedVariables(names: readonly string[]) {
  return invalidPipeline(
    `You can't set the following variables (${names.join(', ')}). If you want to be able to set these variables, then ` +
      'edit the pipeline and select Settable at queue time on the variables tab of the pipeline editor.',
  );
}

function finalYaml({ name, parameters, environment }: Pipeline, given: Readonly<Record<string, string>>): string {
  const values = parameters.map((one) => given[one.name] ?? one.default ?? one.values![0]!);
  const scripts = values.map((value) => `        - script: echo ${JSON.stringify(value)}`);
  const job =
    environment === undefined
      ? [`    - job: ${name}`, '      steps:', ...scripts]
      : [`    - deployment: ${name}`, '      environment:', `        name: ${environment}`];
  return ['stages:', '- stage: __default', '  jobs:', ...job, ''].join('\n');
}

/** Runs - Run Pipeline page, and what users print of it. */
function runBody(run: StartedRun, { url: base }: Organization) {
  const { id, name, project, pipeline, ref, commit, state, parameters } = run;
  const api = `${base}${project.id}/_apis/pipelines/${pipeline.id}`;
  const page = `${base}${project.id}/_build`;
  return {
    _links: {
      self: { href: `${api}/runs/${id}` },
      web: { href: `${page}/results?buildId=${id}` },
      'pipeline.web': { href: `${page}/definition?definitionId=${pipeline.id}` },
      pipeline: { href: `${api}?revision=${pipeline.revision}` },
    },
    templateParameters: parameters,
    pipeline: {
      url: `${api}?revision=${pipeline.revision}`,
      ...{ id: pipeline.id, revision: pipeline.revision, name: pipeline.name, folder: pipeline.folder },
    },
    ...{ state, createdDate: isoTime(run.queuedAt), url: `${api}/runs/${id}` },
    resources: {
      repositories: {
        self: { repository: { id: project.id, type: 'azureReposGit' }, refName: ref, version: commit },
      },
    },
    ...{ id, name },
  };
}
