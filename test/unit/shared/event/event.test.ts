import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OutgoingMessage, ReceivedMessage } from '../../../../shared/bus.ts';
import { TaskError } from '../../../../shared/errors.ts';
import {
  cleanAttribute,
  decodeAttribute,
  encodeAttribute,
  parseTime,
  type Envelope,
} from '../../../../shared/event/cloudEvent.ts';
import { DecodedEvent } from '../../../../shared/event/decode.ts';
import { eventEncoder, type CommonParts, type OwnParts } from '../../../../shared/event/encode.ts';
import { ReceivedEvent } from '../../../../shared/event/receivedEvent.ts';
import { messageOf } from '../../../support/event.ts';
import { hostileTexts } from '../../../support/hostile/hostileText.ts';

const STORED_AT = Date.UTC(2026, 2, 4, 5, 6, 8);
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const ATTRIBUTES = {
  id: 'run-7.1',
  source: 'https://dev.azure.com/acme/My%20Shop/_build?definitionId=4',
  type: 'com.acme.built',
  time: '2026-03-04T05:06:07.089Z',
  datacontenttype: 'application/json',
  azprequester: 'Zoë "Z" 100%',
};

type EventToSend = CommonParts & OwnParts;

/** The message of an event whose attributes are all its own. */
function encodeEvent(event: EventToSend): OutgoingMessage {
  return eventEncoder({ ...event, attributes: {} })(event);
}

function toSend(overrides: Partial<EventToSend> = {}): EventToSend {
  return {
    subject: 'ci.built.v1',
    envelope: 'binary',
    attributes: ATTRIBUTES,
    payload: Buffer.from('{"ok":true}'),
    headers: [],
    messageId: 'run-7.1',
    correlationId: 'order 66',
    traceparent: TRACEPARENT,
    ...overrides,
  };
}

type Message = Parameters<typeof messageOf>;

function received(headers: Message[1], payload: Message[0], overrides: Message[2] = {}): ReceivedMessage {
  return messageOf(payload, headers, { subject: 'ci.built.v1', storedAt: STORED_AT, ...overrides });
}

/** The message as it arrives: names in lower case, values of one name together. */
function delivered(message: OutgoingMessage): ReceivedMessage {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of message.headers) (headers[name.toLowerCase()] ??= []).push(value);
  return received(headers, message.payload);
}

/** The payload of a message as text. */
const textOf = (message: OutgoingMessage): string => Buffer.from(message.payload).toString();

const BINARY = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' };
const STRUCTURED = { specversion: '1.0', id: '1', source: '/s', type: 't' };
const structured = (members: object, contentType = 'application/cloudevents+json'): ReceivedMessage =>
  received({ 'content-type': contentType }, JSON.stringify({ ...STRUCTURED, ...members }));

test('an event is encoded alike with its own attributes and with shared ones', () => {
  for (const envelope of ['binary', 'structured'] as const) {
    const event = toSend({ envelope, headers: [['X-Own', 'a']] });
    const { id, ...common } = ATTRIBUTES;
    assert.deepEqual(
      eventEncoder({ ...event, attributes: common })({ ...event, attributes: { id } }),
      encodeEvent(event),
    );
  }
});

test('a binary event has its attributes in headers, and its payload is untouched', () => {
  const event = toSend({ headers: [['X-Own', 'a']], payload: Buffer.from('\uFEFF{ "n": 1.10 }\n') });
  assert.deepEqual(encodeEvent(event), {
    subject: 'ci.built.v1',
    payload: event.payload,
    headers: [
      ['Nats-Msg-Id', 'run-7.1'],
      ['ce-specversion', '1.0'],
      ['ce-id', 'run-7.1'],
      ['ce-source', 'https://dev.azure.com/acme/My%2520Shop/_build?definitionId=4'],
      ['ce-type', 'com.acme.built'],
      ['ce-time', '2026-03-04T05:06:07.089Z'],
      ['ce-datacontenttype', 'application/json'],
      ['ce-azprequester', 'Zo%C3%AB%20%22Z%22%20100%25'],
      ['ce-correlationid', 'order%2066'],
      ['ce-traceparent', TRACEPARENT],
      ['traceparent', TRACEPARENT],
      ['X-Own', 'a'],
    ],
  });
});

