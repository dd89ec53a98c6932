import type { Msg } from 'nats';

/** What the library keeps of a message besides its interface: the bytes as they came. */
interface RawMessage {
  readonly _msg: { readonly hdr: number; readonly subject: Uint8Array; readonly reply?: Uint8Array };
  readonly _rdata: Uint8Array;
}

const NO_HEADERS: ReadonlyMap<string, readonly string[]> = new Map();
/** No bytes. */
export const NONE: Uint8Array = new Uint8Array();
const ZERO = 0x30;
const NINE = 0x39;

/** A message's subject as bytes. */
export function rawSubject(message: Msg): Uint8Array {
  return (message as unknown as RawMessage)._msg.subject;
}

/** Whether a message's subject is these bytes. */
export function hasSubject(message: Msg, subject: Uint8Array): boolean {
  const own = rawSubject(message);
  if (own.length !== subject.length) return false;
  for (let index = 0; index < own.length; index++) if (own[index] !== subject[index]) return false;
  return true;
}

/** A message's reply subject as bytes; empty when it has none. */
export function rawReply(message: Msg): Uint8Array {
  return (message as unknown as RawMessage)._msg.reply ?? NONE;
}

/** The number whose digits these bytes are; NaN if any byte isn't a digit. */
export function numberAt(bytes: Uint8Array, start: number, end = bytes.length): number {
  let value = 0;
  for (let index = start; index < end; index++) {
    const digit = bytes[index] ?? 0;
    if (digit < ZERO || digit > NINE) return NaN;
    value = value * 10 + digit - ZERO;
  }
  return value;
}

/**
 * A message's headers by lower-case name. They are read from its bytes: the library throws on a value with a lone CR or LF,
 * which servers pass on, and so anyone who may publish could end a wait.
 */
export function lowerCasedHeaders(message: Msg): ReadonlyMap<string, readonly string[]> {
  const { _msg, _rdata } = message as unknown as RawMessage;
  return _msg.hdr <= 0 ? NO_HEADERS : headersIn(Buffer.from(_rdata.buffer, _rdata.byteOffset, _msg.hdr));
}

/** The same for the bytes of a message's headers. */
export function headersIn(bytes: Buffer): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  const [, ...lines] = bytes.toString().split('\r\n');
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const values = headers.get(name);
    if (values === undefined) headers.set(name, [value]);
    else values.push(value);
  }
  return headers;
}
