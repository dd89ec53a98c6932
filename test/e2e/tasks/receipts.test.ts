import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { ERROR_CODES } from '../../../shared/errors.ts';
import { createNKey } from '../../support/nats/natsAccounts.ts';
import { startNatsServer } from '../../support/nats/natsServer.ts';
import { beginWait, jsonFile, publish, Scenario, sourcesWith, wait } from '../../support/agent/scenario.ts';
import { cloudEvent } from '../../support/event.ts';
import type { StepRun } from '../../../localAgent/index.ts';

type Json = Record<string, unknown>;

const SOURCES = sourcesWith({
  'number.schema.json': { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] },
  'lines.txt': '{"n":1}\n{"n":2}\n{"n":3}\n',
});
/** A user who may do nothing. */
const NO_PERMISSIONS = `authorization { users: [{ user: nobody, password: secret, permissions: { publish: "_", subscribe: "_INBOX.>" } }] }`;

function schemaOf(task: 'publish' | 'wait'): { schema: Json; isValid: ValidateFunction } {
  const file = path.join(ROOT, 'docs', 'receipts', `${task}-receipt.v1.schema.json`);
  const schema = JSON.parse(readFileSync(file, 'utf8')) as Json;
  return { schema, isValid: new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(schema) };
}

/** The step's receipt fits its schema, and says this error. */
function assertReceipt(step: StepRun, task: 'publish' | 'wait', error: string | null): Json {
  const { isValid } = schemaOf(task);
  const receipt = jsonFile(step, 'receiptFile') as Json & { result: Json };
  isValid(receipt);
  assert.deepEqual(isValid.errors, null, JSON.stringify(receipt, null, 1));
  assert.equal(receipt.result['error'], error, step.logText);
  return receipt;
}

