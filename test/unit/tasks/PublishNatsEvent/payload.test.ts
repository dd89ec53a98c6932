import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readPublish } from '../../../../tasks/PublishNatsEvent/inputs.ts';
import { prepare } from '../../../../tasks/PublishNatsEvent/publish.ts';
import { connectedAgent } from '../../../support/agent/fakeAgent.ts';
import { temporaryFolder } from '../../../../localAgent/vsix.ts';

type Inputs = Readonly<Record<string, string>>;

const clock = { signal: new AbortController().signal, startedAt: Date.now(), deadline: Infinity, now: Date.now };
const folder = temporaryFolder('payloads-');

/** What would be sent of a payload; rejects where it's refused. */
function prepared(inputs: Inputs) {
  const agent = connectedAgent({ subject: 'ci.done.v1', messageId: 'm-1', ...inputs });
  return prepare(readPublish(agent).request, undefined, undefined, clock);
}

function preparedFile(bytes: Uint8Array, inputs: Inputs = {}) {
  const payloadFile = path.join(folder, 'event.json');
  writeFileSync(payloadFile, bytes);
  return prepared({ payloadFrom: 'file', payloadFile, ...inputs });
}

const JSON_TEXT = '{"image":"shop/web:42","région":"eu"}\r\n';
const utf16 = Buffer.from(JSON_TEXT, 'utf16le');
const ascii16 = Buffer.from('{"image":"shop"}', 'utf16le');

for (const [what, bytes, encoding] of [
  [
    'UTF-16 with a byte order mark, as Windows PowerShell writes it',
    Buffer.concat([Buffer.of(0xff, 0xfe), utf16]),
    'UTF-16 LE',
  ],
  ['big-endian UTF-16', Buffer.concat([Buffer.of(0xfe, 0xff), Buffer.from(utf16).swap16()]), 'UTF-16 BE'],
  ['UTF-16 without a byte order mark', ascii16, 'UTF-16 LE'],
  ['big-endian UTF-16 without a byte order mark', Buffer.from(ascii16).swap16(), 'UTF-16 BE'],
  ['UTF-32', Buffer.from([0xff, 0xfe, 0, 0, 0x7b, 0, 0, 0]), 'UTF-32 LE'],
  ['Windows-1252', Buffer.from(JSON_TEXT, 'latin1'), 'an 8-bit encoding such as Windows-1252'],
] as const) {
  test(`a payload file in ${what} is refused with its encoding, unless contentType names it`, async () => {
    await assert.rejects(preparedFile(bytes), (error: Error) => {
      assert.match(error.message, /^InvalidInput: payloadFile: \/.*event\.json is text in /);
      assert.ok(
        error.message.includes(`is text in ${encoding}, not in UTF-8. Nothing was sent. Write the file in UTF-8`),
      );
      return true;
    });
    const { largest, remarks } = await preparedFile(bytes, { contentType: 'text/plain; charset=utf-16' });
    assert.deepEqual(Buffer.from(largest.payload), bytes);
    assert.deepEqual(remarks, []);
  });
}

for (const [what, bytes] of [
  ['UTF-8', Buffer.from(JSON_TEXT)],
  ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${JSON_TEXT}`)],
  ['gzip', Buffer.from('1f8b0800000000000003ab5600', 'hex')],
  ['MessagePack', Buffer.from('82a161a162a163a2c3a9ff', 'hex')],
  ['Protocol Buffers', Buffer.from('7801c2b5120568ff6c6c6f', 'hex')],
  ['a picture', Buffer.from('89504e470d0a1a0a0000000d', 'hex')],
  ['zeros', Buffer.alloc(64)],
] as const) {
  test(`a payload file of ${what} is sent unchanged, without a warning`, async () => {
    const { largest, remarks } = await preparedFile(bytes);
    assert.deepEqual(Buffer.from(largest.payload), bytes);
    assert.deepEqual(remarks, []);
  });
}

test('lines in UTF-16 are refused, naming the encoding', async () => {
  const payloadFile = path.join(folder, 'events.ndjson');
  for (const bytes of [Buffer.concat([Buffer.of(0xff, 0xfe), utf16]), ascii16]) {
    writeFileSync(payloadFile, bytes);
    await assert.rejects(
      prepared({ payloadFrom: 'lines', payloadFile }),
      /is text in UTF-16 LE, not in UTF-8\. Nothing was sent/,
    );
  }
});

test("a payload file that is empty, or looks like JSON but doesn't parse, is a warning", async () => {
  const [broken = ''] = (await preparedFile(Buffer.from('{"a":1,}'))).remarks;
  assert.match(
    broken,
    /^payloadFile: .*event\.json looks like JSON but doesn't parse: line 1, column 8: expected a name/,
  );
  assert.match((await preparedFile(Buffer.of())).remarks[0] ?? '', /event\.json is empty\.$/);
  for (const text of ['{"a":1,}', ''])
    assert.deepEqual((await preparedFile(Buffer.from(text), { contentType: 'text/plain' })).remarks, []);
});

test('a CloudEvent as the payload is a warning that names envelope: none', async () => {
  const payload = JSON.stringify({ specversion: '1.0', id: '1', source: '/shop', type: 'built', data: 1 });
  const payloadFile = path.join(folder, 'cloudevents.ndjson');
  writeFileSync(payloadFile, `${payload}\n`);
  for (const inputs of [
    { payload },
    { payloadFrom: 'file', payloadFile },
    { payloadFrom: 'lines', payloadFile },
  ] as Inputs[]) {
    for (const envelope of ['binary', 'structured'])
      assert.match(
        (await prepared({ ...inputs, envelope })).remarks.join(),
        /is a CloudEvent itself, and becomes the data of another one\. To send it as it is, set envelope: none\.$/,
      );
    assert.deepEqual((await prepared({ ...inputs, envelope: 'none' })).remarks, []);
  }
  assert.deepEqual((await prepared({ payload: '{"specversion":"1.0","id":"1"}' })).remarks, []);
});

test('CDEvents with the same id but different sources get different message ids', async () => {
  const eventType = 'dev.cdevents.service.deployed.0.3.0';
  const messageOf = async (id: string, source: string, envelope = 'binary') => {
    const context = { id, source, type: eventType, timestamp: '2026-03-01T08:00:00Z' };
    const payload = JSON.stringify({ context, subject: { id: 's', content: {} } });
    const { largest, messageId } = await prepared({ payload, eventType, envelope, messageId: '' });
    assert.equal(messageId, id);
    return new Map(largest.headers).get('Nats-Msg-Id');
  };
  const first = await messageOf('7', '/shop/région');
  assert.match(first ?? '', /^7\.[\w-]{22}$/);
  assert.equal(await messageOf('7', '/shop/région', 'structured'), first);
  assert.notEqual(await messageOf('7', '/other'), first);
  assert.notEqual(await messageOf('8', '/shop/région'), first);
});
