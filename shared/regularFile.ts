import { closeSync, constants, fstatSync, openSync, readSync, statSync, type Stats } from 'node:fs';

/** Undefined on Windows, which has no named pipes among its files. */
const NON_BLOCKING = constants.O_NONBLOCK as number | undefined;
const CHUNK_BYTES = 64 * 1_024;

/** What kind of file it is, as a clause: `it is a named pipe, not a regular file`. Undefined for a regular file. */
export function irregularity(stats: Stats): string | undefined {
  if (stats.isFile()) return undefined;
  if (stats.isDirectory()) return 'it is a folder, not a file';
  return `it is a ${stats.isFIFO() ? 'named pipe' : stats.isSocket() ? 'socket' : 'device'}, not a regular file`;
}

/**
 * Opens a regular file for reading. Nothing else is opened, since even that can hang or have an effect; and because the
 * file may be swapped in between, what was opened is looked at again.
 *
 * @returns the file descriptor, for the caller to close
 * @throws Error with a clause about the file, or as `openSync` does
 */
export function openRegularFile(file: string): number {
  refuseIrregular(statSync(file));
  // A named pipe opens at once with this, and is then seen to be one.
  const descriptor = openSync(file, constants.O_RDONLY | (NON_BLOCKING ?? 0));
  try {
    refuseIrregular(fstatSync(descriptor));
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * Reads a regular file whole.
 *
 * @param mostBytes never more than these are kept, however large the file says it is
 * @returns its bytes; undefined when it has more
 * @throws as {@link openRegularFile} does
 */
export function readRegularFile(file: string, mostBytes: number): Buffer | undefined {
  const descriptor = openRegularFile(file);
  try {
    const { size } = fstatSync(descriptor);
    if (size > mostBytes) return undefined;
    const chunks: Buffer[] = [];
    let bytes = 0;
    // One byte more than the file has tells its end without a second buffer.
    for (let room = size + 1; ; room = CHUNK_BYTES) {
      const chunk = Buffer.allocUnsafe(room);
      const read = readSync(descriptor, chunk);
      if (read === 0) break;
      bytes += read;
      if (bytes > mostBytes) return undefined;
      chunks.push(chunk.subarray(0, read));
    }
    const [only] = chunks;
    return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, bytes);
  } finally {
    closeSync(descriptor);
  }
}

function refuseIrregular(stats: Stats): void {
  const problem = irregularity(stats);
  if (problem !== undefined) throw new Error(problem);
}
