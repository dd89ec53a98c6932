import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { subjectMatches } from '../../../shared/subject.ts';

/** A command from a client: `PUB`, `HPUB`, `SUB`, `UNSUB`, `CONNECT`, `PING` or `PONG` with its data. */
export interface Command {
  readonly verb: string;
  readonly args: readonly string[];
  /** Without headers. */
  readonly payload: Buffer;
}

/** How a server differs from a well-behaved one. */
export interface Script {
  /** Sent to a client that has just connected. */
  readonly greeting?: string | Buffer;
  /** The response to a command; undefined: that of a well-behaved server. */
  readonly answer?: (command: Command, link: ScriptedLink) => string | Buffer | undefined;
  /** Changes outgoing data, which starts at byte `offset` of everything sent. */
  readonly alter?: (bytes: Buffer, offset: number) => Buffer;
  /** The link breaks after this many bytes from the server. */
  readonly cutAfterSent?: number;
  /** The link breaks after this many bytes from the client. */
  readonly cutAfterReceived?: number;
  /** The server falls silent after this many bytes. */
  readonly silentAfterSent?: number;
  /** Called for each client, before the greeting. */
  readonly onLink?: (link: ScriptedLink) => void;
}

/** The INFO of a well-behaved server. */
export const INFO = {
  server_id: 'NSCRIPTEDSERVER',
  server_name: 'scripted',
  version: '2.10.27',
  proto: 1,
  host: '127.0.0.1',
  headers: true,
  jetstream: true,
  max_payload: 1_048_576,
  client_id: 5,
};

export function infoLine(others: Readonly<Record<string, unknown>> = {}): string {
  return `INFO ${JSON.stringify({ ...INFO, ...others })}\r\n`;
}

/** The subject and the stream that a {@link ScriptedServer} knows. */
export const SUBJECT = 'ci.done.v1';
export const STREAM = 'CI';

/**
 * A NATS server on 127.0.0.1 with one stream that holds one event: as much of a server as a step uses. It follows a
 * script where a real server can't be made to misbehave.
 */
export class ScriptedServer implements AsyncDisposable {
  readonly links: ScriptedLink[] = [];
  readonly #server: Server;

  private constructor(readonly script: Script) {
    this.#server = createServer((socket) => {
      this.links.push(new ScriptedLink(socket, script));
    });
  }

  static async start(script: Script = {}): Promise<ScriptedServer> {
    const server = new ScriptedServer(script);
    await once(server.#server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const link of this.links) link.socket.destroy();
    await closed;
  }
}

/** One client of a {@link ScriptedServer}. */
export class ScriptedLink {
  /** How many bytes have been sent to the client. */
  sent = 0;
  received = 0;
  /** Subjects by id. */
  readonly #subscriptions = new Map<string, string>();
  #unread: Buffer = Buffer.alloc(0);

  constructor(
    readonly socket: Socket,
    private readonly script: Script,
  ) {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#read(chunk));
    script.onLink?.(this);
    this.send(script.greeting ?? infoLine());
    if (script.cutAfterReceived === 0) socket.destroy();
  }

  send(text: string | Buffer): void {
    const { alter, cutAfterSent = Infinity, silentAfterSent = Infinity } = this.script;
    let bytes: Buffer = Buffer.from(text);
    if (alter !== undefined) bytes = alter(bytes, this.sent);
    const room = Math.min(cutAfterSent, silentAfterSent) - this.sent;
    if (bytes.length > room) bytes = bytes.subarray(0, Math.max(0, room));
    this.sent += bytes.length;
    if (bytes.length > 0 && this.socket.writable) this.socket.write(bytes);
    if (this.sent >= cutAfterSent) this.socket.destroySoon();
  }

