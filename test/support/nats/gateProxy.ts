import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';

const PATIENCE_MS = 20_000;

/** A client's data is held back, with everything after it. */
export interface Gate {
  /** Resolves once something is held back; rejects after 20 s. */
  readonly reached: Promise<void>;
  /** Lets it go on. */
  open(): void;
}

interface Closed {
  readonly text: string;
  readonly reach: () => void;
  readonly opened: Promise<void>;
}

/** Sits between clients and their server on 127.0.0.1, and delays data for a test, which forces races. */
export class GateProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #gates = new Set<Closed>();
  readonly #watches = new Set<{ readonly text: string; readonly see: () => void }>();

  static async start(targetPort: number): Promise<GateProxy> {
    const proxy = new GateProxy(targetPort);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      const target = createConnection(targetPort, '127.0.0.1');
      for (const socket of [client, target]) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          (socket === client ? target : client).destroy();
        });
      }
      client.pipe(this.#held()).pipe(target);
      target.on('data', (bytes: Buffer) => {
        for (const watch of this.#watches) if (bytes.includes(watch.text)) watch.see();
      });
      target.pipe(client);
    });
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Holds back what a client sends, from the next chunk with this text on. */
  hold(text: string): Gate {
    let reach = () => {};
    let open = () => {};
    const reached = inTime(`something with ${text} is sent`, new Promise<void>((resolve) => (reach = resolve)));
    const opened = new Promise<void>((resolve) => (open = resolve));
    const closed: Closed = { text, reach, opened };
    this.#gates.add(closed);
    return {
      reached,
      open: () => {
        this.#gates.delete(closed);
        open();
      },
    };
  }

  /** Resolves once the server sends a chunk with this text to a client; rejects after 20 s. */
  async delivered(text: string): Promise<void> {
    let see = () => {};
    const seen = new Promise<void>((resolve) => (see = resolve));
    const watch = { text, see };
    this.#watches.add(watch);
    await inTime(`something with ${text} is delivered`, seen).finally(() => this.#watches.delete(watch));
  }

  #held(): Transform {
    const gates = this.#gates;
    return new Transform({
      transform(bytes: Buffer, _, done) {
        const gate = [...gates].find(({ text }) => bytes.includes(text));
        if (gate === undefined) {
          done(null, bytes);
          return;
        }
        gate.reach();
        void gate.opened.then(() => done(null, bytes));
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server.close(), 'close');
  }
}

async function inTime(what: string, promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Not within ${PATIENCE_MS / 1_000} s: ${what}.`)), PATIENCE_MS);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
