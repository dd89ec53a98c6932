import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { connect, type ConnectionOptions } from 'nats';

/** How a test server is set up. Without options: JetStream on, no sign-in, 127.0.0.1, a free port. */
export interface NatsServerOptions {
  /** JetStream with a store of its own; default true. */
  readonly jetStream?: boolean;
  /** More configuration text, e.g. from `natsAccounts.ts`; appended to what the other options give. */
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

/** Paths of PEM files, see `saveCertificate` in `certificates.ts`. */
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

/** What a test reads of a server's `/jsz`. */
interface JetStreamStatus {
  readonly meta_cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly name: string; readonly offline?: boolean }[];
  };
}

const READY_MS = 10_000;
const STOP_MS = 2_000;
const FORM_MS = 5_000;
const ELECTION_MS = 30_000;
const ATTEMPTS = 5;

/** A start that may go well with other ports: another process has one of them, or the servers did not find each other. */
class TryAgain extends Error {}

/** Starts a real nats-server; resolves when it accepts connections, within 10 s. Throws an Error with the server's log. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const name = uniqueName();
  if (options.port !== undefined) return NatsServer.start(name, options.port, options);
  return onFreePorts(1, ([port]) => NatsServer.start(name, port!, options));
}

/** One nats-server process of the test's own. It dies with the test's process, whatever ends that. */
export class NatsServer implements AsyncDisposable {
  readonly host: string;
  /** `nats://host:port`, also when the server demands TLS. */
  readonly url: string;
  readonly storeDir: string;
  readonly configFile: string;
  readonly #folder: string;
  readonly #options: NatsServerOptions;
  readonly #cluster: string;
  #extraConfig: string;
  #child: ChildProcess | undefined;
  #log = '';

