import { apiError } from './apiError.ts';
import type { ParameterDeclaration } from './templateParameters.ts';
import type { Project } from './projects.ts';
import type { ApiRequest } from './routes.ts';
import type { Answer } from './standInServer.ts';

/** A pipeline as a test declares it. */
export interface PipelineDeclaration {
  readonly name?: string;
  /** Its project's name; default: the organization's first. */
  readonly project?: string;
  /** What its YAML declares. */
  readonly parameters?: readonly ParameterDeclaration[];
  /** Names of the variables that may be set when it's queued. */
  readonly settableVariables?: readonly string[];
  /** Its only job deploys to this environment. */
  readonly environment?: string;
  /** Default `refs/heads/main`. */
  readonly defaultBranch?: string;
}

export interface Pipeline extends Required<Omit<PipelineDeclaration, 'project' | 'environment'>> {
  readonly environment?: string;
  readonly id: number;
  readonly project: Project;
  readonly folder: string;
  readonly revision: number;
}

/** The permissions on a pipeline; queueing requires viewing. */
export type PipelineRight = 'view' | 'queue';

const PIPELINES = 'Microsoft.Azure.Pipelines.WebApi';

/** The pipelines of an organization, and the permissions on them. */
export class Pipelines {
  readonly #projects: readonly Project[];
  readonly #all: Pipeline[] = [];
  readonly #denied = new Set<string>();
  #nextId = 139;

  constructor(projects: readonly Project[]) {
    this.#projects = projects;
  }

  /** A new pipeline, with an id that is unique in the organization. */
  declare({ project: projectName, ...rest }: PipelineDeclaration = {}): Pipeline {
    const project = this.#projects.find(({ name }) => projectName === undefined || name === projectName);
    if (project === undefined) throw new Error(`There is no project ${projectName}.`);
    const id = this.#nextId++;
    const pipeline: Pipeline = {
      ...{ name: `pipeline-${id}`, parameters: [], settableVariables: [], defaultBranch: 'refs/heads/main' },
      ...{ ...rest, id, project, folder: '\\', revision: 3 },
    };
    this.#all.push(pipeline);
    return pipeline;
  }

  /** Removes a permission from an identity, by its id. */
  deny(pipeline: Pipeline, identityId: string, right: PipelineRight): void {
    this.#denied.add(`${pipeline.id} ${identityId} ${right}`);
  }

  /**
   * The pipeline that a request's path names, in a known project.
   *
   * Pipeline permissions page: without "View builds" and "View build pipeline" it isn't there, which is a 404 whose text isn't
   * documented. Without "Queue builds" users report TF215106.
   * @returns an error response if there is none, or if the caller may not use it
   */
  find({ parameters, identity }: ApiRequest, project: Project, right: PipelineRight): Pipeline | Answer {
    const asked = parameters['pipeline']!;
    const pipeline = this.#all.find(({ id }) => String(id) === asked);
    if (pipeline?.project.id !== project.id || this.#isDenied(pipeline, identity.id, 'view')) {
      const message = `Pipeline ${asked} does not exist or you do not have permission to view it.`;
      return apiError(404, 'PipelineDoesNotExistException', message, { space: PIPELINES });
    }
    if (!this.#isDenied(pipeline, identity.id, right)) return pipeline;
    const message =
      `TF215106: Access denied. ${identity.name} needs Queue builds permissions for build pipeline ` +
      `${pipeline.id}:${pipeline.name} in team project ${project.name} to perform the action.`;
    return apiError(403, 'AccessDeniedException', message, {
      ...{ space: 'Microsoft.TeamFoundation.Build.WebApi', assembly: 'Microsoft.TeamFoundation.Build2.WebApi' },
    });
  }

  /** Whether an identity can see a pipeline. */
  isVisible(pipeline: Pipeline, identityId: string): boolean {
    return !this.#isDenied(pipeline, identityId, 'view');
  }

  #isDenied(pipeline: Pipeline, identityId: string, right: PipelineRight): boolean {
    return this.#denied.has(`${pipeline.id} ${identityId} ${right}`);
  }
}
