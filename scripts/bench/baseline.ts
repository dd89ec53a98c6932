import { execFileSync } from 'node:child_process';
import path from 'node:path';

/** Runs a script of this folder in a process of its own, as a task has one; returns the milliseconds that it prints. */
export function runBaseline(script: 'consume.ts' | 'durable.ts' | 'jsPublish.ts', ...args: readonly string[]): number {
  const file = path.join(import.meta.dirname, script);
  return Number(execFileSync(process.execPath, ['--import', 'tsx', file, ...args], { encoding: 'utf8' }));
}
