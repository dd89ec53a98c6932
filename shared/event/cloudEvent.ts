import { isUtf8 } from 'node:buffer';
import { isObject } from '../text/json.ts';

/** CloudEvents context attributes, extensions included, by lower-case name. */
export type Attributes = Readonly<Record<string, string>>;

/** How a CloudEvent travels in a NATS message: attributes as headers, all in one JSON payload, or not at all. */
export type Envelope = 'binary' | 'structured' | 'none';

/** The attributes every event must have, beside `specversion`. */
export const REQUIRED_ATTRIBUTES = ['id', 'source', 'type'] as const;

/** Whether JSON looks like a CloudEvent in JSON. */
export function isCloudEvent(json: unknown): json is Record<string, unknown> {
  return isObject(json) && ['specversion', ...REQUIRED_ATTRIBUTES].every((name) => typeof json[name] === 'string');
}

/** CloudEvents 1.0, "Naming conventions": lower-case letters and digits, and not `data`. */
export const ATTRIBUTE_NAME = /^(?!data$)[a-z0-9]+$/;

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;
const RFC_3339 =
  /^\d{4}-\d\d-(\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * The nearest value that the CloudEvents type String allows: control characters become spaces; lone surrogates and
 * noncharacters become U+FFFD.
 */
export function cleanAttribute(value: string): string {
  if (PRINTABLE_ASCII.test(value)) return value;
  return value.replace(/\p{Cc}/gu, ' ').replace(/[\p{Cs}\p{NChar}]/gu, '\uFFFD');
}

/** An attribute's clean value as a `ce-` header carries it (percent-encoding of the HTTP and NATS bindings). */
export function encodeAttribute(value: string): string {
  return value.replace(/[^\x21\x23\x24\x26-\x7e]/gu, encodeURIComponent);
}

/**
 * The attribute's value in a `ce-` header: a quoted string is unquoted, then percent-decoding is undone once. A value that
 * isn't percent-encoded UTF-8 is taken as it stands, since some senders encode nothing.
 */
export function decodeAttribute(header: string): string {
  if (!/[%"]/.test(header)) return header;
  const isQuoted = header.length > 1 && header.startsWith('"') && header.endsWith('"');
  try {
    return decodeURIComponent(isQuoted ? header.slice(1, -1).replace(/\\(.)/gs, '$1') : header);
  } catch {
    return header;
  }
}

/** Milliseconds since the epoch of an RFC 3339 time; undefined when it is not one. A leap second is read as the one before. */
export function parseTime(text: string): number | undefined {
  const time = text.toUpperCase();
  const day = RFC_3339.exec(time)?.[1];
  // Date.parse takes 30 February for 1 March.
  if (day === undefined || new Date(`${time.slice(0, 10)}T00:00:00Z`).getUTCDate() !== Number(day)) return undefined;
  return Date.parse(time.replace(':60', ':59'));
}

const BYTE_ORDER_MARK = '\uFEFF';

/** The text in these bytes, without a byte order mark; undefined when they are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return undefined;
  const text = asBuffer(bytes).toString();
  return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
