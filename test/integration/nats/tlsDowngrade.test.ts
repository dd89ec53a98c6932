import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { createSecureContext, TLSSocket } from 'node:tls';
import { createAuthority, type Certificate } from '../../support/nats/certificates.ts';
import { openBus } from '../../support/nats/openBus.ts';

const PASSWORD = 'canary-password';
const authority = await createAuthority();
const certificate = await authority.server();
const settings = {
  caCertificate: authority.cert,
  authentication: { kind: 'userPassword', username: 'pipelines', password: PASSWORD },
} as const;

/** Speaks as much of the NATS protocol as a client needs to sign in and subscribe, with or without TLS, and notes what it hears. */
class ScriptedServer implements AsyncDisposable {
  offersTls = true;
  /** Addresses of other members of its cluster. */
  connectUrls: readonly string[] = [];
  /** What came without encryption, one text for each connection, complete when it has ended. */
  readonly heardInPlain: string[] = [];
  readonly signIns: string[] = [];
  readonly #ended = new EventEmitter();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));

  static async start(own: Certificate): Promise<ScriptedServer> {
    const server = new ScriptedServer(own);
    await once(server.#server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  private constructor(private readonly own: Certificate) {}

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves once this many connections without TLS have ended; rejects after 10 s. */
  async plainConnections(count: number): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    while (this.heardInPlain.length < count) await once(this.#ended, 'plain', { signal });
  }

  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.breakConnections();
    await once(this.#server.close(), 'close');
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const info = { server_id: 'S', version: '2.10.0', proto: 1, headers: true, max_payload: 1_048_576 };
    const tls = this.offersTls ? { tls_required: true } : {};
    socket.write(`INFO ${JSON.stringify({ ...info, ...tls, connect_urls: this.connectUrls })} \r\n`);
    if (this.offersTls) {
      const { cert, key } = this.own;
      const encrypted = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext({ cert, key }) });
      encrypted.on('error', () => {});
      this.#answer(encrypted, () => {});
    } else {
      let heard = '';
      this.#answer(socket, (text) => (heard += text));
      socket.on('close', () => {
        this.heardInPlain.push(heard);
        this.#ended.emit('plain');
      });
    }
  }

  /** Lets everybody in. */
  #answer(socket: Socket, onText: (text: string) => void): void {
    let line = '';
    socket.on('data', (bytes) => {
      onText(bytes.toString());
      const lines = (line + bytes.toString()).split('\r\n');
      line = lines.pop() ?? '';
      this.signIns.push(...lines.filter((text) => text.startsWith('CONNECT ')));
      for (const text of lines) if (text === 'PING') socket.write('PONG\r\n');
    });
  }
}

describe('A password over nats://', () => {
  it('is not sent to a server that offers TLS no more once it did', async () => {
    await using server = await ScriptedServer.start(certificate);
    await using open = await openBus([`nats://${server.address}`], settings);
    await using reading = await open.subscribe(['ci.>']);
    assert.equal(server.signIns.length, 1);

    server.offersTls = false;
    server.breakConnections();
    await server.plainConnections(3);
    assert.deepEqual(server.heardInPlain, ['', '', '']);
    assert.deepEqual(reading.seen.failures, []);

    server.offersTls = true;
    await reading.seen.until(() => reading.seen.ups.length === 1, 'the link is back');
    assert.equal(server.signIns.length, 2);
    for (const signIn of server.signIns) assert.ok(signIn.includes(PASSWORD));
  });

  it('is not sent to a server without TLS that one with TLS has announced', async () => {
    await using server = await ScriptedServer.start(certificate);
    await using announced = await ScriptedServer.start(certificate);
    announced.offersTls = false;
    server.connectUrls = [announced.address];
    await using open = await openBus([`nats://${server.address}`], settings);
    await using reading = await open.subscribe(['ci.>']);

    server.offersTls = false;
    server.breakConnections();
    await announced.plainConnections(2);
    assert.deepEqual(reading.seen.failures, []);
    assert.deepEqual(new Set([...server.heardInPlain, ...announced.heardInPlain]), new Set(['']));
    assert.equal(server.signIns.length, 1);
    assert.equal(announced.signIns.length, 0);
  });

  it('is sent to an announced server only after its certificate was checked', async () => {
    const stranger = await createAuthority();
    await using server = await ScriptedServer.start(certificate);
    await using impostor = await ScriptedServer.start(await stranger.server());
    await using member = await ScriptedServer.start(certificate);
    server.connectUrls = [impostor.address, member.address];
    await using open = await openBus([`nats://${server.address}`], settings);
    await using reading = await open.subscribe(['ci.>']);

    server.offersTls = false;
    server.breakConnections();
    await reading.seen.until(() => reading.seen.ups.length === 1, 'the link is back');
    assert.equal(impostor.signIns.length, 0);
    assert.equal(member.signIns.length, 1);
  });

  it('is sent in plain where TLS was never offered, as that is what nats:// means', async () => {
    await using server = await ScriptedServer.start(certificate);
    server.offersTls = false;
    await using open = await openBus([`nats://${server.address}`], settings);
    assert.equal(server.signIns.length, 1);
    assert.match(open.step.lines.join('\n'), /^warning The password was sent to .* without TLS/m);
  });

  it('is never sent in plain with tls://', async () => {
    await using server = await ScriptedServer.start(certificate);
    server.offersTls = false;
    await assert.rejects(openBus([`tls://${server.address}`], settings, 1_000), { code: 'TlsFailure' });
    await server.plainConnections(1);
    assert.deepEqual(server.heardInPlain, ['']);
  });
});
