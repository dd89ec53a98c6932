import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'nats';
import { temporaryFolder, type PipelineRun } from '../../../localAgent/index.ts';
import {
  assertRunSucceeded,
  EXAMPLES,
  runExample,
  sharedExamplesServer,
  stepOf,
  type ExampleOptions,
} from '../../support/agent/exampleRun.ts';
import { startTokenIssuer } from '../../support/identity/tokenIssuer.ts';
import { headerFields, natsHeaders } from '../../support/agent/scenario.ts';
import { isLong } from '../../support/form.ts';
import { cloudEvent } from '../../support/event.ts';
import { policyFor, startCallout } from '../../support/bridge/calloutBridge.ts';
import { createNKey, usersConfig } from '../../support/nats/natsAccounts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';

interface CdEvent {
  readonly context: Record<string, string>;
  readonly subject: { readonly id: string; readonly content: Record<string, unknown> };
  readonly customData?: unknown;
}

// Each example as it is meant and as it fails; further ends of some in the long form.
describe('The example', { concurrency: 4 }, () => {
  const scene = sharedExamplesServer();

  function run(name: string, buildId: string, options: ExampleOptions = {}): Promise<PipelineRun> {
    return runExample(name, scene.server.url, buildId, options);
  }

  /** Answers what a run says on one subject with an event on another one, as a person's tool or a monitor does. */
  async function answer(buildId: string, question: string, subject: string, payload: object): Promise<void> {
    for await (const { headers } of scene.client.subscribe(question)) {
      if (headers?.get('ce-correlationid') !== buildId) continue;
      await scene.client.jetstream().publish(subject, JSON.stringify(payload), {
        headers: natsHeaders(cloudEvent({ id: `answer-${buildId}`, correlationid: buildId })),
      });
      return;
    }
  }

  it('image-ready.yml: the deployment continues with the image the build published', async () => {
    const pipeline = await run('image-ready.yml', '42');
    assertRunSucceeded(pipeline);
    assert.match(stepOf(pipeline, 'Deploy').logText, /^Deploying shop\/web:42 at sha256:[0-9a-f]{64}$/m);
  });

  function decide(buildId: string, decision: string): Promise<void> {
    return answer(buildId, 'release.shop.approval-requested.v1', 'release.shop.approval.v1', {
      release: buildId,
      decision,
      by: 'Grace Hopper',
    });
  }

  it('approval-signal.yml: an approval releases', async () => {
    const [pipeline] = await Promise.all([run('approval-signal.yml', '1'), decide('1', 'approved')]);
    assertRunSucceeded(pipeline);
    assert.match(stepOf(pipeline, 'Release').logText, /^Releasing, approved by Grace Hopper$/m);
    assert.equal(stepOf(pipeline, 'Say that the question has expired').result, 'Skipped');
  });

  it('approval-signal.yml: a rejection fails the run at once', async () => {
    const [pipeline] = await Promise.all([run('approval-signal.yml', '2'), decide('2', 'rejected')]);
    assert.equal(pipeline.result, 'Failed');
    const decision = stepOf(pipeline, 'Wait for the decision');
    assert.equal(decision.outputs.get('verdict'), 'negative');
    assert.match(decision.errors.join(), /^Negative: /);
    assert.equal(stepOf(pipeline, 'Release').result, 'Skipped');
    assert.equal(stepOf(pipeline, 'Say that the question has expired').result, 'Skipped');
  });

  it("approval-signal.yml: if nobody decides in time, the run withdraws its question and doesn't release", async () => {
    const pipeline = await run('approval-signal.yml', '3', {
      change: (yaml) => yaml.replace('timeout: 2h\n', 'timeout: 2s\n'),
    });
    assert.equal(pipeline.result, 'SucceededWithIssues');
    assert.equal(stepOf(pipeline, 'Wait for the decision').outputs.get('verdict'), 'timedOut');
    assert.equal(stepOf(pipeline, 'Release').result, 'Skipped');
    assert.equal(
      stepOf(pipeline, 'Say that the question has expired').outputs.get('subject'),
      'release.shop.approval-expired.v1',
    );
  });

  it('fan-in-regions.yml: two regions let traffic shift, three end the run', async () => {
    const pipeline = await run('fan-in-regions.yml', '51');
    assertRunSucceeded(pipeline);
    assert.equal(stepOf(pipeline, 'Wait for two regions').outputs.get('count'), '2');
    assert.equal(stepOf(pipeline, 'Wait for all regions').outputs.get('count'), '3');
    assert.match(stepOf(pipeline, 'Shift all of the traffic').logText, /^All regions serve$/m);
  });

  if (isLong)
    it('fan-in-regions.yml: a region that reports twice counts once, and a silent one is named', async () => {
      const pipeline = await run('fan-in-regions.yml', '52', {
        change: (yaml) =>
          yaml.replace('us: { region: us }', 'again: { region: eu }').replace(/30m(?=\s+onTimeout)/, '4s'),
      });
      assert.equal(pipeline.result, 'Failed');
      assert.equal(stepOf(pipeline, 'Shift half of the traffic').result, 'Succeeded');
      assert.equal(stepOf(pipeline, 'Wait for all regions').outputs.get('missing'), 'us');
      assert.equal(stepOf(pipeline, 'Shift all of the traffic').result, 'Skipped');
      assert.match(stepOf(pipeline, 'Name the regions that are missing').errors.join(), /Not deployed in time to us/);
    });

  function judge(buildId: string, verdict: string, errorRate: number): Promise<void> {
    return answer(buildId, 'ci.shop.canary-started.v1', 'ci.shop.canary-verdict.v1', {
      release: buildId,
      verdict,
      errorRate,
    });
  }
  const resultsOf = ({ jobs }: PipelineRun): string[] => jobs.map(({ name, result }) => `${name} ${result}`);

  it('canary-verdict.yml: a good canary is promoted', async () => {
    const [pipeline] = await Promise.all([run('canary-verdict.yml', '61'), judge('61', 'good', 0.001)]);
    assertRunSucceeded(pipeline);
    assert.deepEqual(resultsOf(pipeline), ['Canary Succeeded', 'Promote Succeeded', 'RollBack Skipped']);
    assert.match(stepOf(pipeline, 'Promote').logText, /error rate 0\.001$/m);
  });

  it('canary-verdict.yml: a bad one is rolled back', async () => {
    const [pipeline] = await Promise.all([run('canary-verdict.yml', '62'), judge('62', 'bad', 0.2)]);
    assert.deepEqual(resultsOf(pipeline), ['Canary Failed', 'Promote Skipped', 'RollBack Succeeded']);
    assert.match(stepOf(pipeline, 'Roll back').logText, /to the old release, verdict negative$/m);
  });

  if (isLong)
    it('canary-verdict.yml: one without a verdict is rolled back, and so is a cancelled one', async () => {
      const silent = await run('canary-verdict.yml', '63', {
        change: (yaml) => yaml.replace('timeout: 20m', 'timeout: 2s'),
      });
      assert.deepEqual(resultsOf(silent), ['Canary Failed', 'Promote Skipped', 'RollBack Succeeded']);
      assert.match(stepOf(silent, 'Roll back').logText, /verdict timedOut$/m);
      const cancel = new AbortController();
      const cancelled = await run('canary-verdict.yml', '64', {
        signal: cancel.signal,
        onLine: ({ text }) => text.startsWith('waiting ') && cancel.abort(),
      });
      assert.deepEqual(resultsOf(cancelled), ['Canary Canceled', 'Promote Skipped', 'RollBack Succeeded']);
    });

  /** The CDEvent of a type that one run has published, with the attributes of its envelope. */
  async function cdEvent(
    type: string,
    run: string,
  ): Promise<{ readonly payload: CdEvent; readonly attributes: Record<string, string> }> {
    const { state } = await scene.manager.streams.info('CDEVENTS');
    for (let seq = state.last_seq; seq > 0; seq--) {
      const { header, data } = await scene.manager.streams.getMessage('CDEVENTS', { seq });
      const attributes = Object.fromEntries(
        headerFields(header).flatMap(([name, value]) =>
          name.startsWith('ce-') ? [[name.slice('ce-'.length), decodeURIComponent(value)]] : [],
        ),
      ) as Record<string, string>;
      if (attributes['type'] === `dev.cdevents.${type}.0.3.0` && attributes['correlationid'] === run)
        return { payload: JSON.parse(Buffer.from(data).toString()) as CdEvent, attributes };
    }
    throw new Error(`The run ${run} has published no ${type}.`);
  }

  it('cdevents.yml: the image and the end of the run are announced as CDEvents', async () => {
    const pipeline = await run('cdevents.yml', '43');
    assert.equal(pipeline.result, 'Succeeded', stepOf(pipeline, 'Say that the image is published').logText);
    for (const type of ['artifact.published', 'pipelinerun.finished']) {
      const { payload, attributes } = await cdEvent(type, '43-1');
      const { context, subject } = payload;
      assert.equal(context.type, `dev.cdevents.${type}.0.3.0`);
      assert.equal(context.specversion, '0.5.1');
      const { id, source, timestamp } = context;
      const { id: inEnvelope, source: from, type: typed, time, subject: about, correlationid } = attributes;
      assert.deepEqual(
        { id: inEnvelope, source: from, type: typed, time, subject: about, correlationid },
        { id, source, type: context.type, time: timestamp, subject: subject.id, correlationid: '43-1' },
      );
    }
    assert.match(
      (await cdEvent('artifact.published', '43-1')).payload.subject.id,
      /^pkg:oci\/web@sha256%3A[0-9a-f]{64}\?/,
    );
    assert.equal((await cdEvent('pipelinerun.finished', '43-1')).payload.subject.content.outcome, 'success');
  });

  it('cdevents.yml: a failed run is announced as a failure', async () => {
    const pipeline = await run('cdevents.yml', '44', {
      change: (yaml) => yaml.replace('"content": {}', '"content": { "x": 1 }'),
    });
    assert.equal(pipeline.result, 'Failed');
    assert.match(
      stepOf(pipeline, 'Say that the image is published').errors.join(),
      /^ContractViolation: .*\/subject\/content: must not have property "x"/,
    );
    const { payload } = await cdEvent('pipelinerun.finished', '44-1');
    assert.equal(payload.context.chainId, '44-1');
    assert.equal(payload.subject.content.outcome, 'failure');
    assert.deepEqual(payload.customData, { azureResult: 'Failed' });
  });

  function publishLibrary(buildId: string, commit: string): Promise<PipelineRun> {
    return run('chained-repositories-library.yml', buildId, {
      variables: { 'Build.SourceVersion': commit },
    });
  }
  function buildService(commit: string, onWaiting: () => void = () => {}): Promise<PipelineRun> {
    return run('chained-repositories.yml', '70', {
      parameters: { libraryCommit: commit },
      onLine: ({ text }) => text.startsWith('waiting ') && onWaiting(),
    });
  }

  it('chained-repositories.yml: the service is built with the requested commit, published before', async () => {
    const published = await Promise.all([publishLibrary('71', 'a'.repeat(40)), publishLibrary('72', 'b'.repeat(40))]);
    published.forEach(assertRunSucceeded);
    const service = await buildService('b'.repeat(40));
    assertRunSucceeded(service);
    assert.match(stepOf(service, 'Build the service').logText, /^Building the service with library 1\.4\.72$/m);
  });

  if (isLong)
    it('chained-repositories.yml: or with one published while it waits', async () => {
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
    return run('shared-contract-publisher.yml', buildId, { repositories: { contracts } });
  }
  function receive(buildId: string, contracts: string): Promise<PipelineRun> {
    return run('shared-contract.yml', '80', {
      repositories: { contracts },
      parameters: { build: buildId },
    });
  }
  const CONTRACTS = path.join(EXAMPLES, 'contracts');

  it('shared-contract.yml: sender and receiver check against the same contract', async () => {
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

  it('key-vault.yml: signs in with the secret that the Key Vault step fetches', async () => {
    const { seed, publicKey } = createNKey();
    const permissions = { publish: { allow: ['ci.shop.>'] } };
    const admin = { user: 'admin', password: 'admin-password' };
    await using server = await startNatsServer({ config: usersConfig({ nkey: publicKey, permissions }, admin) });
    const client = await connect({ servers: server.url, user: admin.user, pass: admin.password });
    await (await client.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
    await client.close();

    // There is no Key Vault here: what its step would set is given as a secret variable, and the step is left out.
    const skipped: string[] = [];
    const fetching = (secrets: Record<string, string>): ReturnType<typeof runExample> =>
      runExample('key-vault.yml', server.url, '91', {
        connections: { 'nats-key-vault': { url: server.url, scheme: 'None' } },
        skipOtherTasks: true,
        onSkip: ({ task, title }) => skipped.push(`${task} ${title}`),
        secrets,
      });
    const pipeline = await fetching({ 'nats-ci-seed': seed });
    assertRunSucceeded(pipeline);
    assert.deepEqual(skipped, ['AzureKeyVault@2 Fetch the seed']);
    const step = stepOf(pipeline, 'Say that the build is done');
    assert.equal(step.outputs.get('stream'), 'CI');
    assert.ok(!step.logText.includes(seed));
    assert.equal((await fetching({ 'nats-ci-seed': createNKey().seed })).result, 'Failed');
  });

  it("oidc.yml: signs in with its run's token, without a secret", async () => {
    const id = randomUUID();
    await using issuer = await startTokenIssuer({ serviceConnections: { [id]: 'sc://my-organisation/shop/nats' } });
    const admin = { sub: 'sc://my-organisation/shop/admin', account: 'CI', publish: ['>'], subscribe: ['>'] };
    await using callout = await startCallout({ policy: policyFor(issuer, { azureDevOps: [admin] }) });
    const client = await callout.connect(await issuer.connection(admin.sub));
    await (await client.jetstreamManager()).streams.add({ name: 'CI_shop', subjects: ['ci.shop.>'] });
    await client.close();

    const url = callout.server.url.replace('nats:', 'tls:');
    const data = { oidc: 'true', caCertificate: callout.ca, inboxPrefix: '_INBOX.shop' };
    const pipeline = await runExample('oidc.yml', url, '92', {
      connections: { nats: { id, url, scheme: 'None', data } },
      variables: { 'System.OidcRequestUri': issuer.requestUri },
      secrets: { 'System.AccessToken': issuer.accessToken },
    });
    assertRunSucceeded(pipeline);
    assert.equal(stepOf(pipeline, 'Wait for the build').outputs.get('verdict'), 'matched');
    assert.equal(issuer.requests.filter((request) => request.endsWith('/oidctoken')).length, 2);
  });
});

it('no example is left out', () => {
  const folders = [import.meta.dirname, path.join(import.meta.dirname, '../together')];
  const tests = folders.flatMap((folder) => readdirSync(folder).map((file) => path.join(folder, file)));
  const texts = tests
    .filter((file) => path.basename(file).startsWith('example'))
    .map((file) => readFileSync(file, 'utf8'));
  const tested = texts.flatMap((text) =>
    [...text.matchAll(/\b(?:run(?:Example)?\(\s*'([^']+\.yml)'|it\('([^':]+\.yml): )/g)].map(
      ([, run, title]) => run ?? title,
    ),
  );
  const files = readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' });
  assert.deepEqual(files.filter((file) => /\.ya?ml$/.test(file)).sort(), [...new Set(tested)].sort());
});
