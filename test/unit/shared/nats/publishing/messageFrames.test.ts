import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Headers } from '../../../../../shared/bus.ts';
import type { Link } from '../../../../../shared/nats/link/link.ts';
import { encodeHeaders, MessageFrames } from '../../../../../shared/nats/publishing/messageFrames.ts';
import { PubAcks } from '../../../../../shared/nats/publishing/pubAcks.ts';

/** A link that keeps what is written to it. */
class RecordingLink {
  readonly written: Uint8Array[] = [];
  isClosed = false;
  readonly connection = {
    info: { max_payload: 1_000_000, headers: true },
    protocol: {
      sendCommand: (bytes: Uint8Array) => this.written.push(Uint8Array.from(bytes)),
      flushPending: () => {},
    },
  };

  get text(): string {
    return Buffer.concat(this.written).toString();
  }

  frames(): MessageFrames {
    return new MessageFrames(this as unknown as Link);
  }
}

const COMMON: Headers = [
  ['ce-source', '/shop'],
  ['X-Name', 'Zoë'],
];

function frame(subject: string, reply: string, headers: Headers, payload: string): string {
  const block = `NATS/1.0\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  const length = Buffer.byteLength(block);
  return `HPUB ${subject} ${reply}${length} ${length + Buffer.byteLength(payload)}\r\n${block}${payload}\r\n`;
}

test('messages follow the protocol, whatever headers the previous ones had', () => {
  const link = new RecordingLink();
  const frames = link.frames();
  const messages: [string, Headers, string][] = [
    ['a.b', [['Nats-Msg-Id', '1'], ...COMMON], 'one'],
    ['a.b', [['Nats-Msg-Id', '2'], ...COMMON], 'zwö'],
    ['ä.b', [['Nats-Msg-Id', '3']], ''],
    ['a.b', [['Nats-Msg-Id', '4'], ...COMMON], 'x'.repeat(200_000)],
    ['a.b', [...COMMON], '5'],
    ['a.b', [...COMMON], '6'],
    ['a.b', [], '7'],
  ];
  for (const [subject, headers, payload] of messages) frames.send(subject, 'in.1', headers, Buffer.from(payload));
  frames.flush();
  assert.equal(link.text, messages.map(([subject, ...rest]) => frame(subject, 'in.1 ', ...rest)).join(''));
});

test('a message is sent again unchanged, over another link and with another inbox', () => {
  const [first, second] = [new RecordingLink(), new RecordingLink()];
  const composed = first.frames().send('a.b', 'old.1', COMMON, Buffer.from('payload'));
  assert.equal(first.text, '', 'something was written before the flush');
  const frames = second.frames();
  frames.sendAgain(composed, 'newer.17');
  frames.sendAgain(composed, undefined);
  frames.flush();
  assert.equal(second.text, frame('a.b', 'newer.17 ', COMMON, 'payload') + frame('a.b', '', COMMON, 'payload'));
});

test('a closed link, too large a message or a line break in a header is refused', () => {
  const link = new RecordingLink();
  const frames = link.frames();
  frames.send('a', undefined, COMMON, Buffer.alloc(1));
  link.isClosed = true;
  frames.flush();
  link.isClosed = false;
  assert.throws(() => frames.send('a', undefined, COMMON, Buffer.alloc(1_000_000)), { code: 'TooLarge' });
  assert.throws(() => frames.send('a', undefined, [['X', 'a\r\nPUB b 0']], Buffer.alloc(1)), { code: 'Internal' });
  assert.throws(() => encodeHeaders([['X\n', 'a']]), { code: 'Internal' });
  frames.flush();
  assert.equal(link.text, '');
});

const read = (acks: PubAcks, text: string) => acks.read(Buffer.from(text), 'a.b');

test('an ack is read whatever came before it', () => {
  const acks = new PubAcks();
  const ack = (sequence: number, duplicate = false, stream = 'CI') => ({ stream, sequence, duplicate });
  assert.deepEqual(read(acks, '{"stream":"CI", "seq":9}'), ack(9));
  assert.deepEqual(read(acks, '{"stream":"CI", "seq":10}'), ack(10));
  assert.deepEqual(read(acks, '{"stream":"CI", "seq":4,"duplicate": true}'), ack(4, true));
  assert.deepEqual(read(acks, '{"stream":"CI", "seq":12345678901}'), ack(12345678901));
  assert.deepEqual(read(acks, '{"stream":"CJ", "seq":11}'), ack(11, false, 'CJ'));
  assert.deepEqual(read(acks, '{"stream":"CI", "domain":"hub", "seq":12}'), ack(12));
  assert.deepEqual(read(acks, '{"stream":"CI", "domain":"hub", "seq":13}'), ack(13));
  assert.deepEqual(read(acks, '{"seq":14,"stream":"CI"}'), ack(14));
});

test("an error, or a reply that isn't from a stream, isn't taken for an ack", () => {
  const acks = new PubAcks();
  read(acks, '{"stream":"CI", "seq":9}');
  const error = { code: 503, err_code: 10077, description: 'maximum messages exceeded' };
  const answer = read(acks, JSON.stringify({ error, stream: 'CI', seq: 0 }));
  assert.deepEqual('error' in answer && answer.error, error);
  for (const text of ['{}', '{"stream":"CI", "seq":1x}', '{"stream":"CI", "seq":}', '{"stream":"CI", "seq":', ''])
    assert.throws(() => read(acks, text), { code: 'NoStream' }, text);
});
