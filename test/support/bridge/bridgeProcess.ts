import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { nodeBinary } from '../../../localAgent/index.ts';
import { BRIDGE_FILE, BRIDGE_FOLDER } from '../../../scripts/build/manifest.ts';
import type { Windows } from '../windows/windows.ts';
import { configurationFile } from './configurationFile.ts';

const PATIENCE_MS = 20_000;

/** The Node.js versions that the bridge runs on. */
export const NODE_VERSIONS = ['20', '24'] as const;

export interface BridgeOptions {
  /** Contents of files next to the configuration, by name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly node?: (typeof NODE_VERSIONS)[number];
  /** The folder with the bundle; the packed one if absent. */
  readonly folder?: string;
  /** The machine it runs on; this one if absent. */
  readonly windows?: Windows;
  /** A command may read what its user may, even if that's root. */
  readonly heedsModes?: boolean;
}

/** A line of the log. */
export interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

/** The result of a command that ends by itself. */
export interface CommandRun {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function environment(more: BridgeOptions['env'] = {}): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], ...more };
}

function bundle(folder = BRIDGE_FOLDER): string {
  const file = path.join(folder, BRIDGE_FILE);
  if (existsSync(file)) return file;
  throw new Error('There is no dist/bridge: run npm run package.');
}

/** Runs a command to its end, with its own configuration. */
export function runBridge(args: readonly string[], yaml: string, options: BridgeOptions = {}): Promise<CommandRun> {
  return runBridgeOn(configurationFile(yaml, options.files), args, options);
}

/** Runs a command to its end, with an existing configuration. */
export async function runBridgeOn(
  file: string,
  args: readonly string[],
  options: BridgeOptions = {},
): Promise<CommandRun> {
  let [stdout, stderr] = ['', ''];
  const program = start([...args, '--config', file], options, {
    stdout: (text) => (stdout += text.toString()),
    stderr: (text) => (stderr += text.toString()),
  });
  const timer = setTimeout(() => program.signal('SIGKILL'), 2 * PATIENCE_MS);
  const status = await program.ended;
  clearTimeout(timer);
  return { status, stdout, stderr };
}

