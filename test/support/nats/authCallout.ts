import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { decodeJwt } from 'jose';
import { connect, type ConnectionOptions, type NatsConnection, type TlsOptions } from 'nats';
import { createAuthority, saveCertificate } from './certificates.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from './natsServer.ts';

/** The example that an operator starts from. */
export const CALLOUT_EXAMPLE = path.join(import.meta.dirname, '../../../examples/auth-callout');

const UNTIL_MS = 10_000;

export interface CalloutOptions {
  /** The content of policy.json. */
  readonly policy: object;
  /** Default: config, where the server's configuration lists the accounts. */
  readonly mode?: 'config' | 'operator';
  readonly line?: '2.10' | '2.15';
  /** Whether the server seals its requests; default true. */
  readonly sealed?: boolean;
}

/** Makes the example's configuration in a new folder below the system's temporary one; its policy is this one. */
export async function setUpCallout(
  folder: string,
  { policy, mode = 'config', line = '2.15', sealed = true }: CalloutOptions,
): Promise<void> {
  await promisify(execFile)(process.execPath, [path.join(CALLOUT_EXAMPLE, 'setup.mjs'), mode, folder]);
  writeFileSync(path.join(folder, 'policy.json'), JSON.stringify(policy));
  const file = path.join(folder, 'auth-callout.conf');
  let config = readFileSync(file, 'utf8');
  if (line === '2.10') config = config.replace(/^default_sentinel: .*$/m, '');
  if (!sealed) config = config.replace(/^ *xkey: .*$/m, '');
  writeFileSync(file, config);
  if (!sealed) changeResponderConfig(folder, { xkey: undefined });
}

/** Replaces fields of responder.json. */
export function changeResponderConfig(folder: string, changes: object): void {
  const file = path.join(folder, 'responder.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, ...changes }));
}

/** Starts a server with TLS and an auth callout, and the example's responder that answers it. */
export async function startCallout(options: CalloutOptions): Promise<Callout> {
  const temporary = mkdtempSync(path.join(tmpdir(), 'auth-callout-'));
  const folder = path.join(temporary, 'callout');
  let server: NatsServer | undefined;
  try {
    await setUpCallout(folder, options);
    const authority = await createAuthority();
    writeFileSync(path.join(folder, 'ca.pem'), authority.cert);
    server = await startNatsServer({
      binary: natsServerBinary(options.line ?? '2.15'),
      tls: saveCertificate(folder, 'server', await authority.server()),
      // An include is relative to the server's configuration file, which is in a temporary folder of its own.
      config: `include "../${path.basename(temporary)}/callout/auth-callout.conf"`,
    });
    changeResponderConfig(folder, { servers: [`tls://127.0.0.1:${server.port}`], ca: 'ca.pem' });
    return new Callout(folder, server, authority.cert, await Responder.start(folder));
  } catch (error) {
    await server?.stop();
    rmSync(temporary, { recursive: true });
    throw error;
  }
}

/** A server, its auth callout and one responder. */
export class Callout implements AsyncDisposable {
  constructor(
    /** Holds the configuration that responder.json is part of. */
    readonly folder: string,
    readonly server: NatsServer,
    /** PEM text of the authority of the server's certificate. */
    readonly ca: string,
    readonly responder: Responder,
  ) {}

  /** Signs in with a token as `auth_token`. */
  connect(token: string | undefined, options: ConnectionOptions = {}): Promise<NatsConnection> {
    return connect({
      ...options,
      servers: this.server.url,
      ...(token !== undefined && { token }),
      // Without `host` the client library checks the certificate of an address against the name localhost.
      tls: { ca: this.ca, host: '127.0.0.1' } as TlsOptions,
    });
  }

  /** Asserts that the client is refused, that the responder's log says why, and that it holds nothing of the token. */
  async refuses(token: string | undefined, reason: RegExp, options: ConnectionOptions = {}): Promise<LogEntry> {
    await assert.rejects(this.connect(token, options), { code: 'AUTHORIZATION_VIOLATION' });
    const jti = token === undefined ? undefined : decodeJwt(token).jti;
    const entry = await this.responder.entry((one) => one.event === 'refused' && one['jti'] === jti);
    assert.match(entry['reason'] ?? '', reason);
    const parts = token?.split('.').filter((part) => part !== '') ?? [];
    for (const part of parts) assert.ok(!this.responder.output.includes(part), 'the log holds a part of the token');
    return entry;
  }

  async stop(): Promise<void> {
    await this.responder.stop();
    await this.server.stop();
    rmSync(path.dirname(this.folder), { recursive: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** A line of the responder's log. */
export type LogEntry = { readonly event: string } & Readonly<Record<string, string>>;

/** A process that runs the example's responder. */
export class Responder implements AsyncDisposable {
  readonly entries: LogEntry[] = [];
  /** All it has printed. */
  output = '';
  readonly #child: ChildProcess;
  readonly #changes = new EventEmitter();

  /** Resolves when it is ready for requests. Throws with what it printed when it ends before. */
  static async start(folder: string): Promise<Responder> {
    const responder = new Responder(folder);
    try {
      await responder.entry(({ event }) => event === 'ready');
    } catch (error) {
      await responder.stop();
      throw error;
    }
    return responder;
  }

  private constructor(folder: string) {
    const script = path.join(CALLOUT_EXAMPLE, 'responder.mjs');
    const config = path.join(folder, 'responder.json');
    this.#child = spawn(process.execPath, [script, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.#child);
    this.#child.once('close', () => {
      running.delete(this.#child);
      this.#changes.emit('change');
    });
    this.#child.stderr!.on('data', (printed: Buffer) => (this.output += printed.toString()));
    createInterface(this.#child.stdout!).on('line', (line) => {
      this.output += `${line}\n`;
      this.entries.push(JSON.parse(line) as LogEntry);
      this.#changes.emit('change');
    });
  }

  /** The first entry that fits; waits for it. */
  async entry(fits: (entry: LogEntry) => boolean): Promise<LogEntry> {
    await this.until(() => this.entries.some(fits));
    return this.entries.find(fits)!;
  }

  /** Resolves when `holds` is true after something was logged; throws with the log when it ends before or 10 s pass. */
  async until(holds: () => boolean): Promise<void> {
    const signal = AbortSignal.timeout(UNTIL_MS);
    while (!holds()) {
      if (!running.has(this.#child)) throw new Error(`The responder has ended. It printed:\n${this.output}`);
      await once(this.#changes, 'change', { signal }).catch(() => {
        throw new Error(`The responder did not log what was waited for. It printed:\n${this.output}`);
      });
    }
  }

  /** Ends it as a service manager does; the exit code. */
  async stop(): Promise<number | null> {
    if (running.has(this.#child)) {
      const closed = once(this.#child, 'close');
      this.#child.kill('SIGTERM');
      await closed;
    }
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