describe('The receipt of a publishing step fits its schema', { concurrency: 3 }, () => {
  const scene = Scenario.shared();
  const agent = (options: Parameters<Scenario['agent']>[0] = {}) => scene.agent({ sources: SOURCES, ...options });

  it('when the stream has stored an event, and when it had it before', async () => {
    const stream = await scene.stream();
    const { seed } = createNKey();
    const inputs = {
      ...{ subject: stream.subject('built'), payload: '{"n":1}', messageId: 'one', schemaFile: 'number.schema.json' },
      ...{ signingKeyVariable: 'SigningSeed', envelope: 'structured' },
    };
    for (const duplicate of [false, true]) {
      const receipt = assertReceipt(await publish(agent({ secrets: { SigningSeed: seed } }), inputs), 'publish', null);
      assert.equal((receipt['result'] as Json)['duplicate'], duplicate);
    }
  });

  it('when an event goes to core NATS', async () => {
    const inputs = { subject: 'core.built', payload: 'text', delivery: 'core', envelope: 'none' };
    assertReceipt(await publish(agent(), inputs), 'publish', null);
  });

  it('when a request is answered, well or not, or by nobody', async () => {
    const subscription = scene.client.subscribe('scan', {
      callback: (_, message) => void message.respond('{"n":"no number"}'),
    });
    const inputs = { subject: 'scan', payload: '{}', delivery: 'request' };
    assertReceipt(await publish(agent(), inputs), 'publish', null);
    const strict = { ...inputs, replySchemaFile: 'number.schema.json' };
    assertReceipt(await publish(agent(), strict), 'publish', 'ContractViolation');
    subscription.unsubscribe();
    assertReceipt(await publish(agent(), { ...inputs, subject: 'nobody' }), 'publish', 'NoResponders');
  });

  it('when the lines of a file are stored, or not all of them', async () => {
    const lines = { payloadFrom: 'lines', payloadFile: 'lines.txt' };
    const stream = await scene.stream();
    assertReceipt(await publish(agent(), { ...lines, subject: stream.subject('built') }), 'publish', null);
    const full = await scene.stream({ max_msgs: 2, discard: 'new' as never });
    const receipt = assertReceipt(
      await publish(agent(), { ...lines, subject: full.subject('built') }),
      'publish',
      'Incomplete',
    );
    assert.equal((receipt['result'] as Json)['confirmed'], 2);
  });

  it('when no stream, or another one, captures the subject', async () => {
    const stream = await scene.stream();
    const inputs = { subject: stream.subject('built'), payload: '{}', stream: 'OTHER' };
    assertReceipt(await publish(agent(), inputs), 'publish', 'Conflict');
    assertReceipt(await publish(agent(), { subject: 'nowhere', payload: '{}' }), 'publish', 'NoStream');
  });

  it('when the stream does not take the event', async () => {
    const full = await scene.stream({ max_msgs: 1, discard: 'new' as never });
    await full.put('built');
    const refused = await publish(agent(), { subject: full.subject('built'), payload: '{}' });
    assertReceipt(refused, 'publish', 'StreamRefused');
    const small = await scene.stream({ max_msg_size: 100 });
    assertReceipt(await publish(agent(), { subject: small.subject('built'), payload: '{}' }), 'publish', 'TooLarge');
  });

  it('when the user may not publish', async () => {
    await using server = await startNatsServer({ config: NO_PERMISSIONS });
    assertReceipt(
      await publish(agent({ connection: nobodyOn(server.url) }), { subject: 'a', payload: '{}' }),
      'publish',
      'Denied',
    );
  });

  it('when nobody confirms in time, or the run is cancelled meanwhile', async () => {
    const silent = await scene.stream({ no_ack: true });
    const inputs = { subject: silent.subject('built'), payload: '{}' };
    assertReceipt(await publish(agent(), { ...inputs, timeout: '4s' }), 'publish', 'Timeout');
    const cancel = new AbortController();
    const subscription = scene.client.subscribe(silent.subject('>'), { callback: () => cancel.abort(), max: 1 });
    await scene.client.flush();
    assertReceipt(await publish(agent({ signal: cancel.signal }), inputs), 'publish', 'Cancelled');
    subscription.unsubscribe();
  });

  it('when the server goes away for good', async () => {
    await using lost = await Scenario.start();
    const silent = await lost.stream({ no_ack: true });
    const stopped = new Promise<void>((resolve) => {
      lost.client.subscribe(silent.subject('>'), { callback: () => void lost.server.stop().then(resolve), max: 1 });
    });
    await lost.client.flush();
    const inputs = { subject: silent.subject('built'), payload: '{}', timeout: '4s' };
    const step = await publish(lost.agent(), inputs);
    await stopped;
    assertReceipt(step, 'publish', 'ConnectionLost');
  });
});

