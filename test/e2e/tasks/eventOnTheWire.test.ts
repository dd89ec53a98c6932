import assert from 'node:assert/strict';
import {
  assertSucceeded,
  eventsOf,
  outputsOf,
  publish,
  sourcesWith,
  underEachNode,
  wait,
} from '../../support/agent/scenario.ts';

underEachNode('An event on the wire', (scene, it) => {
  for (const envelope of ['binary', 'structured', 'none']) {
    it(`the ${envelope} envelope carries what a wait reads back`, async () => {
      const stream = await scene.stream();
      const subject = stream.subject('built.v1');
      const agent = scene.agent();
      const payload = '{"image":"web","size":1.10}';
      const published = await publish(agent, {
        subject,
        payload,
        envelope,
        messageId: 'build-1',
        correlationId: 'c-1',
        headers: 'Content-Language: de',
      });
      assertSucceeded(published);
      const { traceparent = '' } = outputsOf(published);
      const { data, header } = await stream.stored(1);
      const text = Buffer.from(data).toString();
      assert.equal(header.get('Nats-Msg-Id'), 'build-1');
      assert.equal(header.get('Content-Language'), 'de');
      assert.equal(header.get('traceparent'), traceparent);
      if (envelope === 'structured') {
        assert.equal(header.get('Content-Type'), 'application/cloudevents+json');
        assert.ok(text.endsWith(`"data":${payload}}`), text);
        const { specversion, id, type, correlationid } = JSON.parse(text) as Record<string, string>;
        assert.deepEqual([specversion, id, type, correlationid], ['1.0', 'build-1', subject, 'c-1']);
      } else {
        assert.equal(text, payload);
        assert.equal(header.get('Correlation-Id'), envelope === 'none' ? 'c-1' : '');
        assert.equal(header.get('ce-id'), envelope === 'none' ? '' : 'build-1');
      }
      const waited = await wait(agent, { subject, correlationId: 'c-1', match: "data.image == 'web'" });
      assertSucceeded(waited);
      const outputs = outputsOf(waited);
      assert.deepEqual(
        [outputs['messageId'], outputs['correlationId'], outputs['traceparent']],
        ['build-1', 'c-1', traceparent],
      );
      assert.equal(eventsOf(waited)[0]?.event['type'], envelope === 'none' ? undefined : subject);
    });
  }

  it('a file is published byte for byte, and read by its content type', async () => {
    const stream = await scene.stream();
    const subject = stream.subject('file');
    const files: Record<string, { bytes: Buffer; type: string; data: unknown; base64?: true }> = {
      binary: {
        bytes: Buffer.from([0, 255, 254, 10, 13, 0x80]),
        type: 'application/octet-stream',
        data: null,
        base64: true,
      },
      bom: { bytes: Buffer.from('\ufeff{"a": 1}\r\n'), type: 'application/json', data: { a: 1 } },
      numbers: {
        bytes: Buffer.from('[1.10, 12345678901234567890, 1e400]'),
        type: 'application/json',
        data: [1.1, 12345678901234567000, Infinity],
      },
      text: {
        bytes: Buffer.from(' plain\t"text" ü\n'),
        type: 'application/octet-stream',
        data: ' plain\t"text" ü\n',
      },
      empty: { bytes: Buffer.alloc(0), type: 'application/octet-stream', data: '' },
    };
    const sources = sourcesWith(Object.fromEntries(Object.entries(files).map(([name, { bytes }]) => [name, bytes])));
    const agent = scene.agent({ sources });
    for (const [payloadFile, { bytes, type }] of Object.entries(files)) {
      const published = await publish(agent, { subject, payloadFrom: 'file', payloadFile });
      assertSucceeded(published);
      const message = await stream.stored(Number(published.outputs.get('sequence')));
      assert.deepEqual(Buffer.from(message.data), bytes, payloadFile);
      assert.equal(message.header.get('ce-datacontenttype'), type, payloadFile);
    }
    const step = await wait(agent, { subject, count: String(Object.keys(files).length) });
    assertSucceeded(step);
    assert.deepEqual(
      eventsOf(step).map(({ data, dataBase64 }) => [data, dataBase64]),
      Object.values(files).map(({ bytes, data, base64 }) => [data, base64 ? bytes.toString('base64') : null]),
    );
  });
});
