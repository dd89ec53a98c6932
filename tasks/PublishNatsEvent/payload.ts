import { createHash } from 'node:crypto';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { readRegularFile } from '../../shared/regularFile.ts';

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

/** SHA-256 of a payload, in hexadecimal: what a receipt shows in its place. */
export function sha256(payload: Uint8Array): string {
  return createHash('sha256').update(payload).digest('hex');
}
