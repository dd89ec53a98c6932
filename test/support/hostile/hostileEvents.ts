import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection } from 'node:net';

/** A message byte by byte: client libraries refuse to send some of them. */
export interface RawMessage {
  readonly subject: string;
  /** The whole header block. */
  readonly headers: Buffer | string;
  readonly payload: Buffer | string;
}

/** Publishes messages unchanged; resolves once the server has received all of them. */
export async function publishRaw(port: number, messages: readonly RawMessage[]): Promise<void> {
  const socket = createConnection(port, '127.0.0.1');
  socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n');
  for (const { subject, headers, payload } of messages) {
    const block = Buffer.from(headers);
    const content = Buffer.from(payload);
    socket.write(`HPUB ${subject} ${block.length} ${block.length + content.length}\r\n`);
    socket.write(Buffer.concat([block, content, Buffer.from('\r\n')]));
  }
  socket.write('PING\r\n');
  let answer = '';
  while (!answer.includes('PONG')) answer += String((await once(socket, 'data'))[0]);
  assert.ok(!answer.includes('-ERR'), answer);
  socket.destroy();
}

/** The text in place of a subject's last token. No subject may be longer than a protocol line. */
export function subjectToken(text: string): string {
  const token = text.replace(/[\s\0*>]|^\.+|\.+(?=\.|$)/g, '').slice(0, 500);
  return token.replace(/\.$/, '') || 'x';
}

const HEADER_END = '\r\n\r\n';
const MESSAGE_ID = 0x80;

/**
 * An event with the texts in every possible place, in each of the envelopes in turn. Header values are cut at the
 * protocol's line ends and otherwise sent unchanged, with a lone CR or LF and with bytes that aren't UTF-8.
 */
export function hostileEvent(prefix: string, texts: readonly string[], turn: number): RawMessage {
  const [a = '', b = '', c = '', d = '', e = '', f = ''] = texts;
  const value = (text: string) => text.replaceAll('\r\n', '\n').slice(0, 8_000);
  const block = (fields: readonly (readonly [string, string])[]) =>
    `NATS/1.0\r\n${fields.map(([name, text]) => `${name}: ${value(text)}`).join('\r\n')}${HEADER_END}`;
  const subject = `${prefix}.${subjectToken(f)}`;
  const data = { text: a, [b]: c, list: [d, { [e]: null }] };
  const attributes = { source: a, type: b, id: c, datacontenttype: 'application/json', correlationid: d, ext: e };
  switch (turn % 6) {
    case 0:
      return {
        subject,
        headers: block([['Content-Type', 'application/cloudevents+json']]),
        payload: JSON.stringify({ specversion: '1.0', ...attributes, subject: f, time: e, data }),
      };
    case 1:
      return {
        subject,
        headers: block(
          Object.entries({ specversion: '1.0', ...attributes }).map(([name, text]) => [
            `ce-${name}`,
            encodeURIComponent(text.toWellFormed()),
          ]),
        ),
        payload: JSON.stringify(data),
      };
    case 2:
      return {
        subject,
        headers: block([
          ...Object.entries({ specversion: '1.0', ...attributes }).map(([name, text]) => [`ce-${name}`, text] as const),
          ['Correlation-Id', e],
          ['traceparent', d],
        ]),
        payload: JSON.stringify(data),
      };
    case 3:
      return {
        subject,
        headers: block([
          ['Nats-Msg-Id', `${a}${String(turn)}`],
          ['Event-Signature', b],
          ['Content-Type', c],
          ['X-Text', d],
          ['x-text', e],
        ]),
        payload: JSON.stringify([data, f]),
      };
    case 4:
      // A status line and broken fields, and a payload that isn't UTF-8.
      return {
        subject,
        headers: Buffer.concat([
          Buffer.from(`NATS/1.0 409 ${value(a)}\r\n${value(b)}\r\n: ${value(c)}\r\nX-D: `),
          Buffer.from([0xff, 0xfe, MESSAGE_ID]),
          Buffer.from(`${value(d)}${HEADER_END}`),
        ]),
        payload: Buffer.concat([Buffer.from(e), Buffer.from([0xff, 0xc0, 0x80]), Buffer.from(f)]),
      };
    default:
      return { subject, headers: block([['X-Text', a]]), payload: [b, c, d, e].join('\n') };
  }
}

/** Events that no client library would send, or that are too large, too deeply nested or not text at all. */
export function brokenEvents(subject: string): RawMessage[] {
  const command = '##vso[task.complete result=Failed;done=true]gone';
  const header = (text: string): RawMessage => ({ subject, headers: `NATS/1.0${text}${HEADER_END}`, payload: command });
  const event = (payload: string): RawMessage => ({ subject, headers: `NATS/1.0${HEADER_END}`, payload });
  return [
    header(`\r\nX-A: a\r${command}\nb`),
    header(` 409 ${command}\r\nX-C: ${command}`),
    header(' 503'),
    header(' 100 Idle Heartbeat'),
    header(`\r\nX-Long: ${command}${'y'.repeat(60_000)}${command}`),
    event(`{"text":"\\ud800${command}\\udfff","\\ud800":"\\u0000\\n${command}"}`),
    event('{"text":"\\u0023\\u0023vso[task.complete result=Failed]"}'),
    event(JSON.stringify({ text: `${command}${'z'.repeat(1_040_000)}${command}` })),
    event(`${command}\n`.repeat(20_000)),
    event(`${'['.repeat(100_000)}${']'.repeat(100_000)}`),
    event(`{"__proto__":{"text":"x"},"text":{"constructor":"${command}"}}`),
  ];
}
