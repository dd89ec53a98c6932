import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { unzipSync } from 'fflate';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));

const unpacked = new Map<string, string>();

/** The one package `npm run package` has written. Throws an Error when there is none, or more than one. */
export function builtVsix(): string {
  const found = readdirSync(DIST).filter((name) => name.endsWith('.vsix'));
  const [vsix] = found;
  if (vsix === undefined || found.length > 1)
    throw new Error(`${DIST} holds ${found.length} .vsix files instead of one. Run "npm run package".`);
  return path.join(DIST, vsix);
}

/**
 * Unpacks an extension package, once per process and file. The folder is removed when the process ends.
 * @returns the folder
 */
export function unpackVsix(file = builtVsix()): string {
  const vsix = path.resolve(file);
  const known = unpacked.get(vsix);
  if (known) return known;

  const folder = temporaryFolder('vsix-');
  for (const [name, content] of Object.entries(unzipSync(readFileSync(vsix)))) {
    if (name.endsWith('/')) continue;
    const target = path.join(folder, name);
    if (path.relative(folder, target).startsWith('..')) throw new Error(`${vsix} holds a file outside itself: ${name}`);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, content);
  }
  unpacked.set(vsix, folder);
  return folder;
}

/** A copy of the built package whose code can be read in a debugger, beside its source. */
export function builtReadable(): string {
  const folder = temporaryFolder('extension-');
  for (const part of [unpackVsix(), path.join(DIST, 'readable')]) cpSync(part, folder, { recursive: true });
  return folder;
}

/** The folder of an extension that is given as one, or as a .vsix file; without either, of the built one. */
export function extensionFolder(extension?: string): string {
  return extension && statSync(extension).isDirectory() ? extension : unpackVsix(extension);
}

const folders = new Set<string>();
process.once('exit', () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A new folder under the system's temporary one, removed with all it holds when the process ends. */
export function temporaryFolder(prefix: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), prefix));
  folders.add(folder);
  return folder;
}
