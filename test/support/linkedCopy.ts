import { linkSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

/**
 * Copies a folder with hard links, on the same file system: its files are at other paths, as in another clone.
 * Symbolic links are left out.
 *
 * @param leftOut names of files and folders, at any depth
 */
export function copyByLinks(from: string, to: string, leftOut?: RegExp): void {
  mkdirSync(to);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (leftOut?.test(entry.name)) continue;
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) copyByLinks(source, target, leftOut);
    else if (entry.isFile()) linkSync(source, target);
  }
}
