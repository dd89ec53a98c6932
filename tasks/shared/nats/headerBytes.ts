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
  for (const header of headers) text += lineOf(header);
  const bytes = Buffer.from(`${text}\r\n`);
  return { bytes, encode: () => bytes } as unknown as EncodedHeaders;
}

/** The line each name had last: the events of a batch share most of their headers. */
const lastLines = new Map<string, { readonly value: string; readonly line: string }>();

function lineOf([name, value]: Headers[number]): string {
  const last = lastLines.get(name);
  if (last?.value === value) return last.line;
  const line = `${name}: ${value}\r\n`;
  if (line.search(/[\r\n]/) !== line.length - 2) {
    throw new TaskError('Internal', `The header "${name}" was to be sent with a line break.`);
  }
  lastLines.set(name, { value, line });
  return line;
}
