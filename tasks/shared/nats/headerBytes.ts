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

/** Fails with `Internal` where a line break would end a header early: whoever passes one has not checked it. */
export function encodeHeaders(headers: Headers): EncodedHeaders {
  let text = 'NATS/1.0\r\n';
  for (const [name, value] of headers) {
    if (/[\r\n]/.test(name) || /[\r\n]/.test(value)) {
      throw new TaskError('Internal', `The header "${name}" was to be sent with a line break.`);
    }
    text += `${name}: ${value}\r\n`;
  }
  const bytes = Buffer.from(`${text}\r\n`);
  return { bytes, encode: () => bytes } as unknown as EncodedHeaders;
}
