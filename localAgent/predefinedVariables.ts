import { randomUUID } from 'node:crypto';
import os from 'node:os';
import type { Machine } from './machine.ts';

/** Folders of one job on one agent. */
export interface JobFolders {
  readonly work: string;
  readonly sources: string;
  readonly temp: string;
  readonly tools: string;
}

/** Variables in which the agent itself defuses logging commands, since people outside the pipeline write them. */
const DEFUSED = new Set(
  [
    'Agent.MachineName',
    'Agent.Name',
    'Build.DefinitionName',
    'Build.SourceVersionAuthor',
    'Build.SourceVersionMessage',
    'System.JobDisplayName',
    'System.PhaseDisplayName',
    'System.StageDisplayName',
  ].map((name) => name.toLowerCase()),
);

export function defuse(name: string, value: string): string {
  return DEFUSED.has(name.toLowerCase()) ? value.replace(/##vso/gi, '**vso') : value;
}

/** The moment as the service writes it in `System.PipelineStartTime`: `2026-11-23 06:24:10+00:00`. */
export function pipelineTime(moment: Date): string {
  return `${moment.toISOString().slice(0, 19).replace('T', ' ')}+00:00`;
}

/**
 * The public variables that the service and the agent set for a build's job. The job token comes apart, and
 * `System.TimelineId` is left out: nothing keeps the records of a local run, so that no task may try to add to them.
 */
export function predefinedVariables(
  folders: JobFolders,
  agentVersion: string,
  machine: Machine,
): Record<string, string> {
  const { path } = machine;
  const buildFolder = path.dirname(folders.sources);
  return {
    'Agent.BuildDirectory': buildFolder,
    'Agent.HomeDirectory': path.dirname(folders.work),
    'Agent.Id': '8',
    'Agent.JobName': 'Job',
    'Agent.MachineName': os.hostname(),
    'Agent.Name': 'Local Agent',
    'Agent.OS': machine.os,
    'Agent.OSArchitecture': process.arch.toUpperCase(),
    'Agent.RootDirectory': folders.work,
    'Agent.TempDirectory': folders.temp,
    'Agent.ToolsDirectory': folders.tools,
    'Agent.Version': agentVersion,
    'Agent.WorkFolder': folders.work,
    'Build.ArtifactStagingDirectory': path.join(buildFolder, 'a'),
    'Build.BinariesDirectory': path.join(buildFolder, 'b'),
    'Build.BuildId': '4711',
    'Build.BuildNumber': '20261123.1',
    'Build.BuildUri': 'vstfs:///Build/Build/4711',
    'Build.DefinitionName': 'orders-ci',
    'Build.DefinitionVersion': '3',
    'Build.QueuedBy': 'Ada Lovelace',
    'Build.Reason': 'Manual',
    'Build.Repository.Name': 'orders',
    'Build.Repository.Provider': 'TfsGit',
    'Build.RequestedFor': 'Ada Lovelace',
    'Build.RequestedForEmail': 'ada@contoso.example',
    'Build.RequestedForId': 'c5a1f6a0-6c2f-4f5b-9f3e-0d8f5f6d2b11',
    'Build.SourceBranch': 'refs/heads/main',
    'Build.SourceBranchName': 'main',
    'Build.SourcesDirectory': folders.sources,
    'Build.SourceVersion': '4b825dc642cb6eb9a060e54bf8d69288fbee4904',
    'Build.SourceVersionAuthor': 'Ada Lovelace',
    'Build.SourceVersionMessage': 'Add orders',
    'Build.StagingDirectory': path.join(buildFolder, 'a'),
    'Common.TestResultsDirectory': path.join(buildFolder, 'TestResults'),
    'System.CollectionId': 'b6a2c1de-5a50-4b1e-8d0c-7a4f4f0f7c55',
    'System.CollectionUri': 'https://dev.azure.com/contoso/',
    'System.Culture': 'en-US',
    'System.DefaultWorkingDirectory': folders.sources,
    'System.DefinitionId': '12',
    'System.DefinitionName': 'orders-ci',
    'System.HostType': 'build',
    'System.JobAttempt': '1',
    'System.JobDisplayName': 'Job',
    'System.JobId': randomUUID(),
    'System.JobName': 'Job',
    'System.JobTimeout': '60',
    'System.PhaseAttempt': '1',
    'System.PhaseDisplayName': 'Job',
    'System.PhaseName': 'Job',
    'System.PipelineStartTime': pipelineTime(new Date()),
    'System.PlanId': randomUUID(),
    'System.ServerType': 'Hosted',
    'System.StageAttempt': '1',
    'System.StageDisplayName': '__default',
    'System.StageName': '__default',
    'System.TeamFoundationCollectionUri': 'https://dev.azure.com/contoso/',
    'System.TeamProject': 'Orders',
    'System.TeamProjectId': '0f6dd2c7-3a1d-4a9e-8b5e-5f0c5c1d9a10',
    'System.WorkFolder': folders.work,
  };
}
