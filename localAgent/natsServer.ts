import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** How a server is set up. Without options: JetStream on, no sign-in, 127.0.0.1, a free port. */
export interface NatsServerOptions {
  /** JetStream with a store of its own; default true. */
  readonly jetStream?: boolean;
  /** More configuration text, appended to what the other options give. */
  readonly config?: string;
  /** Path of the nats-server binary; default {@link natsServerBinary}. */
  readonly binary?: string;
  /** Listening address; default 127.0.0.1. */
  readonly host?: string;
  /** Listening port; default a free one. */
  readonly port?: number;
  /** Largest message in bytes; default the server's 1 MiB. */
  readonly maxPayload?: number;
  readonly tls?: NatsServerTls;
}

/** Paths of PEM files. */
export interface NatsServerTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** The authority of client certificates. */
  readonly caFile?: string;
  /** Demand a client certificate. */
  readonly verify?: boolean;
  /** TLS before the server says anything; nats-server 2.10.4 and later. */
  readonly handshakeFirst?: boolean;
}

const READY_MS = 10_000;
const STOP_MS = 2_000;
const ATTEMPTS = 5;

/** A start that may succeed with other ports: another process has one of them, or servers didn't find each other. */
export class TryAgain extends Error {}

/** Starts a real nats-server; resolves when it accepts connections, within 10 s. Throws an Error with the server's log. */
export function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  return startOnFreePort(NatsServer, options);
}

/** Starts a server of a class, on the port of the options or on a free one. */
export function startOnFreePort<Server extends NatsServer>(
  Kind: new (port: number, options: NatsServerOptions) => Server,
  options: NatsServerOptions,
): Promise<Server> {
  const start = (port: number) => started(new Kind(port, options));
  return options.port === undefined ? onFreePorts(1, ([port = 0]) => start(port)) : start(options.port);
}