  static async start(name: string, port: number, options: NatsServerOptions, cluster = ''): Promise<NatsServer> {
    const server = new NatsServer(name, port, options, cluster);
    try {
      await server.#launch();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private constructor(
    /** The `server_name`, unique in the world. */
    readonly name: string,
    /** Stays the same over {@link restart}. */
    readonly port: number,
    options: NatsServerOptions,
    cluster: string,
  ) {
    this.#options = options;
    this.#cluster = cluster;
    this.#extraConfig = options.config ?? '';
    this.host = options.host ?? '127.0.0.1';
    this.url = `nats://${this.host.includes(':') ? `[${this.host}]` : this.host}:${port}`;
    this.#folder = mkdtempSync(join(tmpdir(), 'nats-server-'));
    folders.add(this.#folder);
    this.storeDir = join(this.#folder, 'store');
    this.configFile = join(this.#folder, 'nats.conf');
    mkdirSync(this.storeDir);
  }

  /** The server's own version, e.g. `2.9.10`. */
  get version(): string {
    return /Version:\s+(\S+)/.exec(this.#log)?.[1] ?? '';
  }

  /** Everything the server has logged, over all its restarts. */
  logText(): string {
    return this.#log;
  }

  /** Ends the server in order and removes its store. By force after 2 s: a lame duck with clients does not heed SIGTERM. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
    folders.delete(this.#folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Ends the server as a crash does (SIGKILL); the store stays for {@link restart}. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Freezes the server: connections stay open and nothing is answered. Resolves when every thread has stopped (Linux). */
  async pause(): Promise<void> {
    this.#child?.kill('SIGSTOP');
    while (this.#child?.pid && !isStopped(this.#child.pid)) await setImmediate();
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Tells the clients to leave; resolves when the server has begun. How long it takes is the server's `lame_duck_*` configuration. */
  async lameDuck(): Promise<void> {
    const from = this.#log.length;
    this.#child?.kill('SIGUSR2');
    await this.#logged(/Entering lame duck mode/, from);
  }

  /** Replaces the `config` option while the server runs. Throws when the server refuses the new configuration. */
  async reload(config: string): Promise<void> {
    this.#extraConfig = config;
    this.#writeConfig();
    const from = this.#log.length;
    this.#child?.kill('SIGHUP');
    await this.#logged(/Reloaded server configuration|Failed to reload/, from);
    if (this.#log.includes('Failed to reload', from)) throw this.#failure('refused its new configuration');
  }

  /** Ends the server in order when it runs, and starts it again with the same port, store and configuration. */
  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.#launch();
  }

  /** Names of the other servers it reaches as the leader of a JetStream cluster; undefined when it does not lead. */
  async followers(): Promise<string[] | undefined> {
    const address = /Starting http monitor on (\S+)/.exec(this.#log)?.[1];
    const { meta_cluster: meta } = (await (await fetch(`http://${address}/jsz`)).json()) as JetStreamStatus;
    if (meta?.leader !== this.name) return undefined;
    return (meta.replicas ?? []).filter(({ offline }) => !offline).map(({ name }) => name);
  }

  async #launch(): Promise<void> {
    this.#writeConfig();
    const from = this.#log.length;
    const [command, ...args] = dyingWithParent(this.#options.binary ?? natsServerBinary(), '-c', this.configFile);
    const child = spawn(command!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    children.add(child);
    child.once('close', () => {
      children.delete(child);
      if (this.#child === child) this.#child = undefined;
    });
    child.once('error', (error) => (this.#log += `${error.message}\n`));
    child.stderr.on('data', (text: Buffer) => {
      this.#log += text.toString();
      child.emit('logged');
    });
    // A server that a test forgot must not keep the test's process from ending.
    child.unref();
    (child.stderr as unknown as { unref(): void }).unref();

    await this.#logged(/Server is ready/, from);
    // With TLS first the server says nothing before the handshake; the log is the proof then.
    if (!this.#options.tls?.handshakeFirst && (await nameOfServerAt(this.host, this.port)) !== this.name) {
      throw new TryAgain(`Another server answers at ${this.url}.`);
    }
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
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
  async #logged(pattern: RegExp, from: number): Promise<void> {
    const child = this.#child;
    if (!child) throw this.#failure('is not running');
    await new Promise<void>((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        clearTimeout(timer);
        child.off('logged', look).off('close', ended);
        outcome();
      };
      const look = (): void => {
        if (pattern.test(this.#log.slice(from))) settle(resolve);
      };
      const ended = (): void => {
        const taken = this.#log.slice(from).includes('address already in use');
        settle(() => reject(taken ? new TryAgain(`Port ${this.port} is taken.`) : this.#failure('ended')));
      };
      const timer = setTimeout(
        () => settle(() => reject(this.#failure(`did not log ${pattern} within ${READY_MS / 1000} s`))),
        READY_MS,
      );
      child.on('logged', look).on('close', ended);
      look();
    });
  }

  #failure(what: string): Error {
    return new Error(`The nats-server at ${this.url} ${what}. Its log:\n${this.#log}`);
  }

  #writeConfig(): void {
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
    writeFileSync(this.configFile, [...lines, this.#cluster, this.#extraConfig, ''].join('\n'));
  }
}

/** How a test cluster is set up; every server gets the same options. */
export interface NatsClusterOptions extends Omit<NatsServerOptions, 'port'> {
  /** How many servers; default 3. */
  readonly size?: number;
}

/** Starts servers that form one JetStream cluster; resolves when streams can be created in it. */
export async function startNatsCluster({ size = 3, ...options }: NatsClusterOptions = {}): Promise<NatsCluster> {
  const clusterName = uniqueName();
  return onFreePorts(2 * size, async (ports) => {
    const routePorts = ports.slice(size);
    const routes = routePorts.map((port) => `nats://127.0.0.1:${port}`);
    const cluster = new NatsCluster();
    try {
      for (const [index, routePort] of routePorts.entries()) {
        const clusterConfig = [
          `cluster { name: ${clusterName}, listen: "127.0.0.1:${routePort}", routes: ${JSON.stringify(routes)} }`,
          'http: "127.0.0.1:-1"',
        ].join('\n');
        cluster.servers.push(
          await NatsServer.start(`${clusterName}-${index + 1}`, ports[index]!, options, clusterConfig),
        );
      }
      if (options.jetStream !== false) await cluster.formed();
    } catch (error) {
      await cluster.stop();
      // Also when all servers run: those of 2.10.27 never agreed on a leader in 7 of 210 starts on a busy machine.
      throw new TryAgain(error instanceof Error ? error.message : String(error), { cause: error });
    }
    return cluster;
  });
}

/** Servers that form one cluster. */
export class NatsCluster implements AsyncDisposable {
  readonly servers: NatsServer[] = [];

  get urls(): string[] {
    return this.servers.map((server) => server.url);
  }

  /** Resolves when one server leads and reaches all the others, so that a stream finds its replicas; waits up to 5 s. */
  async formed(): Promise<void> {
    const names = this.servers.map((server) => server.name);
    for (const deadline = Date.now() + FORM_MS; Date.now() < deadline;) {
      for (const leader of this.servers) {
        const followers = await leader.followers();
        if (followers && names.every((name) => name === leader.name || followers.includes(name))) return;
      }
      await delay(50);
    }
    throw new Error(`The servers form no cluster within ${FORM_MS / 1000} s. ${this.servers[0]?.logText()}`);
  }

  /** The server that leads a stream; waits for an election up to 30 s. `options` sign in where the cluster demands it. */
  async leaderOf(stream: string, options: ConnectionOptions = {}): Promise<NatsServer> {
    const connection = await connect({ ...options, servers: this.urls });
    try {
      // Without a leader nobody answers; a server that has lost its peers takes 4 to 9 s to call an election.
      const manager = await connection.jetstreamManager({ checkAPI: false, timeout: 500 });
      for (const deadline = Date.now() + ELECTION_MS; Date.now() < deadline;) {
        const info = await manager.streams.info(stream).catch(() => undefined);
        const leader = this.servers.find((server) => server.name === info?.cluster?.leader);
        if (leader) return leader;
        await delay(50);
      }
      throw new Error(`No server leads the stream ${stream} within ${ELECTION_MS / 1000} s.`);
    } finally {
      await connection.close();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
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

/** Runs `start` with ports that were free a moment ago, and again with others when that went wrong. */
async function onFreePorts<T>(count: number, start: (ports: number[]) => Promise<T>): Promise<T> {
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

/** The stop signal reaches one thread after the other; until then the server may still answer. */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return true;
  return readdirSync(tasks).every((task) => /^State:\s+T/m.test(readFileSync(join(tasks, task, 'status'), 'utf8')));
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

/** Names a server or cluster so that no other can be taken for it. */
function uniqueName(): string {
  return `test-${randomBytes(8).toString('hex')}`;
}

const children = new Set<ChildProcess>();
const folders = new Set<string>();

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});

/** Linux ends the server even when the test's process is killed; elsewhere only the exit handler above does. */
function dyingWithParent(...command: string[]): string[] {
  return process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--', ...command] : command;
}
