import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { headers as newHeaders, type Msg, type MsgHdrs } from 'nats';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  jsonFile,
  natsHeaders,
  publish,
  Scenario,
  sourcesWith,
  underEachNode,
} from '../../support/agent/scenario.ts';
import { TcpProxy } from '../../support/nats/tcpProxy.ts';

let subjects = 0;

/** Answers requests on a new subject until the scenario ends; returns the subject and what was asked so far. */
async function responder(
  scene: Scenario,
  answer: (request: Msg) => void,
): Promise<{ readonly subject: string; readonly asked: Msg[] }> {
  const subject = `service.s${++subjects}.v1`;
  const asked: Msg[] = [];
  scene.client.subscribe(subject, {
    callback: (_error, request) => {
      asked.push(request);
      answer(request);
    },
  });
  await scene.client.flush();
  return { subject, asked };
}

underEachNode('A request', (scene, it) => {
  it('gets a reply, whose bytes are written to a file', async () => {
    const bytes = Buffer.from([0, 255, 13, 10, 36, 40, 120, 41]);
    const { subject, asked } = await responder(scene, (request) => request.respond(bytes));
    const step = await publish(scene.agent(), {
      subject,
      payload: '{"deploy":"shop"}',
      delivery: 'request',
      messageId: 'ask-1',
    });
    assertSucceeded(step);
    assert.deepEqual(readFileSync(step.outputs.get('replyFile') ?? ''), bytes);
    assertOutputs(step, { subject, messageId: 'ask-1', stream: '', sequence: '', duplicate: 'false', count: '1' });
    assert.equal(asked.length, 1);
    const [request] = asked;
    assert.equal(request?.string(), '{"deploy":"shop"}');
    assert.equal(request.headers?.get('Nats-Msg-Id'), 'ask-1');
    assert.equal(request.headers.get('ce-id'), 'ask-1');
    const { where, result } = jsonFile(step, 'receiptFile') as { where: unknown; result: Record<string, unknown> };
    assert.deepEqual((where as { delivery: string }).delivery, 'request');
    assert.equal(result['published'], true);
  });

  it('may get an empty reply', async () => {
    const { subject } = await responder(scene, (request) => request.respond());
    const step = await publish(scene.agent(), { subject, payload: 'ping', delivery: 'request' });
    assertSucceeded(step);
    assert.equal(readFileSync(step.outputs.get('replyFile') ?? '').length, 0);
  });

  it('fails at once if nobody listens', async () => {
    const step = await publish(scene.agent(), {
      subject: 'service.nobody.v1',
      payload: '{}',
      delivery: 'request',
    });
    assertFailed(step, 'NoResponders', 'service.nobody.v1');
    assert.ok(step.durationMs < 10_000, `it took ${step.durationMs} ms`);
    assertOutputs(step, { count: '0', failedCount: '1', replyFile: '' });
  });

  it('fails at its deadline if the reply is late, and is not sent twice', async () => {
    let answered: Promise<boolean> | undefined;
    const { subject, asked } = await responder(scene, (request) => {
      answered = delay(4_000).then(() => request.respond('late'));
    });
    const step = await publish(scene.agent(), { subject, payload: '{}', delivery: 'request', timeout: '4s' });
    assertFailed(step, 'Timeout', `No reply to the request on "${subject}"`, 'Whether it was acted upon is not known');
    assert.ok(step.durationMs < 8_000, `it took ${step.durationMs} ms`);
    assert.equal(await answered, true);
    assert.equal(asked.length, 1);
  });

  it('can check its reply against a schema', async () => {
    const schema = { type: 'object', properties: { accepted: { const: true } }, required: ['accepted'] };
    const agent = scene.agent({ sources: sourcesWith({ 'reply.schema.json': schema }) });
    for (const [reply, problem] of [
      ['{"accepted":true}', undefined],
      ['{"accepted":false}', '/accepted: must be true'],
      ['{}', 'must have property "accepted"'],
      ['yes', 'it is not JSON'],
    ] as const) {
      const { subject } = await responder(scene, (request) => request.respond(reply));
      const step = await publish(agent, {
        subject,
        payload: '{}',
        delivery: 'request',
        replySchemaFile: 'reply.schema.json',
      });
      if (problem === undefined) assertSucceeded(step);
      else assertFailed(step, 'ContractViolation', 'The reply breaks the schema', problem);
      assert.equal(readFileSync(step.outputs.get('replyFile') ?? '', 'utf8'), reply);
    }
  });

  it('reports an error reply from a NATS service', async () => {
    const fields = natsHeaders({ 'Nats-Service-Error': 'no such shop', 'Nats-Service-Error-Code': '404' });
    const { subject } = await responder(scene, (request) => request.respond('', { headers: fields }));
    const step = await publish(scene.agent(), { subject, payload: '{}', delivery: 'request' });
    assertSucceeded(step);
    assert.match(step.warnings.join('\n'), /The responder answered with an error: 404 no such shop/);
  });

  it("warns if the reply is a stream's ack and not a service's", async () => {
    const { name, prefix } = await scene.stream();
    const step = await publish(scene.agent(), {
      subject: `${prefix}.ask.v1`,
      payload: '{}',
      delivery: 'request',
    });
    assertSucceeded(step);
    assert.deepEqual(step.warnings, [
      `The reply is the acknowledgement of the stream "${name}", which captures the subject, and not the answer of a service. Send requests to a subject that no stream captures.`,
    ]);
  });

  it('accepts a reply with a lone CR in a header', async () => {
    const encode = () => Buffer.from('NATS/1.0\r\nNats-Service-Error: no\rsuch shop\r\n\r\n');
    const { subject } = await responder(scene, (request) =>
      request.respond('{}', { headers: { encode } as unknown as MsgHdrs }),
    );
    const step = await publish(scene.agent(), { subject, payload: '{}', delivery: 'request' });
    assertSucceeded(step);
    assert.match(step.warnings.join('\n'), /The responder answered with an error: no.+such shop/);
  });

  it("may get a reply with a logging command, which the agent doesn't run", async () => {
    const fields = newHeaders();
    fields.set('Nats-Service-Error', '##vso[task.setvariable variable=hacked]1');
    const { subject } = await responder(scene, (request) =>
      request.respond('##vso[task.setvariable variable=hacked]1', { headers: fields }),
    );
    const agent = scene.agent();
    assertSucceeded(await publish(agent, { subject, payload: '{}', delivery: 'request' }));
    assert.equal(agent.variable('hacked'), undefined);
  });
});

it("A request whose link breaks before the reply isn't sent again, and says that the outcome is unknown", async () => {
  await using scene = await Scenario.start();
  await using proxy = await TcpProxy.start(scene.server.port);
  const { subject, asked } = await responder(scene, () => {
    proxy.cut();
    proxy.mend();
  });
  const agent = scene.agent({ connection: { url: proxy.url } });
  const step = await publish(agent, { subject, payload: '{}', delivery: 'request' });
  assertFailed(step, 'ConnectionLost', `the request on "${subject}"`, 'Whether it was acted upon is not known');
  assert.equal(asked.length, 1);
});
