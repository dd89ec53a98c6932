import { EventEmitter, once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** A server on its own port that accepts everyone, with or without TLS, and records what it receives. */
export class Listener implements AsyncDisposable {
  /** The received text of each connection. */
  readonly heard: string[] = [];
  /** The same for unencrypted connections that have ended. */
  readonly heardInPlain: string[] = [];
  readonly #changes = new EventEmitter();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  static async start(onConnection: (socket: Socket, listener: Listener) => void): Promise<Listener> {
    const listener = new Listener(onConnection);
    await once(listener.#server.listen(0, '127.0.0.1'), 'listening');
    return listener;
  }

  private constructor(onConnection: (socket: Socket, listener: Listener) => void) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
      onConnection(socket, this);
    });
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What was received from clients that signed in. */
  get signIns(): string[] {
    return this.heard.filter((text) => text.includes('CONNECT '));
  }

  /** Records what arrives, and answers sign-ins and subscriptions. `onSubscribed` gets each id. */
  serve(socket: Socket, onSubscribed: (sid: string) => void = () => {}): void {
    const index = this.heard.push('') - 1;
    let line = '';
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      this.heard[index] = (this.heard[index] ?? '') + bytes.toString();
      const lines = (line + bytes.toString()).split('\r\n');
      line = lines.pop() ?? '';
      for (const text of lines) {
        if (text === 'PING') socket.write('PONG\r\n');
        if (text.startsWith('SUB ')) onSubscribed(text.split(' ').at(-1) ?? '');
      }
    });
    socket.on('close', () => {
      if (!(socket instanceof TLSSocket)) this.heardInPlain.push(this.heard[index] ?? '');
      this.#changes.emit('closed');
    });
  }

  /** Resolves once the condition holds after a connection has closed; rejects after 10 s. */
  async until(holds: () => boolean): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    while (!holds()) await once(this.#changes, 'closed', { signal });
  }

  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.breakConnections();
    await once(this.#server.close(), 'close');
  }
}
