import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Sits between a client and its server on 127.0.0.1: a network that fails on command. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #targets = new Map<Socket, Socket>();
  #isCut = false;

  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      if (this.#isCut) {
        client.destroy();
        return;
      }
      const target = createConnection(targetPort, '127.0.0.1');
      this.#targets.set(target, client);
      for (const [socket, other] of [
        [client, target],
        [target, client],
      ] as const) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          this.#targets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many connections to the server are open. */
  get connections(): number {
    return this.#targets.size;
  }

  /** Breaks all connections, and each new one at once, until {@link mend}. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  /** Holds back the servers' responses on open connections; what the clients send still arrives. */
  mute(): void {
    for (const [target, client] of this.#targets) target.unpipe(client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await once(this.#server.close(), 'close');
  }
}
