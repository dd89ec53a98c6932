import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before } from 'node:test';
import { runPipelineFile, temporaryFolder } from '../../../localAgent/index.ts';
import type { PipelineFileOptions, PipelineRun, StepRun } from '../../../localAgent/index.ts';
import { Scenario } from './scenario.ts';

export const EXAMPLES = path.join(import.meta.dirname, '../../../examples');
/** An example that takes longer is cancelled. */
const LONGEST_MS = 30_000;

export interface ExampleOptions extends Partial<PipelineFileOptions> {
  /** Alters the text of the file. */
  readonly change?: (yaml: string) => string;
}

/** A server with the streams that the examples need, for all tests of the calling describe block. */
export function sharedExamplesServer(): Scenario {
  const scene = Scenario.shared();
  before(async () => {
    for (const [name, subject] of Object.entries({ CI: 'ci.>', RELEASE: 'release.>', CDEVENTS: 'dev.cdevents.>' }))
      await scene.manager.streams.add({ name, subjects: [subject] });
  });
  return scene;
}

/**
 * Runs an example in a copy of the examples, since it writes files there.
 * @param url of the server that the service connection `nats-ci` points to
 */
export async function runExample(
  name: string,
  url: string,
  buildId: string,
  { change, variables, ...options }: ExampleOptions = {},
): Promise<PipelineRun> {
  const sources = temporaryFolder('examples-');
  cpSync(EXAMPLES, sources, { recursive: true });
  const file = path.join(sources, name);
  if (change) {
    const text = readFileSync(file, 'utf8');
    const changed = change(text);
    assert.notEqual(changed, text, `${name} has nothing to change`);
    writeFileSync(file, changed);
  }
  return runPipelineFile(file, {
    sources,
    signal: AbortSignal.timeout(LONGEST_MS),
    connections: { 'nats-ci': { url, scheme: 'None' } },
    variables: { 'Build.BuildId': buildId, ...variables },
    ...options,
  });
}

/** The step of a run with this display name. */
export function stepOf({ jobs }: PipelineRun, displayName: string): StepRun {
  const step = jobs.flatMap(({ steps }) => steps).find((candidate) => candidate.displayName === displayName);
  assert.ok(step, `no step "${displayName}"`);
  return step;
}

/** Asserts that the run succeeded; otherwise the error contains its steps' logs. */
export function assertRunSucceeded({ result, jobs }: PipelineRun): void {
  assert.equal(
    result,
    'Succeeded',
    jobs.flatMap(({ steps }) => steps.map(({ displayName, logText }) => `${displayName}\n${logText}`)).join('\n'),
  );
}
