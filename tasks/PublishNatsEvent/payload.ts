import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { reasonOf, TaskError } from '../shared/errors.ts';

/** No NATS server takes a larger `max_payload` (nats-server, `MAX_PAYLOAD_MAX_SIZE`), in bytes. */
export const LARGEST_PAYLOAD = 64 * 1_024 * 1_024;

/** The bytes of a file, untouched. */
export function readPayloadFile(file: string): Uint8Array {
  try {
    const { size } = statSync(file);
    if (size > LARGEST_PAYLOAD) {
      throw new TaskError(
        'TooLarge',
        `payloadFile: ${file} has ${String(size)} bytes, more than any NATS server takes.`,
        'Store it elsewhere, such as a pipeline artifact, and publish a reference to it.',
      );
    }
    return readFileSync(file);
  } catch (error) {
    if (error instanceof TaskError) throw error;
    throw new TaskError('InvalidInput', `payloadFile: ${file} cannot be read (${reasonOf(error)}).`, '', {
      cause: error,
    });
  }
}

/** SHA-256 of a payload, in hexadecimal: what a receipt shows in its place. */
export function sha256(payload: Uint8Array): string {
  return createHash('sha256').update(payload).digest('hex');
}
