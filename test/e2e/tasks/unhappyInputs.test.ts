import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ErrorCode } from '../../../shared/errors.ts';
import { LocalAgent, type Connection, type LocalAgentOptions, type StepRun } from '../../../localAgent/index.ts';
import { assertFailed, publish, sourcesWith, wait } from '../../support/agent/scenario.ts';

describe('What a step refuses before it connects', { concurrency: 4 }, () => {
  let trap: Server;
  let connections = 0;

  before(async () => {
    trap = createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await once(trap.listen(0, '127.0.0.1'), 'listening');
  });
  after(async () => {
    trap.close();
    assert.equal(connections, 0, 'the step connected to NATS');
  });

  function agent(connection: Partial<Connection> = {}, options: LocalAgentOptions = {}): LocalAgent {
    const url = `nats://127.0.0.1:${(trap.address() as AddressInfo).port}`;
    return new LocalAgent({ ...options, connections: { nats: { url, scheme: 'None', ...connection } } });
  }

  /** Each problem of a step, in the order in which they are told. */
  function assertProblems(step: StepRun, code: ErrorCode, ...problems: readonly RegExp[]): void {
    assertFailed(step, code, `${problems.length} problems with the inputs of this step.`);
    assert.equal(step.errors.length, 1);
    const told = step.errors[0]!.split(/ \(\d+\) /).slice(1);
    assert.equal(told.length, problems.length, step.errors[0]);
    for (const [index, problem] of problems.entries()) assert.match(told[index]!, problem);
  }

  it('a publishing step without subject and payload', async () => {
    assertProblems(
      await publish(agent({ data: { publishSubjects: 'ci.>' } }), { subject: '  ', payload: '' }),
      'InvalidInput',
      /^subject: is required\.$/,
      /^payload: is required with payloadFrom: inline\.$/,
    );
  });

  it('a waiting step without a subject', async () => {
    assertFailed(await wait(agent(), { subject: '\n \n' }), 'InvalidInput', 'subject: is required.');
  });

  it('a publishing step with everything wrong: all of it is reported together', async () => {
    assertProblems(
      await publish(
        agent({
          url: 'nats://127.0.0.1:0',
          scheme: 'UsernamePassword',
          data: { servers: 'tls://two.example', caCertificate: 'none', tlsFirst: 'perhaps', inboxPrefix: 'in box' },
        }),
        {
          subject: 'ci..built',
          delivery: 'mail',
          subjectVersion: 'always',
          timeout: '5 minutes',
          payloadFrom: 'file',
          payloadFile: 'nowhere.json',
          schemaFile: 'nowhere.schema.json',
          envelope: 'paper',
          eventType: 'a type',
          eventSource: 'a source',
          contentType: 'json',
          headers: 'no colon\nNats-Msg-Id: 1\nBad Name: x',
          correlationId: 'Grüße',
          messageId: 'x'.repeat(257),
          signingKeyVariable: 'noSuchKey',
          credentialsVariable: 'no-such-secret',
        },
      ),
      'InvalidInput',
      /^subject: "ci\.\.built" has an empty part/,
      /^credentialsVariable: there is no variable "no-such-secret"/,
      /^natsConnection: the connection's URL has port 0\.$/,
      /^natsConnection: the connection's field username is empty\.$/,
      /^natsConnection: the connection's field password is empty\.$/,
      /^natsConnection: the connection's field caCertificate is neither PEM nor base64 of PEM\.$/,
      /^natsConnection: the connection's field tlsFirst is "perhaps", not true or false\.$/,
      /^natsConnection: the connection's field inboxPrefix contains white space/,
      /^delivery: "mail" is not one of jetStream, core/,
      /^subjectVersion: "always" is not one of/,
      /^timeout: "5 minutes" is not a duration/,
      /^payloadFile: there is no file ".*nowhere\.json"\. The job's working directory is empty: add the step checkout: self/,
      /^schemaFile: there is no file ".*nowhere\.schema\.json"\. The job's working directory is empty/,
      /^envelope: "paper" is not one of binary, structured, none/,
      /^eventType: "a type" holds white space/,
      /^eventSource: "a source" holds white space/,
      /^contentType: "json" is not a media type/,
      /^headers: "no colon" is not of the form "Name: value"/,
      /^headers: "Nats-Msg-Id" is reserved/,
      /^headers: "Bad Name" is not a header name/,
      /^correlationId: must be 1 to 256 printable ASCII characters/,
      /^messageId: must be 1 to 256 printable ASCII characters/,
      /^signingKeyVariable: there is no variable "noSuchKey" in this run/,
    );
  });

  it('a waiting step with everything wrong: all of it is reported together', async () => {
    assertProblems(
      await wait(agent(), {
        subject: 'ci.>.built\n$JS.API.>\nci.ok',
        delivery: 'mail',
        timeout: '21d',
        stream: 'C I',
        startFrom: 'time',
        startTime: 'yesterday',
        startSequence: '5',
        schemaFile: 'nowhere.json',
        onInvalid: 'explode',
        match: 'data.a ==',
        failWhen: 'lenght(data)',
        count: '0',
        distinctBy: 'data[',
        trustedKeys: 'UABC',
        maxEventAge: '0s',
        idleTimeout: '-1s',
        onTimeout: 'cry',
        outputs: 'no-equals\na=\nb=data..b\nc=data.c\nC=data.d',
      }),
      'InvalidInput',
      /^subject: "ci\.>\.built" has ">" before its last part/,
      /^subject: "\$JS\.API\.>" begins with "\$"/,
      /^delivery: "mail" is not one of/,
      /^timeout: "21d" is not a duration/,
      /^stream: "C I" is not a name of a stream/,
      /^startSequence: goes with startFrom: sequence only, and startFrom is time/,
      /^startTime: "yesterday" is not a time in ISO 8601/,
      /^schemaFile: there is no file/,
      /^onInvalid: "explode" is not one of skip, fail/,
      /^match: "data\.a ==" is not a JMESPath expression: position 10: it ends too early/,
      /^failWhen: "lenght\(data\)" is not a JMESPath expression: there is no function lenght\(\)/,
      /^count: "0" is not a whole number from 1 to 10000/,
      /^distinctBy: "data\[" is not a JMESPath expression/,
      /^trustedKeys: /,
      /^maxEventAge: "0s" is not a duration/,
      /^idleTimeout: "-1s" is not a duration/,
      /^onTimeout: "cry" is not one of fail, warn, succeed/,
      /^outputs: "no-equals" is not of the form name=JMESPath/,
      /^outputs: "a=" is not of the form/,
      /^outputs: b: "data\.\.b" is not a JMESPath expression/,
      /^outputs: the name "C" is given twice/,
    );
  });

  it('the sources folder in place of a required file', async () => {
    const sources = sourcesWith({ 'a.json': '{}' });
    assertFailed(
      await publish(agent({}, { sources }), { subject: 'ci.v1', payloadFrom: 'file', payloadFile: '.' }),
      'InvalidInput',
      'payloadFile: is required with payloadFrom: file, and must not be a directory.',
    );
  });

  it('a pipe, a socket or a device in place of a file, at once and without opening it', async () => {
    const sources = sourcesWith({ 'to-pipe.json': { $ref: 'pipe' }, 'to-device.json': { $ref: 'device' } });
    assert.equal(spawnSync('mkfifo', [path.join(sources, 'pipe')]).status, 0);
    symlinkSync('/dev/zero', path.join(sources, 'device'));
    const socket = createServer();
    await once(socket.listen(path.join(sources, 'socket')), 'listening');
    const cases = [
      ['pipe', 'named pipe'],
      ['socket', 'socket'],
      ['device', 'device'],
      ['/dev/zero', 'device'],
      ['/dev/stdin', 'device'],
    ].flatMap(([file = '', kind = '']) => [
      { inputs: { payloadFrom: 'file', payloadFile: file }, name: 'payloadFile', kind },
      { inputs: { payloadFrom: 'lines', payloadFile: file }, name: 'payloadFile', kind },
      { inputs: { payload: '{}', schemaFile: file }, name: 'schemaFile', kind },
      { inputs: { payload: '{}', delivery: 'request', replySchemaFile: file }, name: 'replySchemaFile', kind },
    ]);
    cases.push({ inputs: { payload: '{}', schemaFile: 'to-pipe.json' }, name: '$ref', kind: 'named pipe' });
    cases.push({ inputs: { payload: '{}', schemaFile: 'to-device.json' }, name: '$ref', kind: 'device' });
    for (const { inputs, name, kind } of cases) {
      const step = await publish(agent({}, { sources }), { subject: 'ci.v1', timeout: '10m', ...inputs });
      assertFailed(step, 'InvalidInput', name, `can't be read: it is a ${kind}, not a regular file.`);
      assert.ok(step.durationMs < 10_000, `it took ${step.durationMs} ms`);
    }
    assertFailed(
      await wait(agent({}, { sources }), { subject: 'ci.>', schemaFile: 'pipe' }),
      'InvalidInput',
      "can't be read: it is a named pipe, not a regular file.",
    );
    socket.close();
  });

  it('an inline payload of more than 30,000 characters, suggesting a file', async () => {
    assertFailed(
      await publish(agent(), { subject: 'ci.v1', payload: 'x'.repeat(30_001) }),
      'InvalidInput',
      'payload: has more than 30000 characters. Write it to a file and use payloadFrom: file.',
    );
  });

  it('a subject to wait on outside the guardrails of the connection', async () => {
    const data = { publishSubjects: 'ci.*.v1, qa.>', waitSubjects: 'ci.>\ndeploy.*' };
    assertFailed(
      await wait(agent({ data }), { subject: 'ci.built\ndeploy.>' }),
      'Denied',
      'subject: "deploy.>" is outside what the service connection allows (waitSubjects: ci.>, deploy.*)',
    );
  });

  it('an invalid signing key, masked before anything is logged', async () => {
    const step = await publish(agent({}, { secrets: { seed: 'no seed at all' } }), {
      ...{ subject: 'ci.built', payload: '{}', subjectVersion: 'warn', signingKeyVariable: 'seed' },
    });
    assertFailed(step, 'InvalidInput', 'signingKeyVariable: The NKey has characters other than');
    const commands = step.rawStdout.split('\n').filter((line) => /^##vso\[task\.(setsecret|logissue)/.test(line));
    assert.equal(commands[0], '##vso[task.setsecret]no seed at all');
    assert.match(commands.at(-2) ?? '', /type=warning;\]The subject "ci\.built" has no version part/);
  });

  it("a payload that isn't JSON although it has a schema", async () => {
    const sources = sourcesWith({ 'image.json': {} });
    const step = await publish(agent({}, { sources }), { subject: 'ci.v1', payload: 'text', schemaFile: 'image.json' });
    assertFailed(step, 'ContractViolation', 'The payload is not JSON', 'image.json');
  });

  it("a startFrom that core NATS can't have", async () => {
    for (const startFrom of ['all', 'lastPerSubject'])
      assertFailed(
        await wait(agent(), { subject: 'ci.>', delivery: 'core', startFrom }),
        'InvalidInput',
        `startFrom: ${startFrom} needs delivery: jetStream, since core NATS keeps no events.`,
      );
  });

  it('a startFrom without its sequence or time', async () => {
    assertFailed(
      await wait(agent(), { subject: 'ci.>', startFrom: 'sequence' }),
      'InvalidInput',
      'startSequence: is required with startFrom: sequence.',
    );
    assertFailed(
      await wait(agent(), { subject: 'ci.>', startFrom: 'time' }),
      'InvalidInput',
      'startTime: is required with startFrom: time.',
    );
  });

  it('startFrom: runStart if the start of the run is unknown', async () => {
    assertFailed(
      await wait(agent({}, { variables: { 'System.PipelineStartTime': undefined } }), { subject: 'ci.>' }),
      'InvalidInput',
      'startFrom: runStart needs the variable System.PipelineStartTime',
    );
  });
});
