import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { isCloudEvent } from '../../shared/event/cloudEvent.ts';
import { readRegularFile } from '../../shared/regularFile.ts';
import { jsonSyntaxProblem } from '../../shared/text/jsonSyntax.ts';
import type { PublishRequest } from './inputs.ts';

/** No NATS server takes a larger `max_payload` (nats-server, `MAX_PAYLOAD_MAX_SIZE`), in bytes. */
export const LARGEST_PAYLOAD = 64 * 1_024 * 1_024;

/** The bytes of a regular file, untouched. */
export function readPayloadFile(file: string): Uint8Array {
  let bytes: Buffer | undefined;
  try {
    bytes = readRegularFile(file, LARGEST_PAYLOAD);
  } catch (error) {
    throw unreadable(file, error);
  }
  if (bytes !== undefined) return bytes;
  throw new TaskError(
    'TooLarge',
    `payloadFile: ${file} has more than ${LARGEST_PAYLOAD} bytes, more than any NATS server takes`,
    'Store it elsewhere, such as a pipeline artifact, and publish a reference to it.',
  );
}

export function unreadable(file: string, cause: unknown): TaskError {
  return new TaskError('InvalidInput', `payloadFile: ${file} cannot be read (${reasonOf(cause)})`, '', { cause });
}

const MARKS: readonly (readonly [encoding: string, mark: readonly number[]])[] = [
  ['UTF-32 LE', [0xff, 0xfe, 0, 0]],
  ['UTF-32 BE', [0, 0, 0xfe, 0xff]],
  ['UTF-16 LE', [0xff, 0xfe]],
  ['UTF-16 BE', [0xfe, 0xff]],
];
/** First bytes that identify UTF-16 without a byte order mark. */
const LOOKED_AT = 64;
const WRITE_UTF8 = 'Nothing was sent. Write the file in UTF-8 (in PowerShell, with -Encoding utf8)';

/** The encoding of a text in UTF-16 or UTF-32, by its beginning; undefined for anything else. */
function wideEncoding(start: Uint8Array): string | undefined {
  const marked = MARKS.find(([, mark]) => mark.every((byte, index) => start[index] === byte));
  if (marked !== undefined) return marked[0];
  const looksLike = (zeros: 0 | 1) =>
    start.every((byte, index) => (index % 2 === zeros ? byte === 0 : byte >= 0x09 && byte < 0x7f));
  if (start.length < 4) return undefined;
  if (looksLike(1)) return 'UTF-16 LE';
  return looksLike(0) ? 'UTF-16 BE' : undefined;
}

/** The encoding of a text that isn't in UTF-8; undefined for UTF-8 and for anything that doesn't look like text. */
function foreignEncoding(bytes: Uint8Array): string | undefined {
  const wide = bytes.length % 2 === 0 ? wideEncoding(bytes.subarray(0, LOOKED_AT)) : undefined;
  if (wide !== undefined || isUtf8(bytes)) return wide;
  // Packed formats such as MessagePack begin with a byte that no text in such an encoding begins with, or hold control characters.
  const isText =
    /[\w "'{[<(#-]/.test(String.fromCharCode(bytes[0] ?? 0)) &&
    bytes.every((byte) => byte >= 0x20 || (byte >= 0x09 && byte <= 0x0d));
  return isText ? 'an 8-bit encoding such as Windows-1252' : undefined;
}

/**
 * Text in an encoding other than UTF-8 is unreadable unless you know the encoding.
 *
 * @throws TaskError InvalidInput that names the encoding
 */
export function checkEncoding(file: string, bytes: Uint8Array): void {
  const encoding = foreignEncoding(bytes);
  if (encoding === undefined) return;
  const remedy = `${WRITE_UTF8}, or set contentType if these bytes are meant, such as "text/plain; charset=utf-16" or application/octet-stream.`;
  throw new TaskError('InvalidInput', `payloadFile: ${file} is text in ${encoding}, not in UTF-8`, remedy);
}

/** The same for the beginning of a file of lines, which are JSON and so must be UTF-8. */
export function checkEncodingOfLines(file: string, start: Uint8Array): void {
  const encoding = wideEncoding(start.subarray(0, LOOKED_AT));
  if (encoding === undefined) return;
  throw new TaskError('InvalidInput', `payloadFile: ${file} is text in ${encoding}, not in UTF-8`, `${WRITE_UTF8}.`);
}

/**
 * What is odd about a payload but may be intended.
 *
 * @param text of the whole payload of one event
 * @param json its value, or that of one line
 */
export function remarksOn(
  { payload, envelope, contentType }: PublishRequest,
  text: string | undefined,
  json: unknown,
): string[] {
  const what = payload.from === 'inline' ? 'payload:' : `payloadFile: ${payload.file}`;
  if (text?.trim() === '' && contentType === undefined) return [`${what} is empty.`];
  if (
    text !== undefined &&
    json === undefined &&
    payload.from === 'file' &&
    contentType === undefined &&
    /^\s*[{[]/.test(text)
  )
    return [
      `${what} looks like JSON but doesn't parse: ${jsonSyntaxProblem(text)}. It's sent as application/octet-stream, and a wait sees it as text, without fields. Check its quotes and commas, or set contentType if it's meant.`,
    ];
  if (!isCloudEvent(json) || envelope === 'none') return [];
  return [
    `${what} is a CloudEvent itself, and becomes the data of another one. To send it as it is, set envelope: none.`,
  ];
}

/** SHA-256 of a payload, in hexadecimal: a receipt shows it instead of the payload. */
export function sha256(payload: Uint8Array): string {
  return createHash('sha256').update(payload).digest('hex');
}