/** Starts a server; one that does not start leaves nothing behind. */
export async function started<Server extends NatsServer>(server: Server): Promise<Server> {
  try {
    await server.restart();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** One nats-server process. It dies with the process that started it, however that ends. */
export class NatsServer implements AsyncDisposable {
  readonly host: string;
  /** `nats://host:port`, also when the server demands TLS. */
  readonly url: string;
  readonly storeDir: string;
  readonly configFile: string;
  protected child: ChildProcess | undefined;
  protected log = '';
  readonly #folder: string;
  readonly #options: NatsServerOptions;

  /**
   * @param port stays the same over {@link restart}
   * @param name the `server_name`, unique in the world
   */
  constructor(
    readonly port: number,
    options: NatsServerOptions,
    readonly name = uniqueName(),
  ) {
    this.#options = options;
    this.host = options.host ?? '127.0.0.1';
    this.url = `nats://${this.host.includes(':') ? `[${this.host}]` : this.host}:${port}`;
    this.#folder = mkdtempSync(join(tmpdir(), 'nats-server-'));
    folders.add(this.#folder);
    this.storeDir = join(this.#folder, 'store');
    this.configFile = join(this.#folder, 'nats.conf');
    mkdirSync(this.storeDir);
    this.configure(options.config);
  }

  /** The server's own version, e.g. `2.9.10`. */
  get version(): string {
    return /Version:\s+(\S+)/.exec(this.log)?.[1] ?? '';
  }

  /** Everything the server has logged, over all its restarts. */
  logText(): string {
    return this.log;
  }

  /** Ends the server in order and removes its store. By force after 2 s. */
  async stop(): Promise<void> {
    await this.end('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
    folders.delete(this.#folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Ends the server in order when it runs, and starts it again with the same port, store and configuration. */
  async restart(): Promise<void> {
    await this.end('SIGTERM');
    await this.#launch();
  }

  async #launch(): Promise<void> {
    const from = this.log.length;
    const [command, args] = dyingWithParent(this.#options.binary ?? natsServerBinary(), ['-c', this.configFile]);
    // In a process group of its own, so that Ctrl+C in a terminal doesn't end it before those who use it.
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: process.platform !== 'win32',
    });
    this.child = child;
    children.add(child);
    child.once('close', () => {
      children.delete(child);
      if (this.child === child) this.child = undefined;
    });
    child.once('error', (error) => (this.log += `${error.message}\n`));
    child.stderr.on('data', (text: Buffer) => {
      this.log += text.toString();
      child.emit('logged');
    });
    // A forgotten server must not keep this process from ending.
    child.unref();
    (child.stderr as unknown as { unref(): void }).unref();

    await this.logged(/Server is ready/, from);
    // With TLS first the server says nothing before the handshake, so the log has to prove that it's up.
    if (!this.#options.tls?.handshakeFirst && (await nameOfServerAt(this.host, this.port)) !== this.name) {
      throw new TryAgain(`Another server answers at ${this.url}.`);
    }
  }

  protected async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.child;
    if (!child) return;
    child.ref();
    const closed = once(child, 'close');
    child.kill(signal);
    child.kill('SIGCONT'); // a paused process does not see SIGTERM
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await closed;
    clearTimeout(force);
  }

  /** Resolves when the log holds the pattern at or after `from`. Throws when the server ends before or 10 s pass. */
  async logged(pattern: RegExp, from = 0): Promise<void> {
    const child = this.child;
    if (!child) throw this.failure('is not running');
    await new Promise<void>((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        clearTimeout(timer);
        child.off('logged', look).off('close', ended);
        outcome();
      };
      const look = (): void => {
        if (pattern.test(this.log.slice(from))) settle(resolve);
      };
      const ended = (): void => {
        const taken = this.log.slice(from).includes('address already in use');
        settle(() => reject(taken ? new TryAgain(`Port ${this.port} is taken.`) : this.failure('ended')));
      };
      const timer = setTimeout(
        () => settle(() => reject(this.failure(`did not log ${pattern} within ${READY_MS / 1000} s`))),
        READY_MS,
      );
      child.on('logged', look).on('close', ended);
      look();
    });
  }

  protected failure(what: string): Error {
    return new Error(`The nats-server at ${this.url} ${what}. Its log:\n${this.log}`);
  }

  /** Writes the configuration file: what the options say, and this text instead of their `config`. */
  protected configure(config = ''): void {
    const { jetStream = true, maxPayload, tls } = this.#options;
    const lines = [`server_name: ${this.name}`, `host: ${JSON.stringify(this.host)}`, `port: ${this.port}`];
    if (maxPayload !== undefined) lines.push(`max_payload: ${maxPayload}`);
    if (jetStream) lines.push(`jetstream { store_dir: ${JSON.stringify(this.storeDir)} }`);
    if (tls) {
      lines.push('tls {', `  cert_file: ${JSON.stringify(tls.certFile)}`, `  key_file: ${JSON.stringify(tls.keyFile)}`);
      if (tls.caFile !== undefined) lines.push(`  ca_file: ${JSON.stringify(tls.caFile)}`);
      if (tls.verify) lines.push('  verify: true');
      if (tls.handshakeFirst) lines.push('  handshake_first: true');
      lines.push('}');
    }
    writeFileSync(this.configFile, [...lines, config, ''].join('\n'));
  }
}

/**
 * The path of a nats-server binary.
 *
 * Without a line it is `NATS_SERVER_BINARY`, or the first `nats-server` on the path. With a version line such as `2.10`
 * it is `NATS_SERVER_2_10`, or the one `npm run nats-servers` has put under `.cache/nats-server/`.
 * Throws an Error that says how to get a missing one.
 */
export function natsServerBinary(line?: '2.9' | '2.10' | '2.15'): string {
  if (line !== undefined) {
    const variable = `NATS_SERVER_${line.replace('.', '_')}`;
    const path = process.env[variable] ?? join(import.meta.dirname, '../.cache/nats-server', line, 'nats-server');
    if (isExecutable(path)) return path;
    throw new Error(`No nats-server ${line} at ${path}. Get it: npm run nats-servers, or set ${variable} to its path.`);
  }
  const named = process.env['NATS_SERVER_BINARY'];
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin'];
  const path = (named ? [named] : folders.map((folder) => join(folder, 'nats-server'))).find(isExecutable);
  if (path !== undefined) return path;
  throw new Error(
    `No nats-server ${named ? `at ${named}` : 'on the path'}. ` +
      'Get it (Debian, Ubuntu: apt-get install nats-server), or set NATS_SERVER_BINARY to its path.',
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs `start` with ports that were free a moment ago, and again with others if that fails. */
export async function onFreePorts<T>(count: number, start: (ports: number[]) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      if (!(error instanceof TryAgain) || attempt === ATTEMPTS) throw error;
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(holders.map((holder) => once(holder, 'listening')));
  const ports = holders.map((holder) => (holder.address() as { port: number }).port);
  await Promise.all(holders.map((holder) => once(holder.close(), 'close')));
  return ports;
}

/** Reads the INFO line a NATS server greets with. */
async function nameOfServerAt(host: string, port: number): Promise<string> {
  const socket = createConnection({ host, port, timeout: READY_MS });
  socket.once('timeout', () => socket.destroy(new Error(`No greeting from ${host}:${port}.`)));
  let greeting = '';
  for await (const text of socket) {
    greeting += String(text);
    if (greeting.includes('\r\n')) break;
  }
  return (JSON.parse(greeting.slice('INFO '.length, greeting.indexOf('\r\n'))) as { server_name: string }).server_name;
}

/** A unique name for a server or cluster. */
export function uniqueName(): string {
  return `nats-${randomBytes(8).toString('hex')}`;
}

const children = new Set<ChildProcess>();
const folders = new Set<string>();

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});

/** Linux ends the server even when this process is killed; elsewhere only the exit handler above does. */
function dyingWithParent(command: string, args: string[]): [command: string, args: string[]] {
  return process.platform === 'linux' ? ['setpriv', ['--pdeathsig', 'KILL', '--', command, ...args]] : [command, args];
}
