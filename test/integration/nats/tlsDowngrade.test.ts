import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createSecureContext, TLSSocket } from 'node:tls';
import { createAuthority, type Certificate } from '../../support/nats/certificates.ts';
import { openBus } from '../../support/nats/openBus.ts';
import { infoLine } from '../../support/nats/scriptedServer.ts';
import { Listener } from '../../support/nats/tlsListener.ts';

const PASSWORD = 'canary-password';
const authority = await createAuthority();
const certificate = await authority.server();
const settings = {
  caCertificate: authority.cert,
  authentication: { kind: 'userPassword', username: 'pipelines', password: PASSWORD },
} as const;

/** What a server says in its INFO, for as long as the test leaves it so. */
interface Offer {
  tls: boolean;
  /** Addresses of other members of its cluster. */
  connectUrls?: readonly string[];
}

function startServer(offer: Offer, own: Certificate = certificate): Promise<Listener> {
  const secureContext = createSecureContext({ cert: own.cert, key: own.key });
  return Listener.start((socket, listener) => {
    socket.write(infoLine({ ...(offer.tls && { tls_required: true }), connect_urls: offer.connectUrls ?? [] }));
    listener.serve(offer.tls ? new TLSSocket(socket, { isServer: true, secureContext }) : socket);
  });
}

describe('A password over nats://', () => {
  it('is not sent to a server that once offered TLS and no longer does', async () => {
    const offer = { tls: true };
    await using server = await startServer(offer);
    await using open = await openBus([`nats://${server.address}`], settings);
    await using reading = await open.subscribe(['ci.>']);
    assert.equal(server.signIns.length, 1);

    offer.tls = false;
    server.breakConnections();
    await server.until(() => server.heardInPlain.length >= 3);
    assert.deepEqual(server.heardInPlain, ['', '', '']);
    assert.deepEqual(reading.seen.failures, []);

    offer.tls = true;
    await reading.seen.until(() => reading.seen.ups.length === 1, 'the link is back');
    assert.equal(server.signIns.length, 2);
    for (const signIn of server.signIns) assert.ok(signIn.includes(PASSWORD));
  });

  it('is not sent to a server without TLS that a server with TLS announced', async () => {
    await using announced = await startServer({ tls: false });
    const offer = { tls: true, connectUrls: [announced.address] };
    await using server = await startServer(offer);
    await using open = await openBus([`nats://${server.address}`], settings);
    await using reading = await open.subscribe(['ci.>']);

    offer.tls = false;
    server.breakConnections();
    await announced.until(() => announced.heardInPlain.length >= 2);
    assert.deepEqual(reading.seen.failures, []);
    assert.deepEqual(new Set([...server.heardInPlain, ...announced.heardInPlain]), new Set(['']));
    assert.equal(server.signIns.length, 1);
    assert.equal(announced.signIns.length, 0);
  });

  it('is sent to an announced server only after its certificate was checked', async () => {
    const stranger = await createAuthority();
    await using impostor = await startServer({ tls: true }, await stranger.server());
    await using member = await startServer({ tls: true });
    const offer = { tls: true, connectUrls: [impostor.address, member.address] };
    await using server = await startServer(offer);
    await using open = await openBus([`nats://${server.address}`], settings);
    await using reading = await open.subscribe(['ci.>']);

    offer.tls = false;
    server.breakConnections();
    await reading.seen.until(() => reading.seen.ups.length === 1, 'the link is back');
    assert.equal(impostor.signIns.length, 0);
    assert.equal(member.signIns.length, 1);
  });

  it('is sent unencrypted if TLS was never offered, which nats:// allows', async () => {
    await using server = await startServer({ tls: false });
    await using open = await openBus([`nats://${server.address}`], settings);
    assert.equal(server.signIns.length, 1);
    assert.match(open.step.lines.join('\n'), /^warning The password was sent to .* without TLS/m);
  });

  it('is never sent in clear text with tls://', async () => {
    await using server = await startServer({ tls: false });
    await assert.rejects(openBus([`tls://${server.address}`], settings, 1_000), { code: 'TlsFailure' });
    await server.until(() => server.heardInPlain.length >= 1);
    assert.deepEqual(server.heardInPlain, ['']);
  });
});
