import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { LocalAgentOptions, StepRun } from '../../../localAgent/index.ts';
import { createNKey } from '../../support/nats/natsAccounts.ts';
import { RunService } from '../../../localAgent/runService.ts';
import {
  assertFailed,
  assertSucceeded,
  jsonFile,
  publish,
  Scenario,
  sourcesWith,
  wait,
} from '../../support/agent/scenario.ts';
import { cloudEvent } from '../../support/event.ts';

const WORDS = ['Alfa7', 'Bravo8', 'Charlie9', 'Delta10', 'Echo11', 'Foxtrot12', 'Golf13', 'Hotel14'];
/** Each word is followed by something that a neutraliser, Markdown or JSON changes. */
const ODD = WORDS.map((word, index) => `${word}${['#', '|', '"', '\t', '\u200b', '`', '<', ''][index] ?? ''}`).join('');
/** Longer than any text is shown. */
const LONG = Array.from({ length: 900 }, (_, index) => WORDS[index % WORDS.length]).join('-');

describe('A secret of the run', { concurrency: 4 }, () => {
  const scene = Scenario.shared();

  function agentOf(service: RunService, options: LocalAgentOptions = {}) {
    return scene.agent({
      debug: true,
      ...options,
      variables: service.variables,
      secrets: { 'System.AccessToken': 'token-of-the-job-0123456789abcdef', ...options.secrets },
    });
  }

  /** Not even a part of it: in what was printed before the agent masks it, the summaries and the receipt. */
  function assertHidden(step: StepRun, service: RunService): void {
    assert.equal(service.requests.length, 1, 'no summary was attached');
    const receipt = readFileSync(step.outputs.get('receiptFile') ?? '', 'utf8');
    const shown = [
      step.rawStdout,
      step.rawStderr,
      receipt,
      ...service.requests.flatMap(({ url, body }) => [url, body]),
    ];
    for (const text of shown) for (const word of WORDS) assert.ok(!text.includes(word), `${word} is in ${text}`);
    assert.match(`${receipt}${service.summaries.join('')}`, /\*\*\*/);
  }

  for (const [kind, secret] of [
    ['', 'Alfa7-Bravo8'],
    [' with characters that are changed when they are shown', ODD],
    [' that is longer than what is shown', LONG],
  ] as const) {
    it(`appears nowhere if a condition contains one${kind}`, async () => {
      await using service = await RunService.start();
      const stream = await scene.stream();
      await stream.put('built', { key: 'another' }, cloudEvent());
      const inputs = {
        subject: stream.subject('built'),
        match: "data.key == '$(ApiKey)'",
        distinctBy: "join('', [data.key, '$(ApiKey)'])",
        timeout: '4s',
      };
      const agent = agentOf(service, { secrets: { ApiKey: secret } });
      const step = await wait(agent, inputs, { displayName: `Wait for ${secret}` });
      assertFailed(step, 'Timeout');
      assertHidden(step, service);
    });

    it(`appears nowhere if it is a wait's correlation id${kind}`, async () => {
      await using service = await RunService.start();
      const stream = await scene.stream();
      await stream.put('built', {}, cloudEvent({ correlationid: 'another' }));
      const step = await wait(agentOf(service, { secrets: { ApiKey: secret } }), {
        subject: stream.subject('built'),
        correlationId: 'for $(ApiKey)',
        timeout: '4s',
      });
      assertFailed(step, 'Timeout');
      assertHidden(step, service);
    });
  }

  it('appears nowhere if an event contains it, but later steps get the event unchanged', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    await stream.put('built', { key: ODD }, cloudEvent({ id: 'Alfa7|Bravo8' }));
    const step = await wait(agentOf(service, { secrets: { ApiKey: ODD, OtherKey: 'Alfa7|Bravo8' } }), {
      subject: stream.subject('built'),
      match: "data.key != 'none'",
    });
    assertSucceeded(step);
    assert.equal((jsonFile(step, 'eventFile') as { data: { key: string } }[])[0]?.data.key, ODD);
    const [receipt, summary] = [readFileSync(step.outputs.get('receiptFile') ?? '', 'utf8'), service.summaries[0]];
    for (const word of WORDS) assert.ok(!receipt.includes(word) && summary?.includes(word) === false, word);
  });

  it('appears nowhere if a condition that contains it is invalid', async () => {
    await using service = await RunService.start();
    for (const match of ['data.key == $(ApiKey)', 'Alfa7-Bravo8 == data.key', 'Alfa7-Bravo8']) {
      const step = await wait(agentOf(service, { secrets: { ApiKey: 'Alfa7-Bravo8 Charlie9' } }), {
        subject: 'built',
        match: match.replace('Alfa7-Bravo8', '$(ApiKey)'),
      });
      assertFailed(step, 'InvalidInput', 'match: is not a JMESPath expression, and holds a secret');
      for (const word of WORDS) assert.ok(!step.rawStdout.includes(word), step.rawStdout);
    }
  });

  it('leaves the log readable if it is an ordinary word', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    const secrets = { Flag: 'true', One: '1', Environment: 'prod', Letter: 'a' };
    const step = await publish(agentOf(service, { secrets }), { subject: stream.subject('prod.v1'), payload: '{}' });
    assertSucceeded(step);
    assert.ok(service.summaries[0]?.includes(`\`${stream.subject('prod.v1')}\``), service.summaries[0]);
    assert.equal((jsonFile(step, 'receiptFile') as { task: string }).task, 'PublishNatsEvent');
  });

  it('is not sent: the step fails before anything is stored, and names the inputs but not the value', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    const step = await publish(agentOf(service, { secrets: { ApiKey: 'Alfa7/Bravo8' } }), {
      subject: stream.subject('built'),
      payload: '{"key":"$(ApiKey)"}',
      headers: 'Tenant: shop\nAuthorization: Bearer $(ApiKey)',
      correlationId: `x-${encodeURIComponent('Alfa7/Bravo8')}`,
      timeout: 'soon',
    });
    assertFailed(
      step,
      'InvalidInput',
      '4 problems with the inputs',
      'timeout: "soon"',
      'payload: holds the value of the secret variable "ApiKey", and secrets aren\'t sent',
      'headers: holds the value of the secret variable "ApiKey"',
      'correlationId: holds the value of the secret variable "ApiKey"',
    );
    for (const word of WORDS) assert.ok(!step.rawStdout.includes(word), step.rawStdout);
    assert.equal(await stream.lastSequence(), 0);
  });

  it('in a file is a warning that names the file, which is still sent', async () => {
    await using service = await RunService.start();
    const stream = await scene.stream();
    const sources = sourcesWith({
      'event.json': { key: ODD },
      // The secret lies over the border of two chunks.
      'lines.txt': `${JSON.stringify('x'.repeat(64 * 1_024 - 20))}\n${JSON.stringify(LONG)}\n`,
      'harmless.json': {},
    });
    const agent = agentOf(service, { sources, secrets: { ApiKey: ODD, LongKey: LONG } });
    for (const [payloadFrom, payloadFile, name] of [
      ['file', 'event.json', 'ApiKey'],
      ['lines', 'lines.txt', 'LongKey'],
      ['file', 'harmless.json', undefined],
    ] as const) {
      const step = await publish(agent, { subject: stream.subject('built'), payloadFrom, payloadFile });
      assertSucceeded(step);
      const file = path.join(agent.variable('System.DefaultWorkingDirectory') ?? '', payloadFile);
      assert.deepEqual(
        step.warnings,
        name === undefined
          ? []
          : [
              `payloadFile: ${file} holds the value of the secret variable "${name}", and anyone who may read the subject can read it. Remove it from the file, or send a reference to it.`,
            ],
      );
    }
    assert.equal(await stream.lastSequence(), 4);
  });
});

