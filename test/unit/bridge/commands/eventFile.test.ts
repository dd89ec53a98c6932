import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventInFile } from '../../../../bridge/commands/eventFile.ts';
import { ReceivedEvent } from '../../../../shared/event/receivedEvent.ts';
import { cloudEvent, messageOf } from '../../../support/event.ts';
import { routeOf } from '../../../support/bridge/routes.ts';

const NOW = Date.UTC(2026, 10, 29);

function read(text: string | Buffer): ReceivedEvent {
  return new ReceivedEvent(eventInFile(Buffer.from(text), routeOf({ subjects: ['ci.image'] }), NOW));
}

test("a CloudEvent in JSON is that event, on the route's subject", () => {
  const event = read(JSON.stringify({ specversion: '1.0', id: 'e-1', source: '/x', type: 't', data: { a: 1 } }));
  assert.deepEqual([event.subject, event.messageId, event.data], ['ci.image', 'e-1', { a: 1 }]);
});

test('a file that a wait wrote is the event it got, in any envelope', () => {
  const structured = JSON.stringify({ specversion: '1.0', id: 'e-1', source: '/x', type: 't', data: { a: [1, 'ü'] } });
  for (const message of [
    messageOf('{"a":[1,"ü"]}', cloudEvent({ id: 'e-1', correlationid: 'c' })),
    messageOf(structured, { 'content-type': 'application/cloudevents+json' }),
    messageOf(structured),
    messageOf('a text', { 'nats-msg-id': 'm' }),
    messageOf(Buffer.from([0xff, 0]), cloudEvent()),
    messageOf('', { 'x-own': ['1', '2'] }),
  ]) {
    const given = new ReceivedEvent(message);
    const { subject, data, dataBase64, event, headers } = read(JSON.stringify(given.view)).view;
    const before = given.view;
    assert.deepEqual(
      { subject, dataBase64, headers },
      {
        ...{ subject: before.subject, dataBase64: before.dataBase64, headers: before.headers },
      },
    );
    assert.deepEqual([data, { ...event }], [before.data, { ...before.event }]);
  }
});

test('a header written by hand may have any case', () => {
  const event = read(JSON.stringify({ subject: 'ci.x', headers: { 'Nats-Msg-Id': 'm' }, data: 1 }));
  assert.deepEqual([event.messageId, event.data], ['m', 1]);
});

test('anything else is the data of an event without attributes', () => {
  for (const text of ['{"image":"web:1"}', 'a text', '[1]', '', '{"subject":"ci.x"}']) {
    const event = read(text);
    assert.equal(event.subject, 'ci.image', text);
    assert.equal(Buffer.from(event.message.payload).toString(), text);
    assert.deepEqual({ ...event.attributes }, {});
  }
});
