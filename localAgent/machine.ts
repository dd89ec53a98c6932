import path from 'node:path';
import { runProcess } from './childProcess.ts';
import { temporaryFolder } from './vsix.ts';

/** Where an agent's steps run: this machine, or a test's stand-in for another one. */
export interface Machine {
  /** `Agent.OS` */
  readonly os: string;
  /** How it writes paths. */
  readonly path: path.PlatformPath;
  /** A new folder for an agent, as this process reaches it. */
  newHome(): string;
  /** What the machine calls a file of this process. */
  pathOf(local: string): string;
  /** Where this process reaches a file of the machine. */
  localPath(file: string): string;
  /** Runs a process on it, whose program and folder are named as this process reaches them. */
  readonly run: typeof runProcess;
}

export const THIS_MACHINE: Machine = {
  os: { linux: 'Linux', darwin: 'Darwin' }[process.platform as string] ?? 'Windows_NT',
  path,
  newHome: () => temporaryFolder('agent-'),
  pathOf: (local) => local,
  localPath: (file) => file,
  run: runProcess,
};
