import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { temporaryFolder } from '../../localAgent/index.ts';

/** The preloaded code. `resourceUsage` alone would tell the peak of the parent where that is higher (Linux, after exec). */
const PRELOAD = `
import { readFileSync, writeFileSync } from 'node:fs';
process.on('exit', () => {
  let kilobytes = process.resourceUsage().maxRSS;
  try {
    kilobytes = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  } catch {}
  writeFileSync(process.env.PEAK_MEMORY_FILE, String(kilobytes));
});
`;

export interface PeakMemory {
  /** For the process to measure. */
  readonly env: Readonly<Record<string, string>>;
  readonly file: string;
}

/** Prepares to measure the peak memory of one Node process. */
export function measuringPeak(): PeakMemory {
  const folder = temporaryFolder('peak-');
  const file = path.join(folder, 'kilobytes');
  const preload = path.join(folder, 'preload.mjs');
  writeFileSync(preload, PRELOAD);
  return { file, env: { NODE_OPTIONS: `--import=${pathToFileURL(preload).href}`, PEAK_MEMORY_FILE: file } };
}

/** In megabytes, once the process has ended. */
export function peakOf({ file }: PeakMemory): number {
  return Number(readFileSync(file, 'utf8')) / 1_024;
}
