import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { isDevPackage } from './channels.ts';
import { ROOT } from './manifest.ts';

/** What a package is made of. */
const SOURCES = [
  ...[
    'tasks',
    'bridge',
    'shared',
    'images',
    'scripts/build',
    'scripts/release',
    'scripts/package.ts',
    'vss-extension.json',
  ],
  ...['README.md', 'LICENSE', 'package.json', 'package-lock.json'],
];

/**
 * Packs when {@link isStale}, without an audit: nothing is published.
 * @throws Error when packing fails; it has said why
 */
export function packIfStale(): void {
  if (!isStale()) return;
  console.log('Packing: the package is missing, or older than its sources.');
  const options = ['--import', 'tsx', 'scripts/package.ts', '--no-audit'];
  const { status } = spawnSync(process.execPath, options, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) throw new Error('Packing has failed.');
}

/** Whether a root folder has no package of the prod channel, or one that is older than anything it is made of. */
export function isStale(root = ROOT): boolean {
  const dist = path.join(root, 'dist');
  const [vsix, ...others] = existsSync(dist) ? readdirSync(dist).filter((name) => name.endsWith('.vsix')) : [];
  if (vsix === undefined || isDevPackage(vsix) || others.length > 0 || !existsSync(path.join(dist, 'bridge')))
    return true;
  const packedAt = lastChange(path.join(dist, vsix));
  return SOURCES.some((source) => lastChange(path.join(root, source)) > packedAt);
}

/** When a file or anything in a folder was changed last, in milliseconds; removing a file changes its folder. */
function lastChange(place: string): number {
  const status = statSync(place);
  if (!status.isDirectory()) return status.mtimeMs;
  return Math.max(status.mtimeMs, ...readdirSync(place).map((name) => lastChange(path.join(place, name))));
}