  /** A message as the subject's subscriber gets it; empty if there is none. */
  messageTo(to: string, payload: unknown, { subject = to, reply = '', headers = '' } = {}): Buffer {
    const sid = [...this.#subscriptions].find(([, pattern]) => subjectMatches(pattern, to))?.[0];
    if (sid === undefined) return Buffer.alloc(0);
    const bytes = Buffer.from(
      typeof payload === 'string' || payload instanceof Uint8Array ? payload : JSON.stringify(payload),
    );
    const size = headers === '' ? '' : `${Buffer.byteLength(headers)} `;
    return Buffer.concat([
      Buffer.from(`${headers === '' ? 'MSG' : 'HMSG'} ${subject} ${sid} ${reply === '' ? '' : `${reply} `}`),
      Buffer.from(`${size}${Buffer.byteLength(headers) + bytes.length}\r\n${headers}`),
      bytes,
      Buffer.from('\r\n'),
    ]);
  }

  #read(chunk: Buffer): void {
    const { cutAfterReceived = Infinity } = this.script;
    this.received += chunk.length;
    this.#unread = Buffer.concat([this.#unread, chunk]);
    if (this.received >= cutAfterReceived) {
      this.#unread = this.#unread.subarray(0, this.#unread.length - (this.received - cutAfterReceived));
    }
    for (let command = this.#next(); command !== undefined; command = this.#next()) {
      if (command.verb === 'SUB') this.#subscriptions.set(command.args.at(-1) ?? '', command.args[0] ?? '');
      if (command.verb === 'UNSUB') this.#subscriptions.delete(command.args[0] ?? '');
      this.send(this.script.answer?.(command, this) ?? goodAnswer(command, this));
    }
    if (this.received >= cutAfterReceived) this.socket.destroySoon();
  }

  #next(): Command | undefined {
    const end = this.#unread.indexOf('\r\n');
    if (end < 0) return undefined;
    const [verb = '', ...args] = this.#unread.subarray(0, end).toString().split(' ');
    const size = /^H?PUB$/.test(verb) ? Number(args.at(-1)) : 0;
    const headers = verb === 'HPUB' ? Number(args.at(-2)) : 0;
    const start = end + 2;
    const length = start + (/^H?PUB$/.test(verb) ? size + 2 : 0);
    if (this.#unread.length < length) return undefined;
    const payload = this.#unread.subarray(start + headers, start + size);
    this.#unread = this.#unread.subarray(length);
    return { verb, args, payload };
  }
}

/** The subject and the reply subject of a message that a client publishes. */
export function publication({ verb, args }: Command): { readonly subject: string; readonly reply: string } | undefined {
  const sizes = verb === 'PUB' ? 1 : verb === 'HPUB' ? 2 : undefined;
  if (sizes === undefined) return undefined;
  return { subject: args[0] ?? '', reply: args.length > 1 + sizes ? (args[1] ?? '') : '' };
}

/** The response of a well-behaved server to a command. */
export function goodAnswer(command: Command, link: ScriptedLink): string | Buffer {
  if (command.verb === 'PING') return 'PONG\r\n';
  const [subject = '', sid = ''] = command.args;
  if (command.verb === 'SUB' && !subject.startsWith('_INBOX.')) return `MSG ${SUBJECT} ${sid} 2\r\n{}\r\n`;
  const published = publication(command);
  if (published === undefined || published.reply === '') return '';
  const next = /^\$JS\.API\.CONSUMER\.MSG\.NEXT\.CI\.(.+)$/.exec(published.subject)?.[1];
  if (next === undefined) return link.messageTo(published.reply, apiResponse(published));
  // A pull request asks for events; the stream has one.
  const reply = `$JS.ACK.${STREAM}.${next}.1.1.1.${Date.now()}000000.0`;
  return link.messageTo(published.reply, '{}', { subject: SUBJECT, reply });
}

/** JetStream's JSON responses, including the ack of a step's event. */
export function apiResponse({ subject, reply }: { readonly subject: string; readonly reply: string }): object {
  const [, operation] = /^\$JS\.API\.(\w+\.\w+)/.exec(subject) ?? [];
  switch (operation) {
    case 'STREAM.NAMES':
      return { total: 1, offset: 0, limit: 1024, streams: [STREAM] };
    case 'STREAM.INFO':
      return {
        created: '2026-01-01T00:00:00Z',
        config: { name: STREAM, retention: 'limits', subjects: ['ci.>'] },
        state: { messages: 1, last_seq: 1 },
      };
    case 'CONSUMER.CREATE':
      return { created: new Date().toISOString(), num_pending: 1, config: { filter_subject: SUBJECT } };
    case 'CONSUMER.DELETE':
      return { success: true };
    default:
      return { stream: STREAM, seq: Number(/\.(\d+)$/.exec(reply)?.[1] ?? 1) };
  }
}

/** Sends chunks for as long as the client accepts them. */
export function endless(link: ScriptedLink, piece: string): void {
  const write = (): void => {
    while (link.socket.writable && link.socket.write(piece));
  };
  link.socket.on('drain', write);
  write();
}