test("a structured event is CloudEvents JSON with the user's JSON inserted unchanged", () => {
  const json = '{ "price": 1.10, "serial": 12345678901234567890, "e": "\\u00e9\\/", "twice": 1, "twice": 2 }\n';
  const message = encodeEvent(
    toSend({ envelope: 'structured', payload: Buffer.from(json), headers: [['X-Own', 'a']] }),
  );
  assert.deepEqual(message.headers, [
    ['Nats-Msg-Id', 'run-7.1'],
    ['Content-Type', 'application/cloudevents+json'],
    ['traceparent', TRACEPARENT],
    ['X-Own', 'a'],
  ]);
  assert.equal(
    textOf(message),
    '{"specversion":"1.0","id":"run-7.1","source":"https://dev.azure.com/acme/My%20Shop/_build?definitionId=4",' +
      '"type":"com.acme.built","time":"2026-03-04T05:06:07.089Z","datacontenttype":"application/json",' +
      `"azprequester":"Zoë \\"Z\\" 100%","correlationid":"order 66","traceparent":"${TRACEPARENT}","data":${json}}`,
  );
});

for (const [what, payload, member] of [
  ['JSON with a byte order mark', '\uFEFF[1.0]', '"data":[1.0]}'],
  ['a JSON string', '"a"', '"data":"a"}'],
  ['a bare number', ' 1e2 ', '"data": 1e2 }'],
  ['text', 'say "hi"\n', '"data":"say \\"hi\\"\\n"}'],
  ['nothing', '', '"data":""}'],
  ['what only begins like JSON', '{"a":1}{', '"data":"{\\"a\\":1}{"}'],
  ['bytes that are not UTF-8', Buffer.from([0xff, 0x00]), '"data_base64":"/wA="}'],
] as const) {
  test(`a structured event can carry ${what}`, () => {
    const message = encodeEvent(toSend({ envelope: 'structured', payload: Buffer.from(payload as string) }));
    assert.ok(textOf(message).endsWith(`,${member}`), textOf(message));
    assert.doesNotThrow(() => JSON.parse(textOf(message)) as unknown);
  });
}

test("a structured event's Content-Type replaces the user's", () => {
  const headers = [['content-TYPE', 'text/plain']] as const;
  const names = encodeEvent(toSend({ envelope: 'structured', headers })).headers.map(([name]) => name);
  assert.deepEqual(names, ['Nats-Msg-Id', 'Content-Type', 'traceparent']);
  assert.deepEqual(encodeEvent(toSend({ envelope: 'binary', headers })).headers.at(-1), headers[0]);
});

test('an event without an envelope is the bare payload, with headers for its id and trace', () => {
  const payload = Buffer.from([0xff]);
  assert.deepEqual(encodeEvent(toSend({ envelope: 'none', payload, headers: [['X-Own', 'a']], attributes: {} })), {
    subject: 'ci.built.v1',
    payload,
    headers: [
      ['Nats-Msg-Id', 'run-7.1'],
      ['Correlation-Id', 'order 66'],
      ['traceparent', TRACEPARENT],
      ['X-Own', 'a'],
    ],
  });
});

test('an event without a required attribute, or with a misnamed one, is never sent', () => {
  for (const attributes of [
    { ...ATTRIBUTES, type: '' },
    { id: '1', source: '/s' },
    { ...ATTRIBUTES, 'my-own': 'a' },
  ]) {
    for (const envelope of ['binary', 'structured'] as const) {
      assert.throws(
        () => encodeEvent(toSend({ envelope, attributes })),
        (error) => error instanceof TaskError && error.code === 'Internal' && /"(type|my-own)"/.test(error.message),
      );
    }
  }
});

test('an empty extension is left out', () => {
  const message = encodeEvent(toSend({ attributes: { ...ATTRIBUTES, azprequester: '' } }));
  assert.equal(new DecodedEvent(delivered(message)).attributes['azprequester'], undefined);
});

test("attribute values are encoded as in the specification's example", () => {
  assert.equal(encodeAttribute('Euro € 😀'), 'Euro%20%E2%82%AC%20%F0%9F%98%80');
  assert.equal(decodeAttribute('Euro%20%e2%82%ac%20%f0%9f%98%80'), 'Euro € 😀');
  assert.equal(decodeAttribute('"a \\"b\\" \\\\ %25"'), 'a "b" \\ %');
  assert.equal(decodeAttribute('needlessly%41'), 'needlesslyA');
  assert.equal(decodeAttribute('%2541'), '%41');
});

for (const broken of ['100%', '%4', '%zz', '%C0%A0', '%ff', '%ED%A0%80', '%E2%82', '50% of a b', '"50%"']) {
  test(`the attribute value ${broken}, which isn't percent-encoded, is read unchanged`, () => {
    assert.equal(decodeAttribute(broken), broken);
    const { problem, attributes } = new DecodedEvent(received({ ...BINARY, 'ce-note': broken }, ''));
    assert.equal(problem, undefined);
    assert.equal(attributes['note'], broken);
  });
}

