import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { runPipelineFile, temporaryFolder } from '../../../localAgent/index.ts';
import type { PipelineFileOptions, PipelineRun } from '../../../localAgent/index.ts';
import { throwawayExtension } from './throwawayExtension.ts';

const ECHO = throwawayExtension('console.log("##vso[task.setvariable variable=said]" + process.env.INPUT_TEXT)', {
  inputs: [
    { name: 'text', type: 'string' },
    { name: 'connection', type: 'connectedService:NatsServer' },
  ],
  outputVariables: [{ name: 'said' }],
});

/** Runs a pipeline of scripts and of `Sample@1`, whose output `said` is its input `text`. */
export function runPipeline(yaml: string, options: Partial<PipelineFileOptions> = {}): Promise<PipelineRun> {
  const sources = temporaryFolder('sources-');
  const file = path.join(sources, 'azure-pipelines.yml');
  writeFileSync(file, yaml);
  return runPipelineFile(file, { sources, extension: ECHO, ...options });
}

/** How each job ended, as `stage.job result`. */
export function resultsOf(pipeline: PipelineRun): string[] {
  return pipeline.jobs.map(({ stage, name, result }) => `${stage}.${name} ${result}`);
}
