import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  assertRunSucceeded,
  EXAMPLES,
  runExample,
  startExamplesServer,
  stepOf,
} from '../../support/agent/exampleRun.ts';
import { temporaryFolder, type PipelineRun } from '../../../localAgent/index.ts';
import type { Scenario } from '../../support/agent/scenario.ts';

describe('The example', { concurrency: 3 }, () => {
  let scene: Scenario;
  before(async () => {
    scene = await startExamplesServer();
  });
  after(() => scene[Symbol.asyncDispose]());

  function publishLibrary(buildId: string, commit: string): Promise<PipelineRun> {
    return runExample('chained-repositories-library.yml', scene.server.url, buildId, {
      variables: { 'Build.SourceVersion': commit },
    });
  }
  function buildService(commit: string, onWaiting: () => void = () => {}): Promise<PipelineRun> {
    return runExample('chained-repositories.yml', scene.server.url, '70', {
      parameters: { libraryCommit: commit },
      onLine: ({ text }) => text.startsWith('waiting ') && onWaiting(),
    });
  }

  it('chained-repositories.yml: the service is built with the commit asked for, published before', async () => {
    const published = await Promise.all([publishLibrary('71', 'a'.repeat(40)), publishLibrary('72', 'b'.repeat(40))]);
    published.forEach(assertRunSucceeded);
    const service = await buildService('b'.repeat(40));
    assertRunSucceeded(service);
    assert.match(stepOf(service, 'Build the service').logText, /^Building the service with library 1\.4\.72$/m);
  });

  it('chained-repositories.yml: or published while it waits', async () => {
    let service: Promise<PipelineRun> | undefined;
    await new Promise<void>((resolve) => {
      service = buildService('d'.repeat(40), resolve);
      void service.then(() => resolve(), resolve);
    });
    assertRunSucceeded(await publishLibrary('74', 'd'.repeat(40)));
    assert.match(stepOf(await service!, 'Build the service').logText, /with library 1\.4\.74$/m);
  });

  /** The two pipelines, with the repository of the contracts in this folder. */
  function send(buildId: string, contracts: string): Promise<PipelineRun> {
    return runExample('shared-contract-publisher.yml', scene.server.url, buildId, { repositories: { contracts } });
  }
  function receive(buildId: string, contracts: string): Promise<PipelineRun> {
    return runExample('shared-contract.yml', scene.server.url, '80', {
      repositories: { contracts },
      parameters: { build: buildId },
    });
  }
  const CONTRACTS = path.join(EXAMPLES, 'contracts');

  it('shared-contract.yml: sender and receiver have checked against the same contract', async () => {
    const [sender, receiver] = await Promise.all([send('81', CONTRACTS), receive('81', CONTRACTS)]);
    const [said, heard] = [sender, receiver].map((run) => {
      assertRunSucceeded(run);
      return /^The contract is (sha256:[0-9a-f]{64})$/m.exec(stepOf(run, 'Compare the contract').logText)?.[1];
    });
    assert.equal(said, stepOf(sender, 'Say that the image is ready').outputs.get('schemaDigest'));
    assert.equal(heard, said);
  });

  it('shared-contract.yml: a tag that was moved fails both', async () => {
    const moved = temporaryFolder('contracts-');
    cpSync(CONTRACTS, moved, { recursive: true });
    const file = path.join(moved, 'image-ready.v1.schema.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"apac"', '"apac", "mars"'));
    for (const run of await Promise.all([send('82', moved), receive('82', moved)])) {
      assert.equal(run.result, 'Failed');
      assert.match(stepOf(run, 'Compare the contract').errors.join(), /^It was sha256:/);
    }
  });
});