describe('The receipt of a waiting step fits its schema', { concurrency: 3 }, () => {
  const scene = Scenario.shared();
  const agent = (options: Parameters<Scenario['agent']>[0] = {}) => scene.agent({ sources: SOURCES, ...options });

  it('when the event came, from another sender or signed by a pipeline', async () => {
    const stream = await scene.stream();
    const { seed, publicKey } = createNKey();
    await stream.put('plain', 'no CloudEvent');
    assertReceipt(await wait(agent(), { subject: stream.subject('plain') }), 'wait', null);
    const signed = { subject: stream.subject('signed'), payload: '{"n":1}', signingKeyVariable: 'SigningSeed' };
    await publish(agent({ secrets: { SigningSeed: seed } }), signed);
    const step = await wait(agent(), {
      ...{ subject: stream.subject('signed'), trustedKeys: publicKey, schemaFile: 'number.schema.json' },
      ...{ match: 'data.n' },
    });
    const { what } = assertReceipt(step, 'wait', null) as { what: { events: Json[] } };
    assert.equal(what.events[0]?.['signedBy'], publicKey);
  });

  it('when the event came through core NATS', async () => {
    const { ended } = await beginWait(agent(), { subject: 'core.built', delivery: 'core' });
    scene.client.publish('core.built', 'x');
    assertReceipt(await ended, 'wait', null);
  });

  it('when an event says no, breaks its contract, or cannot be handed on', async () => {
    const stream = await scene.stream();
    await stream.put('built', { n: '$(x)' }, cloudEvent());
    const subject = stream.subject('built');
    assertReceipt(await wait(agent(), { subject, failWhen: 'data.n' }), 'wait', 'Negative');
    const strict = { subject, schemaFile: 'number.schema.json', onInvalid: 'fail' };
    assertReceipt(await wait(agent(), strict), 'wait', 'ContractViolation');
    const unsafe = assertReceipt(await wait(agent(), { subject, outputs: 'n=data.n' }), 'wait', 'ContractViolation');
    assert.equal((unsafe['result'] as Json)['verdict'], 'error');
  });

  it('when the time is over', async () => {
    const stream = await scene.stream();
    await stream.put('built', { region: 'eu' });
    const inputs = { subject: stream.subject('built'), timeout: '4s', distinctBy: 'data.region' };
    const { result } = assertReceipt(await wait(agent(), { ...inputs, expect: 'eu\nus' }), 'wait', 'Timeout');
    assert.deepEqual((result as Json)['missing'], ['us']);
    assertReceipt(await wait(agent(), { ...inputs, count: '3', onTimeout: 'succeed' }), 'wait', 'Timeout');
  });

  it('when there is no stream, no permission or no server', async () => {
    assertReceipt(await wait(agent(), { subject: 'nowhere' }), 'wait', 'NoStream');
    await using server = await startNatsServer({ config: NO_PERMISSIONS });
    const connection = nobodyOn(server.url);
    assertReceipt(await wait(agent({ connection }), { subject: 'a' }), 'wait', 'Denied');
    const unreachable = await wait(agent({ connection: { url: 'nats://127.0.0.1:1' } }), {
      subject: 'a',
      timeout: '1s',
    });
    assertReceipt(unreachable, 'wait', 'Unreachable');
  });

  it('when the run is cancelled', async () => {
    const stream = await scene.stream();
    const cancel = new AbortController();
    const { ended } = await beginWait(agent({ signal: cancel.signal }), { subject: stream.subject('built') });
    cancel.abort();
    assertReceipt(await ended, 'wait', 'Cancelled');
  });

  it('when the server goes away for good', async () => {
    await using lost = await Scenario.start();
    const stream = await lost.stream();
    const { ended } = await beginWait(lost.agent(), { subject: stream.subject('built'), timeout: '4s' });
    await lost.server.stop();
    const { result } = assertReceipt(await ended, 'wait', 'ConnectionLost');
    assert.equal(((result as Json)['linkBreaks'] as Json)['count'], 1);
  });

  it('which takes no other member anywhere, and knows every error code', async () => {
    const stream = await scene.stream();
    const published = await publish(agent(), { subject: stream.subject('built'), payload: '{"n":1}' });
    const waited = await wait(agent(), { subject: stream.subject('built') });
    for (const [step, task] of [
      [published, 'publish'],
      [waited, 'wait'],
    ] as const) {
      const { schema, isValid } = schemaOf(task);
      const receipt = assertReceipt(step, task, null);
      const objects = objectsIn(receipt);
      assert.ok(objects.length >= 6, 'the receipt itself and its parts');
      for (const object of objects) {
        object['payload'] = 'x';
        assert.equal(isValid(receipt), false, JSON.stringify(object));
        delete object['payload'];
      }
      assert.equal(isValid(receipt), true);
      assert.deepEqual((schema['$defs'] as { errorCode: Json }).errorCode, { enum: [...ERROR_CODES] });
    }
  });
});

function nobodyOn(url: string) {
  return { url, scheme: 'UsernamePassword', parameters: { username: 'nobody', password: 'secret' } };
}

/** A value's objects, itself included. */
function objectsIn(value: unknown): Json[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.values(value).flatMap(objectsIn);
  return Array.isArray(value) ? inner : [value as Json, ...inner];
}
