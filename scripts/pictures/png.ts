import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Sharp } from 'sharp';

/** The keyword of the PNG text chunk that tells what a picture was made from. */
const KEYWORD = 'Source-SHA256';
const SIGNATURE_LENGTH = 8;

/** The digest by which a picture knows its source, in hexadecimal. */
export function digestOf(source: string): string {
  return createHash('sha256').update(source).digest('hex');
}

/** The digest that a picture carries; undefined when there is no such file or it carries none. */
export function sourceDigest(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const bytes = readFileSync(file);
  for (let at = SIGNATURE_LENGTH; at < bytes.length; at += bytes.readUInt32BE(at) + 12) {
    const [type, length] = [bytes.toString('latin1', at + 4, at + 8), bytes.readUInt32BE(at)];
    const [keyword, text] = bytes.toString('latin1', at + 8, at + 8 + length).split('\0');
    if (type === 'tEXt' && keyword === KEYWORD) return text;
  }
  return undefined;
}

/** Writes a picture with a palette of at most `colours`, as small as it gets, and the digest of its source in it. */
export async function writePng(file: string, image: Sharp, colours: number, digest: string): Promise<void> {
  const png = await image
    .png({ palette: true, colours, quality: 60, dither: 0, effort: 10, compressionLevel: 9 })
    .toBuffer();
  // After the header, whose chunk has 25 bytes.
  const at = SIGNATURE_LENGTH + 25;
  writeFileSync(file, Buffer.concat([png.subarray(0, at), textChunk(`${KEYWORD}\0${digest}`), png.subarray(at)]));
}

function textChunk(text: string): Buffer {
  const body = Buffer.from(`tEXt${text}`, 'latin1');
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length - 4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
