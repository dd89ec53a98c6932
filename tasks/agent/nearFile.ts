import { existsSync, opendirSync } from 'node:fs';
import path from 'node:path';
import { probablyMeant } from '../../shared/text/nearest.ts';
import { quoted } from '../../shared/text/safeText.ts';

/** Entries of a folder that are looked at. */
const MOST_ENTRIES = 1_000;

/**
 * Asks for the file that was probably meant by one that doesn't exist: in another case, a few letters off, or with another
 * extension. If the file's folder doesn't exist either, asks for that. A sentence; undefined when nothing is near.
 */
export function askForFile(file: string): string | undefined {
  let missing = file;
  for (let parent = path.dirname(missing); parent !== missing && !existsSync(parent); parent = path.dirname(missing))
    missing = parent;
  const name = path.basename(missing);
  const names = entriesOf(path.dirname(missing), missing !== file);
  const stem = stemOf(name);
  const meant =
    probablyMeant(name, names, Math.min(2, Math.floor(stem.length / 2.5))) ?? names.find((it) => stemOf(it) === stem);
  if (meant === undefined) return undefined;
  return missing === file
    ? `Did you mean ${quoted(meant)}?`
    : `There is no folder ${quoted(name)}: did you mean ${quoted(meant)}?`;
}

/** What to do if nothing is in the folder that a file's relative path starts at, as in a job without checkout; else undefined. */
export function askForCheckout(file: string, folder: string): string | undefined {
  const relative = path.relative(folder, file);
  if (relative.startsWith('..') || path.isAbsolute(relative) || !isEmptyFolder(folder)) return undefined;
  return "The job's working directory is empty: add the step checkout: self, or create the file before this step.";
}

function isEmptyFolder(folder: string): boolean {
  try {
    const entries = opendirSync(folder);
    try {
      return entries.readSync() === null;
    } finally {
      entries.closeSync();
    }
  } catch {
    return false;
  }
}

/** A name without its extension, for comparing. */
function stemOf(name: string): string {
  return path.parse(name).name.toLowerCase();
}

function entriesOf(folder: string, areFolders: boolean): string[] {
  const names: string[] = [];
  try {
    const entries = opendirSync(folder);
    try {
      for (let read = 0; read < MOST_ENTRIES; read++) {
        const entry = entries.readSync();
        if (entry === null) break;
        if (entry.isDirectory() === areFolders) names.push(entry.name);
      }
    } finally {
      entries.closeSync();
    }
  } catch {
    // It may not be read, and then nothing is asked.
  }
  return names.sort();
}