test('characters that CloudEvents forbids in attributes are replaced when sending', () => {
  assert.equal(cleanAttribute('a\r\nb\0c\x7f\x85'), 'a  b c  ');
  assert.equal(cleanAttribute('a\ud800b\udc00c😀'), 'a\ufffdb\ufffdc😀');
  assert.equal(cleanAttribute('\ufdd0\uffff\u{1fffe}\ue000'), '\ufffd\ufffd\ufffd\ue000');
});

for (const envelope of ['binary', 'structured', 'none'] satisfies Envelope[]) {
  test(`what is sent as ${envelope} is what is received, for any text`, () => {
    for (const text of hostileTexts(400, 'an envelope')) {
      const id = `id${text}`;
      // A lone surrogate cannot be written in UTF-8.
      const payload = Buffer.from(`text: ${text}`);
      const attributes = { ...ATTRIBUTES, id, azprequester: text };
      const message = encodeEvent(toSend({ envelope, attributes, payload, correlationId: `c${text}` }));
      const event = new DecodedEvent(delivered(message));
      assert.equal(event.problem, undefined);
      assert.equal(event.data, payload.toString());
      assert.equal(event.correlationId, cleanAttribute(`c${text}`));
      assert.equal(event.traceparent, TRACEPARENT);
      if (envelope !== 'none') {
        assert.equal(event.attributes['id'], cleanAttribute(id));
        assert.equal(event.attributes['azprequester'] ?? '', cleanAttribute(text));
      }
      if (envelope === 'binary') {
        for (const [, value] of message.headers) assert.match(value, /^[\x21-\x7e]+$/);
      }
    }
  });

  test(`JSON, text and bytes look the same to a receiver of ${envelope}`, () => {
    for (const [payload, data, dataBase64] of [
      ['{"a":[1,null,"é"]}', { a: [1, null, 'é'] }, null],
      ['\uFEFF{"a":1}', { a: 1 }, null],
      ['null', null, null],
      ['0', 0, null],
      ['plain', 'plain', null],
      ['', '', null],
      [Buffer.from([0xc0, 0xa0]), null, 'wKA='],
    ] as const) {
      const message = encodeEvent(toSend({ envelope, payload: Buffer.from(payload as string) }));
      const event = new DecodedEvent(delivered(message));
      assert.deepEqual({ data: event.data, dataBase64: event.dataBase64 }, { data, dataBase64 });
      assert.equal(event.problem, undefined);
    }
  });
}

test('any ce- header makes a binary event, which then has to be complete', () => {
  assert.match(new DecodedEvent(received({ 'ce-id': '1' }, '')).problem ?? '', /specversion is absent/);
  const { attributes, problem } = new DecodedEvent(received({ ...BINARY, 'content-type': 'application/json' }, '{}'));
  assert.deepEqual({ ...attributes }, { specversion: '1.0', id: '1', source: '/s', type: 't' });
  assert.equal(problem, undefined);
});

test('a structured event is recognised by its content type in any case, and its ce- headers are ignored', () => {
  for (const type of ['application/cloudevents', 'Application/CloudEvents+JSON; charset=UTF-8']) {
    const message = structured({ data: { a: 1 } }, type);
    const { attributes, data, problem } = new DecodedEvent({
      ...message,
      headers: new Map([...message.headers, ['ce-id', ['2']]]),
    });
    assert.deepEqual([attributes['id'], data, problem], ['1', { a: 1 }, undefined]);
  }
});

test('a CloudEvent in JSON is recognised without a header, other JSON is left alone', () => {
  assert.equal(new DecodedEvent(received({}, JSON.stringify({ ...STRUCTURED, data: 5 }))).data, 5);
  for (const json of [{ specversion: '1.0' }, { ...STRUCTURED, id: 1 }, [STRUCTURED], { note: 'specversion' }]) {
    const event = new DecodedEvent(received({}, JSON.stringify(json)));
    assert.deepEqual({ ...event.attributes }, {});
    assert.deepEqual(event.data, json);
    assert.equal(event.problem, undefined);
  }
});

