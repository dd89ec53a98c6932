import { realpathSync, statSync } from 'node:fs';
import { platform } from 'node:os';
import path from 'node:path';
import type { Problem } from '../../shared/errors.ts';

/** What a mode lets others do to the file. */
const BY_OTHERS: Readonly<Record<number, string>> = { 0o2: 'changed', 0o4: 'read', 0o6: 'read and changed' };
/** Anybody may read what Kubernetes, Docker and Podman mount, but there's nobody else in the container. */
const MOUNTED = /\/\.\.\d{4}_\d\d_\d\d_|^(\/var)?\/run\/secrets\//;

/** Why a secret isn't safe in its file: a clause about the file. Undefined where it is, or Windows decides. */
export function exposureOf(file: string): Problem | undefined {
  if (platform() === 'win32') return undefined;
  try {
    const real = realpathSync(file);
    const done = BY_OTHERS[statSync(real).mode & 0o6];
    if (done === undefined || MOUNTED.test(real) || !isReachable(path.dirname(real))) return undefined;
    return {
      problem: `can be ${done} by every user of this machine`,
      remedy: `Run chmod o= ${inShell(file)}; the bridge's user must own the file or be in its group.`,
    };
  } catch {
    // It has just gone, which its reader notices.
    return undefined;
  }
}

/** Whether others may enter a folder and all that it is in. */
function isReachable(folder: string): boolean {
  if ((statSync(folder).mode & 0o001) === 0) return false;
  const parent = path.dirname(folder);
  return parent === folder || isReachable(parent);
}

function inShell(file: string): string {
  return /^[\w./@:+,-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`;
}
