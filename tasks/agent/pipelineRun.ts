import { randomUUID } from 'node:crypto';
import type { Agent } from './agent.ts';
import type { Attributes } from '../../shared/event/cloudEvent.ts';

/** Who publishes or waits: the pipeline run, from the agent's variables. */
export interface PipelineRun {
  /** CloudEvents extensions that name the owner of an event; those whose variable is absent are left out. */
  readonly owner: Attributes;
  /** The CloudEvents `source`: a link to the pipeline's definition, percent-encoded. */
  readonly source: string;
  /** Stage, job and step, for the receipt. */
  readonly step: Readonly<Record<string, string>>;
}

/** Reads the run's variables. Classic releases have `Release.*` where pipelines have `Build.*`. */
export function readPipelineRun(agent: Agent): PipelineRun {
  const collection =
    agent.variable('System.CollectionUri') ?? agent.variable('System.TeamFoundationCollectionUri') ?? '';
  const project = agent.variable('System.TeamProject') ?? '';
  const firstOf = (...names: readonly string[]) =>
    names.map((name) => agent.variable(name)).find((value) => value !== undefined);
  return {
    owner: present({
      azporganization: organizationOf(collection),
      azpproject: project,
      azppipeline: firstOf('Build.DefinitionName', 'Release.DefinitionName'),
      azprunid: firstOf('Build.BuildId', 'Release.ReleaseId'),
      azprequester: firstOf('Build.RequestedFor', 'Release.RequestedFor'),
      azpcommit: agent.variable('Build.SourceVersion'),
    }),
    source: sourceOf(collection, project, agent.variable('System.DefinitionId')),
    step: present({
      stage: agent.variable('System.StageName'),
      job: agent.variable('System.JobName'),
      step: firstOf('System.TaskDisplayName', 'System.TaskInstanceName'),
      planId: agent.variable('System.PlanId'),
      jobId: agent.variable('System.JobId'),
      taskInstanceId: agent.variable('System.TaskInstanceId'),
    }),
  };
}

function present(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => (entry[1] ?? '') !== ''),
  );
}

/** `https://dev.azure.com/<organization>/`, `https://<organization>.visualstudio.com/`, or a server's collection. */
function organizationOf(collection: string): string {
  if (!URL.canParse(collection)) return '';
  const { hostname, pathname } = new URL(collection);
  if (hostname.endsWith('.visualstudio.com')) return hostname.split('.')[0] ?? '';
  return decodeSafely(decodeURIComponent, pathname.split('/').filter(Boolean).at(-1) ?? hostname);
}

function sourceOf(collection: string, project: string, definitionId: string | undefined): string {
  // Outside a pipeline, as in a local run, there is nothing to link to; a source must not be empty.
  if (collection === '' || project === '') return 'urn:azure-pipelines:unknown';
  const base = encodeURI(decodeSafely(decodeURI, collection).toWellFormed()).replace(/\/*$/, '/');
  const encode = (text: string) => encodeURIComponent(text.toWellFormed());
  const query = definitionId === undefined ? '' : `?definitionId=${encode(definitionId)}`;
  return `${base}${encode(project)}/_build${query}`;
}

/** The collection URL may be percent-encoded already. */
function decodeSafely(decode: (text: string) => string, text: string): string {
  try {
    return decode(text);
  } catch {
    return text;
  }
}

/**
 * The message id of this step: equal when the agent retries the step (`retryCountOnTaskFailure` keeps these variables),
 * new when a person runs the job again (which raises an attempt). Random, with a warning, outside a pipeline.
 */
export function defaultMessageId(agent: Agent): string {
  const ids = ['System.PlanId', 'System.StageAttempt', 'System.JobId', 'System.JobAttempt', 'System.TaskInstanceId'];
  const parts = ids.map((name) => agent.variable(name));
  // Ids and numbers as set by the service: anything else they may hold elsewhere couldn't go into a header.
  if (parts.every((part) => part !== undefined && /^[\w-]{1,50}$/.test(part))) return parts.join('.');
  agent.warning(
    "The message id is random, since the variables of a pipeline run are absent or aren't ids: a retry of this step is not recognised as a duplicate.",
  );
  return randomUUID();
}
