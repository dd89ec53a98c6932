import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';

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
  const { data, info } = await image.ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  reduceColours(data, colours);
  const png = await sharp(data, { raw: info })
    .png({ palette: true, colours, quality: 100, dither: 0, effort: 10, compressionLevel: 9 })
    .toBuffer();
  // After the header, whose chunk has 25 bytes.
  const at = SIGNATURE_LENGTH + 25;
  writeFileSync(file, Buffer.concat([png.subarray(0, at), textChunk(`${KEYWORD}\0${digest}`), png.subarray(at)]));
}

/**
 * Gives each pixel the nearest of a few colours. They are chosen for being frequent and far from the others, so that a red
 * or green word keeps its colour, where the quantizer of the PNG library makes one brown of both.
 */
function reduceColours(pixels: Buffer, most: number): void {
  const counts = new Map<number, number>();
  for (let at = 0; at < pixels.length; at += 4) {
    const colour = pixels.readUInt32BE(at);
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  const palette: number[] = [];
  const distances = new Map([...counts.keys()].map((colour) => [colour, Infinity]));
  while (palette.length < Math.min(most, counts.size)) {
    const score = (colour: number) =>
      Math.sqrt(counts.get(colour) ?? 0) * Math.min(distances.get(colour) ?? 0, 1_000) ** 1.5;
    const next = [...counts.keys()].reduce((best, colour) => (score(colour) > score(best) ? colour : best));
    palette.push(next);
    for (const [colour, distance] of distances) distances.set(colour, Math.min(distance, distanceOf(colour, next)));
  }
  const nearest = new Map(
    [...counts.keys()].map((colour) => [
      colour,
      palette.reduce((best, other) => (distanceOf(colour, other) < distanceOf(colour, best) ? other : best)),
    ]),
  );
  for (let at = 0; at < pixels.length; at += 4) pixels.writeUInt32BE(nearest.get(pixels.readUInt32BE(at)) ?? 0, at);
}

/** How far two colours, of 8 bits each for red, green, blue and opacity, are from each other. */
function distanceOf(one: number, other: number): number {
  return Math.hypot(...[24, 16, 8, 0].map((bits) => ((one >>> bits) & 0xff) - ((other >>> bits) & 0xff)));
}

function textChunk(text: string): Buffer {
  const body = Buffer.from(`tEXt${text}`, 'latin1');
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length - 4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
