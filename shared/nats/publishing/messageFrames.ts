import type { Headers } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import type { Link } from '../link/link.ts';

/** A message as it was composed, for sending it again: headers, payload and line end, which do not depend on the link. */
export interface ComposedMessage {
  readonly subject: string;
  /** Holds many messages; it is freed once none of them is needed any more. */
  readonly slab: Buffer;
  readonly start: number;
  readonly headerLength: number;
  readonly end: number;
}

/** What the library's `publish` ends up calling; not part of its interface. */
interface Protocol {
  sendCommand(bytes: Uint8Array): void;
  flushPending(): void;
}

const SLAB_BYTES = 128 * 1_024;
/** Of one UTF-16 unit. */
const MOST_UTF8_BYTES = 3;
const LINE_END = Buffer.from('\r\n');

/**
 * Writes messages to one link as the bytes of the protocol (HPUB, NATS client protocol), many at a time. The library's own
 * `publish` takes several objects and copies for each, which for small events is more than all the rest of sending them.
 */
export class MessageFrames {
  #slab = Buffer.alloc(0);
  #composed = 0;
  #written = 0;
  /** The headers of the previous message, and the bytes of the last ones, which the next message mostly shares. */
  #before: Headers = [];
  #tail = { count: -1, bytes: Buffer.alloc(0) };

  constructor(private readonly link: Link) {}

  /**
   * Sends a message with the next {@link flush}, or before. Fails with `TooLarge` when the server doesn't accept it, and
   * with `Internal` when a line break would end a header early: the caller should have checked that.
   */
  send(subject: string, reply: string | undefined, headers: Headers, payload: Uint8Array): ComposedMessage {
    const { own, shared } = this.#headerBlock(headers);
    const ownLength = Buffer.byteLength(own);
    const headerLength = ownLength + shared.length;
    const line = this.#line(subject, reply, headerLength, headerLength + payload.length);
    this.#reserve(line.length * MOST_UTF8_BYTES + headerLength + payload.length + LINE_END.length);
    this.#composed += this.#slab.write(line + own, this.#composed);
    const start = this.#composed - ownLength;
    this.#append(shared);
    this.#append(payload);
    this.#append(LINE_END);
    return { subject, slab: this.#slab, start, headerLength, end: this.#composed };
  }

  /** The same for a message that was composed before, for this link or another one. */
  sendAgain({ subject, slab, start, headerLength, end }: ComposedMessage, reply: string | undefined): void {
    const line = this.#line(subject, reply, headerLength, end - start - LINE_END.length);
    this.#reserve(line.length * MOST_UTF8_BYTES + end - start);
    this.#composed += this.#slab.write(line, this.#composed);
    this.#append(slab.subarray(start, end));
  }

  /** Hands over to the library what was composed. On a closed link it is dropped. */
  flush(): void {
    const bytes = this.#slab.subarray(this.#written, this.#composed);
    this.#written = this.#composed;
    if (bytes.length === 0 || this.link.isClosed) return;
    const { protocol } = this.link.connection as unknown as { readonly protocol: Protocol };
    protocol.sendCommand(bytes);
    // At once, since the library copies what it has to hand over later.
    protocol.flushPending();
  }

  #headerBlock(headers: Headers): { readonly own: string; readonly shared: Buffer } {
    const before = this.#before;
    let count = 0;
    while (count < headers.length && headers[headers.length - 1 - count] === before[before.length - 1 - count]) count++;
    const ownCount = headers.length - count;
    if (count !== this.#tail.count)
      this.#tail = { count, bytes: Buffer.from(`${linesOf(headers, ownCount, headers.length)}\r\n`) };
    this.#before = headers;
    return { own: `NATS/1.0\r\n${linesOf(headers, 0, ownCount)}`, shared: this.#tail.bytes };
  }

  #line(subject: string, reply: string | undefined, headerLength: number, length: number): string {
    checkSize(length, this.link);
    return `HPUB ${subject} ${reply === undefined ? '' : `${reply} `}${headerLength} ${length}\r\n`;
  }

  /** A new slab when the current one has no room for this many bytes. */
  #reserve(bytes: number): void {
    if (this.#slab.length - this.#composed >= bytes) return;
    this.flush();
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes));
    this.#composed = this.#written = 0;
  }

  #append(bytes: Uint8Array): void {
    this.#slab.set(bytes, this.#composed);
    this.#composed += bytes.length;
  }
}

/** The bytes of the headers as they are sent (NATS ADR-4). Fails with `Internal` on a line break in a header. */
export function encodeHeaders(headers: Headers): Buffer {
  return Buffer.from(`NATS/1.0\r\n${linesOf(headers, 0, headers.length)}\r\n`);
}

/**
 * Throws `TooLarge` when the server doesn't accept this many bytes, encoded headers included, and `Unsupported` when it
 * takes no headers.
 */
export function checkSize(bytes: number, link: Link): void {
  if (link.connection.info?.headers !== true) {
    throw new TaskError(
      'Unsupported',
      `The server ${link.server} takes no message headers, which every event has`,
      'It needs nats-server 2.2 or later, without no_header_support in its configuration.',
    );
  }
  const limit = link.connection.info.max_payload;
  if (bytes <= limit) return;
  throw new TaskError(
    'TooLarge',
    `The event has ${bytes} bytes with its headers, and the server takes ${limit} (max_payload)`,
    'Store large content elsewhere, such as a pipeline artifact, and publish a reference to it.',
  );
}

function linesOf(headers: Headers, from: number, to: number): string {
  let lines = '';
  for (let index = from; index < to; index++) {
    const [name, value] = headers[index] ?? ['', ''];
    if (hasLineBreak(name) || hasLineBreak(value)) {
      throw new TaskError('Internal', `The header "${name}" was to be sent with a line break`);
    }
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

function hasLineBreak(text: string): boolean {
  return text.includes('\n') || text.includes('\r');
}