/** The bundle as a process. */
interface Program {
  readonly pid: number;
  readonly ended: Promise<number | null>;
  signal(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL'): void;
}

/** Starts the bundle. It ends with the test, however that ends. */
function start(
  args: readonly string[],
  { env, node = '20', folder, windows, heedsModes }: BridgeOptions,
  take: Readonly<Record<'stdout' | 'stderr', (bytes: Buffer) => void>>,
): Program {
  if (windows) {
    const onWindows = args.map((arg) => (path.isAbsolute(arg) ? windows.pathOf(arg) : arg));
    const running = windows.start(windows.node(node), [windows.pathOf(bundle()), ...onWindows], {
      cwd: path.dirname(args.at(-1)!),
      env: env ?? {},
      onStdout: take.stdout,
      onStderr: take.stderr,
    });
    return { pid: 0, ended: running.ended, signal: (signal) => running.signal(signal) };
  }
  const isTooMighty = heedsModes === true && process.getuid?.() === 0;
  const privileges = isTooMighty ? ['--bounding-set', '-dac_override,-dac_read_search'] : [];
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', ...privileges, '--', nodeBinary(node), bundle(folder), ...args],
    {
      env: environment(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  child.stdout.on('data', take.stdout);
  child.stderr.on('data', take.stderr);
  return {
    pid: child.pid ?? 0,
    ended: once(child, 'close').then(([status]) => status as number | null),
    signal: (signal) => void child.kill(signal),
  };
}

/** Runs the bundle to its end, without a configuration. */
export function runBundle(args: readonly string[], node: (typeof NODE_VERSIONS)[number] = '20'): CommandRun {
  return spawnSync(nodeBinary(node), [bundle(), ...args], { encoding: 'utf8', env: environment() });
}

/** A bridge that runs as a process of its own. */
export class BridgeProcess implements AsyncDisposable {
  readonly #program: Program;
  #hasEnded = false;
  #text = '';
  /** How much of the text has been split into lines. */
  #read = 0;
  readonly #lines: LogLine[] = [];

  private constructor(
    readonly file: string,
    options: BridgeOptions,
  ) {
    this.#program = start(['run', '--config', file], options, {
      stdout: () => undefined,
      stderr: (text) => (this.#text += text.toString()),
    });
    void this.#program.ended.then(() => (this.#hasEnded = true));
  }

  /** Starts a bridge; resolves once both ports listen or it has ended. */
  static start(yaml: string, options: BridgeOptions = {}): Promise<BridgeProcess> {
    return BridgeProcess.startOn(configurationFile(yaml, options.files), options);
  }

  /** Like {@link start}, with an existing configuration. */
  static async startOn(file: string, options: BridgeOptions = {}): Promise<BridgeProcess> {
    const bridge = new BridgeProcess(file, options);
    const isListening = () => bridge.lines.some(({ event }) => event === 'listening');
    await bridge.until('port', () => isListening() || bridge.#hasEnded || undefined);
    return bridge;
  }

  /** Everything it has logged. */
  get text(): string {
    return this.#text;
  }

  get lines(): LogLine[] {
    const end = this.#text.lastIndexOf('\n') + 1;
    for (const line of this.#text.slice(this.#read, end).split('\n').filter(Boolean))
      this.#lines.push(JSON.parse(line) as LogLine);
    this.#read = end;
    return [...this.#lines];
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** The first line with this event, from the given line on. */
  logged(event: string, from = 0): Promise<LogLine> {
    return this.until(`the event ${event}`, () => this.lines.slice(from).find((line) => line.event === event));
  }

  /** Repeats a look until it finds something, for up to 20 s. */
  async until<Found>(what: string, look: () => Found | undefined | Promise<Found | undefined>): Promise<Found> {
    for (const deadline = Date.now() + PATIENCE_MS; ;) {
      const found = await look();
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`No ${what}. The log:\n${this.#text}`);
      await delay(20);
    }
  }

  get publicUrl(): string {
    return `http://${String(this.lines.find(({ event }) => event === 'listening')?.['public'])}`;
  }

  get publicPort(): number {
    return Number(new URL(this.publicUrl).port);
  }

  /** Sends a request to its private port. */
  async admin(place: string): Promise<{ status: number; text: string; headers: Headers }> {
    const address = String(this.lines.find(({ event }) => event === 'listening')?.['admin']);
    const response = await fetch(`http://${address}${place}`).catch((cause: unknown) => {
      throw new Error(`The private port didn't answer ${place}. The log:\n${this.#text}`, { cause });
    });
    return { status: response.status, text: await response.text(), headers: response.headers };
  }

  /** Resolves once `/readyz` answers with this status. */
  async ready(status: 200 | 503): Promise<Record<string, unknown>> {
    return this.until(`/readyz with ${status}`, async () => {
      const answer = await this.admin('/readyz');
      return answer.status === status ? (JSON.parse(answer.text) as Record<string, unknown>) : undefined;
    });
  }

  /** The value of a metric, with these labels if given. */
  async metric(name: string): Promise<number | undefined> {
    const { text } = await this.admin('/metrics');
    const line = text.split('\n').find((one) => one.startsWith(`nats_bridge_${name} `));
    return line === undefined ? undefined : Number(line.split(' ')[1]);
  }

  /** Writes its configuration, or a file next to it. */
  write(text: string, name = 'bridge.yml'): void {
    writeFileSync(path.join(path.dirname(this.file), name), text);
  }

  signal(signal: 'SIGTERM' | 'SIGINT'): void {
    this.#program.signal(signal);
  }

  /** The exit code, once it has ended. */
  get ended(): Promise<number | null> {
    return this.#program.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#program.signal('SIGKILL');
    await this.#program.ended;
  }
}
