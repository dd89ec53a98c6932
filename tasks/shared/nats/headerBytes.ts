import type { MsgHdrs } from 'nats';
import type { Headers } from '../bus.ts';
import { TaskError } from '../errors.ts';

/**
 * Headers as the bytes of the protocol (NATS ADR-4), in the shape the library takes. It asks its own headers for nothing
 * but `encode()`; building one of those for each event takes longer than all the rest of sending it.
 */
export interface EncodedHeaders extends MsgHdrs {
  readonly bytes: Uint8Array;
}

const SLAB_BYTES = 128 * 1_024;

/** The headers of the message before, and the bytes of the last ones, which that of the next mostly shares with it. */
let before: Headers = [];
let shared = { count: -1, bytes: Buffer.alloc(0) };

/** Fails with `Internal` where a line break would end a header early: whoever passes one has not checked it. */
export function encodeHeaders(headers: Headers): EncodedHeaders {
  let count = 0;
  while (count < headers.length && headers.at(-1 - count) === before.at(-1 - count)) count++;
  if (count !== shared.count)
    shared = { count, bytes: Buffer.from(`${linesOf(headers.slice(headers.length - count))}\r\n`) };
  before = headers;
  const own = `NATS/1.0\r\n${linesOf(headers.slice(0, headers.length - count))}`;
  const ownLength = Buffer.byteLength(own);
  const bytes = allocate(ownLength + shared.bytes.length);
  bytes.write(own);
  bytes.set(shared.bytes, ownLength);
  return { bytes, encode: () => bytes } as unknown as EncodedHeaders;
}

/** One piece of memory for many messages, which is given back once all of them are confirmed. */
let slab = Buffer.alloc(0);
let used = 0;

function allocate(length: number): Buffer {
  if (slab.length - used < length) {
    slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, length));
    used = 0;
  }
  used += length;
  return slab.subarray(used - length, used);
}

function linesOf(headers: Headers): string {
  let lines = '';
  for (const [name, value] of headers) {
    const line = `${name}: ${value}`;
    if (/[\r\n]/.test(line)) {
      throw new TaskError('Internal', `The header "${name}" was to be sent with a line break.`);
    }
    lines += `${line}\r\n`;
  }
  return lines;
}
