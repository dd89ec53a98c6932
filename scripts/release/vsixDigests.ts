import { unzipSync } from 'fflate';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * The SHA-256 of each file in a .vsix, by name. Two packings of one source have the same; the .vsix files themselves
 * differ, since tfx writes the time of packing into the archive.
 */
export function vsixDigests(vsix: string): Record<string, string> {
  const entries = Object.entries(unzipSync(readFileSync(vsix))).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries.map(([file, bytes]) => [file, createHash('sha256').update(bytes).digest('hex')]));
}
