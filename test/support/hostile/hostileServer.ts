import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { subjectMatches } from '../../../shared/subject.ts';

/** What a {@link HostileServer} says. Whatever is absent is as a real server has it. */
export interface HostileSpeech {
  /** Fields of its INFO. */
  readonly info?: Readonly<Record<string, unknown>>;
  /** Instead of INFO. */
  readonly greeting?: string;
  /** Instead of the first PONG, which ends signing in. */
  readonly refusal?: string;
  /** Ends each link after so many PONGs. */
  readonly pongs?: number;
  /** What it sends for a message with a reply subject; `undefined`: nothing. */
  readonly answer?: (subject: string, reply: Reply) => string | undefined;
}

/** Frames of the protocol for the client's subscription of replies. */
export interface Reply {
  message(payload: string): string;
  /** @param status the line after `NATS/1.0` @param fields lines of the header block */
  withHeaders(status: string, fields: readonly string[], payload?: string): string;
}

/** A TCP server on a free port of 127.0.0.1 that speaks the NATS protocol and says what it is told to. */
export class HostileServer implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();
  readonly #speech: HostileSpeech;
  /** How many links it had. */
  links = 0;

  private constructor(speech: HostileSpeech) {
    this.#speech = speech;
  }

  static async start(speech: HostileSpeech): Promise<HostileServer> {
    const server = new HostileServer(speech);
    await once(server.#server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server.close(), 'close');
  }

  #serve(socket: Socket): void {
    const { info, greeting, refusal, pongs: mostPongs, answer } = this.#speech;
    this.links++;
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const plain = {
      server_id: 'N1',
      version: '2.11.0',
      proto: 1,
      headers: true,
      max_payload: 1_048_576,
      jetstream: true,
    };
    socket.write(greeting ?? `INFO ${JSON.stringify({ ...plain, ...info })}\r\n`);
    let text = '';
    const subscriptions = new Map<string, string>();
    let pings = 0;
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (;;) {
        const end = text.indexOf('\r\n');
        if (end < 0) return;
        const [verb = '', ...words] = text.slice(0, end).split(/\s+/);
        const size = /^H?PUB$/i.test(verb) ? Number(words.at(-1)) + 2 : 0;
        if (text.length < end + 2 + size) return;
        text = text.slice(end + 2 + size);
        if (verb === 'SUB') subscriptions.set(words.at(-1) ?? '', words[0] ?? '');
        if (verb === 'UNSUB') subscriptions.delete(words[0] ?? '');
        if (verb === 'PING') socket.write(pings++ === 0 && refusal !== undefined ? refusal : 'PONG\r\n');
        if (pings === mostPongs) socket.end();
        if (size === 0) continue;
        const [subject = '', replyTo = ''] = words;
        const [subscription] = [...subscriptions].find(([, pattern]) => subjectMatches(pattern, replyTo)) ?? [];
        if (subscription === undefined) continue;
        const said = answer?.(subject, replyFrames(replyTo, subscription));
        if (said !== undefined) socket.write(said);
      }
    });
  }
}

function replyFrames(replyTo: string, subscription: string): Reply {
  return {
    message: (payload) => `MSG ${replyTo} ${subscription} ${String(Buffer.byteLength(payload))}\r\n${payload}\r\n`,
    withHeaders: (status, fields, payload = '') => {
      const block = `NATS/1.0${status && ` ${status}`}\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;
      const size = Buffer.byteLength(block);
      return `HMSG ${replyTo} ${subscription} ${String(size)} ${String(size + Buffer.byteLength(payload))}\r\n${block}${payload}\r\n`;
    },
  };
}
