import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  assertFailed,
  assertOutputs,
  assertSucceeded,
  headerFields,
  jsonFile,
  publish,
  Scenario,
  sourcesWith,
  wait,
} from '../../support/agent/scenario.ts';

const TYPE = 'dev.cdevents.service.deployed.0.3.0';

function cdEvent(context: object = {}, subject: object = {}): object {
  return {
    context: {
      specversion: '0.5.1',
      id: 'deployment 7',
      source: '/shop/région',
      type: TYPE,
      timestamp: '2026-03-01T08:00:00+01:00',
      ...context,
    },
    subject: { id: 'shop/web', content: { environment: { id: 'prod' }, artifactId: 'pkg:oci/web@1' }, ...subject },
  };
}

describe('A CDEvent', { concurrency: 4 }, () => {
  const scene = Scenario.shared();

  for (const envelope of ['binary', 'structured']) {
    it(`sets the attributes of the ${envelope} envelope, and a wait sees them`, async () => {
      const stream = await scene.stream();
      const agent = scene.agent();
      const payload = JSON.stringify(cdEvent());
      const step = await publish(agent, { subject: stream.subject('cd'), payload, eventType: TYPE, envelope });
      assertSucceeded(step);
      assertOutputs(step, { messageId: 'deployment 7' });
      assert.match((await stream.stored(1)).header.get('Nats-Msg-Id'), /^deployment 7\.[\w-]{22}$/);
      const waited = await wait(agent, {
        subject: stream.subject('cd'),
        outputs: 'event=event\ndata=data',
        correlationId: step.outputs.get('correlationId') ?? '',
      });
      assertSucceeded(waited);
      const { id, source, type, time, subject, datacontenttype } = JSON.parse(waited.outputs.get('event.event') ?? '');
      assert.deepEqual(
        { id, source, type, time, subject, datacontenttype },
        {
          id: 'deployment 7',
          source: '/shop/région',
          type: TYPE,
          time: '2026-03-01T08:00:00+01:00',
          subject: 'shop/web',
          datacontenttype: 'application/json',
        },
      );
      assert.deepEqual(JSON.parse(waited.outputs.get('event.data') ?? ''), cdEvent());
    });
  }

  for (const [what, payload, ...texts] of [
    ['without context', { subject: { id: '1' } }, 'context.id is missing'],
    ['without id', cdEvent({ id: undefined }), 'context.id is missing'],
    ['with a number as its id', cdEvent({ id: 7 }), 'context.id is missing or not a string'],
    ['without source', cdEvent({ source: '' }), 'context.source is missing'],
    ['without subject', cdEvent({}, { id: undefined }), 'subject.id is missing'],
    ['with a timestamp that is none', cdEvent({ timestamp: 'yesterday' }), '"yesterday", which is not a time'],
    ['of another type', cdEvent({ type: 'dev.cdevents.service.removed.0.3.0' }), 'service.removed', `not "${TYPE}"`],
    ['that is no object', null, 'context.id is missing'],
  ] as const) {
    it(`${what} is refused, and nothing is sent`, async () => {
      const stream = await scene.stream();
      const step = await publish(scene.agent(), {
        subject: stream.subject('cd'),
        payload: JSON.stringify(payload),
        eventType: TYPE,
      });
      assertFailed(step, 'ContractViolation', ...texts);
      assert.equal(await stream.lastSequence(), 0);
    });
  }

  it('may share its id with one from another source: the stream keeps both, and drops repeats', async () => {
    const stream = await scene.stream();
    const subject = stream.subject('cd');
    for (const [source, duplicate] of [
      ['/one', 'false'],
      ['/two', 'false'],
      ['/one', 'true'],
    ] as const) {
      const payload = JSON.stringify(cdEvent({ source }));
      const step = await publish(scene.agent(), { subject, payload, eventType: TYPE });
      assertOutputs(step, { messageId: 'deployment 7', duplicate });
    }
    assert.equal(await stream.lastSequence(), 2);
    const waited = await wait(scene.agent(), { subject, count: '2' });
    assertSucceeded(waited);
  });

  it("can't have any other message id than its own", async () => {
    const step = await publish(scene.agent(), {
      subject: 'cd.v1',
      payload: JSON.stringify(cdEvent()),
      eventType: TYPE,
      messageId: 'another',
    });
    assertFailed(step, 'InvalidInput', 'messageId', '"deployment 7"');
  });

  it('has its own source in the receipt, whatever eventSource says', async () => {
    const lines = [cdEvent({ source: '/first' }), cdEvent({ source: '/last' })].map((event) => JSON.stringify(event));
    const agent = scene.agent({ sources: sourcesWith({ 'events.ndjson': lines.join('\n') }) });
    const inputs = { subject: (await scene.stream()).subject('cd'), eventType: TYPE, eventSource: 'an old one' };
    for (const [source, payload] of [
      ['/shop/région', { payload: JSON.stringify(cdEvent()) }],
      ['/last', { payloadFrom: 'lines', payloadFile: 'events.ndjson' }],
    ] as const) {
      const step = await publish(agent, { ...inputs, ...payload });
      assertSucceeded(step);
      assert.ok(step.warnings.includes('eventSource is ignored: a CDEvent names its source itself.'), step.logText);
      assert.equal((jsonFile(step, 'receiptFile') as { what: { source: string } }).what.source, source);
    }
  });

  it('may be on each line of a file: each has the id of its own context', async () => {
    const stream = await scene.stream();
    const ids = ['a', 'b', 'c'];
    const lines = ids.map((id) => JSON.stringify(cdEvent({ id }))).join('\n');
    const step = await publish(scene.agent({ sources: sourcesWith({ 'events.ndjson': lines }) }), {
      subject: stream.subject('cd'),
      payloadFrom: 'lines',
      payloadFile: 'events.ndjson',
      eventType: TYPE,
    });
    assertSucceeded(step);
    assertOutputs(step, { messageId: 'c', count: '3', duplicateCount: '0' });
    for (const [index, id] of ids.entries()) {
      const headers = new Map(headerFields((await stream.stored(index + 1)).header));
      assert.equal(headers.get('ce-id'), id);
    }
  });

  it('that is invalid on one line of a file keeps all lines from being sent', async () => {
    const stream = await scene.stream();
    const lines = [cdEvent({ id: 'a' }), cdEvent({ id: 'b', source: 7 })].map((event) => JSON.stringify(event));
    const step = await publish(scene.agent({ sources: sourcesWith({ 'events.ndjson': lines.join('\n') }) }), {
      subject: stream.subject('cd'),
      payloadFrom: 'lines',
      payloadFile: 'events.ndjson',
      eventType: TYPE,
    });
    assertFailed(step, 'ContractViolation', 'line 2: The payload is not a CDEvent: context.source is missing');
    assert.equal(await stream.lastSequence(), 0);
  });
});