describe('What a step leaves', { concurrency: 4 }, () => {
  const scene = Scenario.shared();

  it("behind in files can be read only by the agent's user", async () => {
    const stream = await scene.stream();
    scene.client.subscribe('scan', { callback: (_, message) => void message.respond('ok') });
    await scene.client.flush();
    const steps = [
      await publish(scene.agent(), { subject: stream.subject('built'), payload: '{}' }),
      await publish(scene.agent(), { subject: 'scan', payload: '{}', delivery: 'request' }),
      await wait(scene.agent(), { subject: stream.subject('built') }),
    ];
    const files = steps.flatMap(({ outputs }) =>
      ['receiptFile', 'eventFile', 'replyFile'].flatMap((name) => outputs.get(name) || []),
    );
    assert.equal(files.length, 5);
    // Windows has no such modes: there the folder of the agent decides.
    const ofAgent = process.platform === 'win32' ? [] : files;
    for (const file of ofAgent) assert.equal((statSync(file).mode & 0o777).toString(8), '600', file);
  });

  it('unchecked is never a contract: any folder but the sources folder is refused', async () => {
    const stream = await scene.stream();
    const agent = scene.agent();
    const sources = agent.variable('System.DefaultWorkingDirectory') ?? '';
    const inputs = { subject: stream.subject('built'), payload: '{}' };
    assertSucceeded(await publish(agent, { ...inputs, schemaFile: `${sources}/` }));
    for (const schemaFile of [path.dirname(sources), 'x/../..'])
      assertFailed(await publish(agent, { ...inputs, schemaFile }), 'InvalidInput', 'schemaFile: ', 'is a folder.');
    assertFailed(
      await wait(agent, { subject: inputs.subject, schemaFile: '..' }),
      'InvalidInput',
      'schemaFile: ',
      'is a folder.',
    );
    assert.equal(await stream.lastSequence(), 1);
  });

  it("in the stream under a signed event's id may be from another sender, and the step says so", async () => {
    const stream = await scene.stream();
    const { seed } = createNKey();
    const subject = stream.subject('built');
    await stream.put('built', { forged: true }, { 'Nats-Msg-Id': 'build-1' });
    const inputs = { subject, payload: '{"forged":false}', messageId: 'build-1' };
    const signed = await publish(scene.agent({ secrets: { SigningSeed: seed } }), {
      ...inputs,
      signingKeyVariable: 'SigningSeed',
    });
    assertSucceeded(signed);
    assert.equal(signed.warnings.length, 2);
    assert.match(signed.warnings[0] ?? '', /already holds an event with the message id "build-1"/);
    assert.match(signed.warnings[1] ?? '', /didn't look at what the stream holds .* ids that can't be guessed/);
    assert.equal(verifiedOf(signed), false);
    const unsigned = await publish(scene.agent(), inputs);
    assert.equal(unsigned.warnings.length, 1);
    assert.equal(verifiedOf(unsigned), undefined);
  });
});

function verifiedOf(step: StepRun): unknown {
  return (jsonFile(step, 'receiptFile') as { result: { storedEventVerified: unknown } }).result.storedEventVerified;
}