for (const [why, message, problem] of [
  [
    'a batch',
    received({ 'content-type': 'application/cloudevents-batch+json' }, '[]'),
    /batch\+json" is not supported/,
  ],
  ['another event format', received({ 'content-type': 'application/cloudevents+avro' }, ''), /avro" is not supported/],
  [
    'structured, yet not JSON',
    received({ 'content-type': 'application/cloudevents+json' }, '{'),
    /not the JSON object/,
  ],
  [
    'structured, yet an array',
    received({ 'content-type': 'application/cloudevents+json' }, '[]'),
    /not the JSON object/,
  ],
  ['an attribute twice', received({ ...BINARY, 'ce-id': ['1', '1'] }, ''), /"id" is wrong: it is given more than once/],
  ['a misnamed header', received({ ...BINARY, 'ce-my-own': 'a' }, ''), /"my-own" is wrong: attributes are named/],
  ['an attribute called data', received({ ...BINARY, 'ce-data': 'a' }, ''), /"data" is wrong: attributes are named/],
  ['a header without a name', received({ ...BINARY, 'ce-': 'a' }, ''), /"" is wrong: attributes are named/],
  ['no id', received({ ...BINARY, 'ce-id': '' }, ''), /"id" is absent or empty/],
  ['another version', received({ ...BINARY, 'ce-specversion': '0.3' }, ''), /specversion is "0.3", not "1.0"/],
  ['a broken time', received({ ...BINARY, 'ce-time': 'yesterday' }, ''), /"time" is "yesterday", not an RFC 3339 time/],
  [
    'a line break in an attribute',
    received({ ...BINARY, 'ce-note': 'a%0Ab' }, ''),
    /a character that CloudEvents forbids/,
  ],
  ['an upper-case member', structured({ Note: 'a' }), /"Note" is wrong/],
  ['a null id', structured({ id: null }), /"id" is absent or empty/],
  [
    'an object as attribute',
    structured({ note: {} }),
    /"note" is wrong: it is not a string, a boolean or a 32-bit integer/,
  ],
  ['an array as attribute', structured({ note: ['a'] }), /"note" is wrong/],
  ['a fraction as attribute', structured({ note: 1.5 }), /"note" is wrong/],
  ['a number above 32 bits', structured({ note: 2 ** 31 }), /"note" is wrong/],
  ['both kinds of data', structured({ data: 1, data_base64: 'AA==' }), /given twice/],
  ['broken base64', structured({ data_base64: 'A A=' }), /data_base64 is not base64/],
  ['base64 without padding', structured({ data_base64: 'AA' }), /data_base64 is not base64/],
  ['data_base64 that is no string', structured({ data_base64: 5 }), /data_base64 is not base64/],
] as const) {
  test(`an event is wrong that has ${why}`, () => {
    const event = new DecodedEvent(message);
    assert.match(event.problem ?? '', problem);
    assert.match(event.problem ?? '', /^Its .*[^.]$/);
    assert.doesNotThrow(() => [event.data, event.dataBase64, event.traceparent]);
  });
}

test('the correlation id is read even if the envelope is wrong', () => {
  const { problem, correlationId } = new DecodedEvent(received({ 'ce-id': '%', 'ce-correlationid': 'mine' }, ''));
  assert.deepEqual([problem !== undefined, correlationId], [true, 'mine']);
});

test('structured attributes may be booleans and integers, and null is absent', () => {
  const { attributes, problem } = new DecodedEvent(
    structured({ flag: true, count: -2147483648, gone: null, time: null }),
  );
  assert.deepEqual(
    { ...attributes },
    { specversion: '1.0', id: '1', source: '/s', type: 't', flag: 'true', count: '-2147483648' },
  );
  assert.equal(problem, undefined);
});

test('data_base64 is read like a payload', () => {
  const base64 = (text: string | Buffer): string => Buffer.from(text as string).toString('base64');
  assert.deepEqual(new DecodedEvent(structured({ data_base64: base64('{"a":1}') })).data, { a: 1 });
  assert.equal(new DecodedEvent(structured({ data: null, data_base64: base64('text') })).data, 'text');
  assert.equal(new DecodedEvent(structured({ data_base64: base64(Buffer.from([0xff])) })).dataBase64, '/w==');
  assert.deepEqual([new DecodedEvent(structured({})).data, new DecodedEvent(structured({})).dataBase64], [null, null]);
});

test('the last of repeated JSON members counts', () => {
  const json = '{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t","data":{"a":1,"a":2}}';
  const event = new DecodedEvent(received({ 'content-type': 'application/cloudevents+json' }, json));
  assert.deepEqual([event.attributes['id'], event.data], ['2', { a: 2 }]);
});

test("members named like those of JavaScript objects pollute nothing, and inherited ones don't appear", () => {
  const json = JSON.stringify(STRUCTURED).replace('{', '{"__proto__":{"polluted":"yes"},"constructor":"own",');
  const event = new DecodedEvent(received({ 'content-type': 'application/cloudevents+json' }, json));
  assert.match(event.problem ?? '', /"__proto__" is wrong/);
  assert.deepEqual({ ...event.attributes }, { ...STRUCTURED, constructor: 'own' });
  assert.equal('toString' in event.attributes, false);
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  assert.match(
    new DecodedEvent(received({ ...BINARY, 'ce-__proto__': 'a' }, '')).problem ?? '',
    /"__proto__" is wrong/,
  );
});

test('the correlation id is the attribute, else the header', () => {
  assert.equal(new DecodedEvent(received({ 'correlation-id': 'h' }, '')).correlationId, 'h');
  assert.equal(
    new DecodedEvent(received({ ...BINARY, 'ce-correlationid': 'a', 'correlation-id': 'h' }, '')).correlationId,
    'a',
  );
  assert.equal(new DecodedEvent(received({ 'correlation-id': '' }, '')).correlationId, undefined);
});

test('the traceparent is the header, else the attribute, and only a valid one', () => {
  const other = TRACEPARENT.replace('00-0', '00-1');
  const attribute = { ...BINARY, 'ce-traceparent': TRACEPARENT };
  assert.equal(new DecodedEvent(received({ ...attribute, traceparent: other }, '')).traceparent, other);
  assert.equal(new DecodedEvent(received({ ...attribute, traceparent: 'broken' }, '')).traceparent, TRACEPARENT);
  assert.equal(new DecodedEvent(received({ traceparent: '$(secret)' }, '')).traceparent, undefined);
});

test('a payload is parsed only when its data is read, and only once', (context) => {
  const parse = context.mock.method(JSON, 'parse');
  for (const headers of [BINARY, {}]) {
    const message = received(headers, '{"a":1}');
    const event = new ReceivedEvent(message);
    const { view } = event;
    assert.equal(view.subject, 'ci.built.v1');
    assert.equal(parse.mock.callCount(), 0);
    assert.deepEqual([view.data, event.data, view.dataBase64], [{ a: 1 }, { a: 1 }, null]);
    assert.equal(parse.mock.callCount(), 1);
    parse.mock.resetCalls();
  }
});

test('times are read as in RFC 3339', () => {
  assert.equal(parseTime('2026-03-04T05:06:07.0891234Z'), Date.UTC(2026, 2, 4, 5, 6, 7, 89));
  assert.equal(parseTime('2026-03-04t05:06:07+01:30'), Date.UTC(2026, 2, 4, 3, 36, 7));
  assert.equal(parseTime('2016-12-31T23:59:60Z'), Date.UTC(2016, 11, 31, 23, 59, 59));
  assert.equal(parseTime('2024-02-29T00:00:00-00:00'), Date.UTC(2024, 1, 29));
  for (const wrong of ['2026-02-29T00:00:00Z', '2026-13-01T00:00:00Z', '2026-03-04T24:00:00Z', '2026-03-04', '', 'x']) {
    assert.equal(parseTime(wrong), undefined, wrong);
  }
  assert.equal(parseTime('2026-03-04T05:06:07'), undefined);
  assert.equal(parseTime('2026-03-04T05:06:07+24:00'), undefined);
});

test("an event's time is when the stream stored it, otherwise its own time attribute", () => {
  const message = received({ ...BINARY, 'ce-time': '2020-01-01T00:00:00+01:00' }, '');
  const fromCore = { ...message, storedAt: undefined };
  assert.equal(new ReceivedEvent(message).publishedAt, message.storedAt);
  assert.equal(new ReceivedEvent(fromCore).view.time, '2019-12-31T23:00:00.000Z');
  const without = received(BINARY, '', { storedAt: undefined });
  assert.equal(new ReceivedEvent(without).view.time, null);
});

test('a matched event is written as expressions see it', () => {
  const message = received({ ...BINARY, 'x-own': ['a', 'b'] }, '{"a":1}');
  assert.deepEqual(JSON.parse(JSON.stringify(new ReceivedEvent(message).view)), {
    subject: 'ci.built.v1',
    data: { a: 1 },
    dataBase64: null,
    headers: { 'ce-specversion': ['1.0'], 'ce-id': ['1'], 'ce-source': ['/s'], 'ce-type': ['t'], 'x-own': ['a', 'b'] },
    event: { specversion: '1.0', id: '1', source: '/s', type: 't' },
    stream: 'CI',
    sequence: 7,
    time: '2026-03-04T05:06:08.000Z',
  });
});
