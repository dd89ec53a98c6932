import { connect, type Socket } from 'node:net';

/** What was received on a connection, and when it ended. */
export interface RawAnswer {
  readonly text: string;
  readonly status: number | undefined;
  readonly ms: number;
}

/** Sends bytes on a new connection, and resolves once it ends. */
export async function rawRequest(port: number, text: string, localAddress?: string): Promise<RawAnswer> {
  const began = performance.now();
  const socket = connect({ port, host: '127.0.0.1', ...(localAddress === undefined ? {} : { localAddress }) });
  socket.on('connect', () => socket.write(text));
  let answer = '';
  socket.on('data', (bytes) => (answer += bytes.toString()));
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('close', resolve));
  const status = /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1];
  return { text: answer, status: status === undefined ? undefined : Number(status), ms: performance.now() - began };
}

/** How many connections are opened at a time: more would overflow the system's queue. */
const AT_ONCE = 200;

/**
 * Opens connections that send the start of a request, then a byte now and then.
 *
 * @param everyMs undefined: no more bytes
 */
export async function slowConnections(
  port: number,
  number: number,
  begin: string,
  everyMs?: number,
): Promise<Disposable & { readonly number: number }> {
  const sockets: Socket[] = [];
  for (let opened = 0; opened < number; opened += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, number - opened) }, () => connect({ port, host: '127.0.0.1' }));
    for (const socket of some) {
      socket.on('error', () => {});
      socket.write(begin);
    }
    await Promise.all(
      some.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))),
    );
    sockets.push(...some);
  }
  const send = () => {
    for (const socket of sockets) if (socket.writable) socket.write('x');
  };
  const timer = everyMs === undefined ? undefined : setInterval(send, everyMs);
  return {
    number: sockets.filter((socket) => !socket.destroyed).length,
    [Symbol.dispose]() {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
    },
  };
}
