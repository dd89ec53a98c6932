import { type ChildProcess, spawn } from 'node:child_process';
import os from 'node:os';

/** How long the agent waits, in milliseconds. A test may shorten them. */
export interface Waits {
  /** After SIGINT, before SIGTERM. */
  readonly sigint: number;
  /** After SIGTERM, before the tree is killed. */
  readonly sigterm: number;
  /** After the process ended, for others that hold its pipes. */
  readonly pipes: number;
  /** After `task.complete` with `done=true`, before the step ends even though the process still runs. */
  readonly done: number;
  /** Before a retry; the first retry is number 0. */
  readonly retry: (retry: number) => number;
}

export const AGENT_WAITS: Waits = {
  sigint: 7_500,
  sigterm: 2_500,
  pipes: 5_000,
  done: 5_000,
  retry: (retry) => (retry + 1) ** 2 * 1_000,
};

/** Everything a task gets from the agent's environment. */
const INHERITED = /^(PATH|HOME|TEMP|TMP|TMPDIR|SYSTEMROOT|USERPROFILE|PATHEXT|COMSPEC)$/i;

/** The few variables a process needs to run at all; nothing else from this process's environment reaches a step. */
export function inheritedEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      INHERITED.test(name) && value !== undefined ? [[name, value]] : [],
    ),
  );
}

export interface ProcessOptions {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly onStdout: (bytes: Buffer) => void;
  readonly onStderr: (bytes: Buffer) => void;
  /** Ends the process as the agent does on cancel: SIGINT, SIGTERM, then its whole tree is killed. */
  readonly cancel: AbortSignal;
  /** Kills the tree at once. */
  readonly kill: AbortSignal;
  readonly waits: Waits;
}

const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach(killTree));

/** A child leads its own process group, so that its children go with it. */
function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === 'win32') spawn('taskkill', ['/pid', String(child.pid), '/t', '/f']);
    else process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Runs a process to its end, with its pipes: those still open some time after it ended are closed by killing what holds them.
 * @returns the exit code; 128 + the signal's number when one ended it. Rejects when it could not be started.
 */
export function runProcess(options: ProcessOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(options.file, options.args, {
      cwd: options.cwd,
      env: { ...options.env, TF_BUILD: 'True' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    running.add(child);
    const timers: NodeJS.Timeout[] = [];
    const after = (milliseconds: number, act: () => void): void => void timers.push(setTimeout(act, milliseconds));

    const onKill = (): void => killTree(child);
    const onCancel = (): void => {
      child.kill('SIGINT');
      after(options.waits.sigint, () => {
        child.kill('SIGTERM');
        after(options.waits.sigterm, onKill);
      });
    };
    const release = (): void => {
      timers.forEach(clearTimeout);
      options.cancel.removeEventListener('abort', onCancel);
      options.kill.removeEventListener('abort', onKill);
      running.delete(child);
    };

    child.stdout.on('data', options.onStdout);
    child.stderr.on('data', options.onStderr);
    child.once('error', (error) => {
      release();
      reject(error);
    });
    child.once('exit', () => {
      timers.forEach(clearTimeout);
      after(options.waits.pipes, () => {
        killTree(child);
        child.stdout.destroy();
        child.stderr.destroy();
      });
    });
    child.once('close', (code, signal) => {
      release();
      resolve(code ?? 128 + (signal === null ? 0 : os.constants.signals[signal]));
    });
    options.cancel.addEventListener('abort', onCancel);
    options.kill.addEventListener('abort', onKill);
    if (options.cancel.aborted) onCancel();
  });
}
