import type { StartedRun } from './builds.ts';
import { isoTime } from './isoTime.ts';
import type { Organization } from './projects.ts';

/** A run as the Build area returns it: azure-devops-node-api's BuildInterfaces and the Builds - Get page. */
export function buildBody(run: StartedRun, { url: base }: Organization) {
  const { id, name, project, pipeline, identity, queuedAt, finishedAt, state } = run;
  const api = `${base}${project.id}/_apis`;
  const requestedFor = {
    ...{ displayName: identity.name, url: `${base}_apis/Identities/${identity.id}`, id: identity.id },
    ...{ uniqueName: identity.account, descriptor: `aad.${Buffer.from(identity.id).toString('base64url')}` },
  };
  return {
    _links: {
      self: { href: `${api}/build/Builds/${id}` },
      web: { href: `${base}${project.id}/_build/results?buildId=${id}` },
    },
    // dotnet/efcore pull request 38761: a build echoes the parameters it was started with.
    ...{ templateParameters: run.parameters, tags: run.tags, triggerInfo: {}, properties: {} },
    ...{ id, buildNumber: name, status: state === 'canceling' ? 'cancelling' : state },
    ...(finishedAt !== undefined && { result: run.result, finishTime: isoTime(finishedAt) }),
    ...{ queueTime: isoTime(queuedAt), startTime: isoTime(queuedAt) },
    ...{ url: `${api}/build/Builds/${id}`, uri: `vstfs:///Build/Build/${id}` },
    definition: {
      ...{ id: pipeline.id, name: pipeline.name, path: pipeline.folder, type: 'build', project },
      ...{ revision: pipeline.revision, queueStatus: 'enabled', url: `${api}/build/Definitions/${pipeline.id}` },
    },
    ...{ project, sourceBranch: run.ref, sourceVersion: run.commit, reason: 'manual', priority: 'normal' },
    ...{ requestedFor, requestedBy: requestedFor, lastChangedBy: requestedFor },
    ...{ keepForever: false, retainedByRelease: false },
  };
}
