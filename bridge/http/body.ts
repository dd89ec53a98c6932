import type { Readable } from 'node:stream';

/** Azure DevOps sends hooks of up to 2 MiB; a wait's inputs are far smaller. */
export const MOST_BODY_BYTES = (2 * 1_024 + 64) * 1_024;

/** Why a body was not read: the answer's status. */
export class BodyRefused extends Error {
  constructor(readonly status: 400 | 408 | 413) {
    super(`body refused with ${status}`);
  }
}

/**
 * Reads a body whole.
 *
 * @param declared its `Content-Length`; undefined where it has none
 * @throws BodyRefused when it is too large, takes too long, or is cut short
 */
export function readBody(stream: Readable, declared: string | undefined, withinMs: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const end = (): void => {
      clearTimeout(timer);
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
    };
    const refuse = (status: BodyRefused['status']): void => {
      end();
      // The rest is discarded, so that the connection can carry the answer and the next request.
      stream.resume();
      reject(new BodyRefused(status));
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > MOST_BODY_BYTES) refuse(413);
      else chunks.push(chunk);
    };
    const onEnd = (): void => {
      end();
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    };
    // An error ends with this, too, and goes nowhere if nobody listens.
    const onClose = (): void => refuse(400);
    const timer = setTimeout(() => refuse(408), withinMs);
    if (Number(declared ?? 0) > MOST_BODY_BYTES) refuse(413);
    else stream.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}
