import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { Authentication, ConnectionSettings } from '../../../shared/connection/settings.ts';
import { parseCredentials } from '../../../shared/connection/credentials.ts';
import { TaskError } from '../../../shared/errors.ts';
import { connect } from '../../../shared/nats/link/libraryLimits.ts';
import { openNatsBus } from '../../../shared/nats/natsBus.ts';
import { createAuthority } from '../../support/nats/certificates.ts';
import { createOperatorMode } from '../../support/nats/natsAccounts.ts';
import { Recorder, settingsFor, Step } from '../../support/nats/openBus.ts';
import { infoLine } from '../../support/nats/scriptedServer.ts';
import { Listener } from '../../support/nats/tlsListener.ts';

const authority = await createAuthority();
const secureContext = createSecureContext(await authority.server());

const credentials = parseCredentials(await (await createOperatorMode()).creds());
assert.ok(!('problem' in credentials) && credentials.kind === 'jwt');
const idToken = {
  current: () => Promise.resolve('canary-id-token'),
  newerThan: () => Promise.resolve(undefined),
  awaited: () => undefined,
  close: () => {},
};

const SECRETS: Readonly<Record<string, Authentication>> = {
  'a password': { kind: 'userPassword', username: 'pipelines', password: 'canary-password' },
  'a token': { kind: 'token', token: 'canary-token' },
  'a JWT of a credentials file': credentials,
  'an ID token': { kind: 'oidc', idToken },
};

/** How the attacker puts bytes of his own between the INFO and TLS. Calls back when TLS may begin. */
type Delivery = (socket: Socket, info: string, own: string, begin: () => void) => void;

const DELIVERIES: Readonly<Record<string, Delivery>> = {
  'in the packet of the INFO': (socket, info, own, begin) => {
    socket.write(info + own);
    begin();
  },
  'in the packet with the last byte of the INFO': (socket, info, own, begin) => {
    socket.write(info.slice(0, -1));
    setImmediate(() => {
      socket.write(`\n${own}`);
      begin();
    });
  },
  'in the next packet': (socket, info, own, begin) => {
    socket.write(info);
    setImmediate(() => {
      socket.write(own);
      begin();
    });
  },
  'byte by byte': (socket, info, own, begin) => {
    socket.write(info);
    const next = (at: number): void => {
      if (at === own.length) begin();
      else socket.write(own.charAt(at), () => setImmediate(next, at + 1));
    };
    next(0);
  },
  'as the handshake begins': (socket, info, own, begin) => {
    socket.write(info);
    socket.once('data', (hello: Buffer) => {
      socket.pause();
      socket.unshift(hello);
      socket.write(own, begin);
    });
  },
};

/** The attacker's own server, in clear text. Whoever subscribes is sent an event at once. */
const attackersServer = () =>
  Listener.start((socket, listener) => {
    socket.write(infoLine());
    listener.serve(socket, (sid) => socket.write(`MSG ci.done.v1 ${sid} 2\r\n{}\r\n`));
  });

/**
 * The real server, which has TLS, behind the attacker. He says something of his own before TLS, and breaks the link once
 * the client has subscribed; from then on nobody gets through.
 */
const betweenThem = (own: string, deliver: Delivery) => {
  let isBroken = false;
  return Listener.start((socket, listener) => {
    if (isBroken) {
      socket.destroy();
      return;
    }
    deliver(socket, infoLine({ tls_required: true }), own, () => {
      const encrypted = new TLSSocket(socket, { isServer: true, secureContext });
      listener.serve(encrypted, () => {
        isBroken = true;
        socket.destroy();
      });
    });
  });
};

/** How a waiting step of core NATS ends. */
async function waitOver(settings: ConnectionSettings, timeoutMs: number): Promise<string> {
  const step = new Step(timeoutMs);
  const { clock, log } = step;
  const events = new Recorder();
  try {
    const bus = await openNatsBus(settings, clock, log);
    try {
      await bus.subscribeCore(['ci.done.v1'], events, clock.signal);
      const aborted = once(clock.signal, 'abort').then(() => clock.signal.throwIfAborted());
      await Promise.race([aborted, events.until(() => events.messages.length + events.failures.length > 0, 'an end')]);
      if (events.failures[0] !== undefined) throw events.failures[0];
      return 'succeeded with the event of the server';
    } finally {
      await bus.close();
    }
  } catch (error) {
    return error instanceof TaskError ? error.code : String(error);
  } finally {
    step.cancel();
  }
}

const settings = (listener: Listener, authentication: Authentication, scheme = 'tls'): ConnectionSettings =>
  settingsFor([`${scheme}://${listener.address}`], { caCertificate: authority.cert, authentication });

describe('An attacker who injects data before TLS and names another server gets no secret and decides no wait', () => {
  for (const [secret, authentication] of Object.entries(SECRETS)) {
    for (const [how, deliver] of Object.entries(DELIVERIES)) {
      it(`${secret}, ${how}`, async () => {
        await using attackers = await attackersServer();
        const own = `${infoLine({ connect_urls: [attackers.address] })}PONG\r\nMSG ci.done.v1 1 2\r\n{}\r\n`;
        await using between = await betweenThem(own, deliver);
        assert.equal(await waitOver(settings(between, authentication), 5_000), 'TlsFailure');
        assert.deepEqual(attackers.heard, []);
        assert.deepEqual(between.heard.join(''), '');
      });
    }
  }
});

const PASSWORD = SECRETS['a password'] ?? { kind: 'none' };

describe('A password over an encrypted link', () => {
  it('is not sent if the link is later talked out of TLS', async () => {
    await using attackers = await attackersServer();
    const own = infoLine({ connect_urls: [attackers.address] });
    let dials = 0;
    // Speaks before TLS from the second dial on.
    await using between = await Listener.start((socket, listener) => {
      dials++;
      const info = infoLine({ tls_required: true });
      socket.write(dials === 1 ? info : info + own);
      const encrypted = new TLSSocket(socket, { isServer: true, secureContext });
      listener.serve(encrypted, () => socket.destroy());
    });
    assert.equal(await waitOver(settings(between, PASSWORD), 2_000), 'ConnectionLost');
    assert.ok(dials > 2, `${dials} dials`);
    assert.equal(between.signIns.length, 1);
    assert.deepEqual(attackers.heard, []);
  });

  for (const scheme of ['tls', 'nats']) {
    it(`is not sent in clear text to servers from a later INFO that denies TLS (${scheme}://)`, async () => {
      await using attackers = await attackersServer();
      let dials = 0;
      await using server = await Listener.start((socket, listener) => {
        if (++dials > 1) {
          socket.destroy();
          return;
        }
        socket.write(infoLine({ tls_required: true }));
        const encrypted = new TLSSocket(socket, { isServer: true, secureContext });
        encrypted.write(infoLine({ tls_required: false, connect_urls: [attackers.address] }));
        listener.serve(encrypted, () => socket.destroy());
      });
      assert.equal(await waitOver(settings(server, PASSWORD, scheme), 2_000), 'ConnectionLost');
      assert.deepEqual(new Set(attackers.heard), new Set(['']));
    });

    it(`is not sent to servers named after an attacker's INFO (${scheme}://)`, async () => {
      await using attackers = await attackersServer();
      const own = infoLine({ connect_urls: [attackers.address] });
      for (const deliver of Object.values(DELIVERIES)) {
        await using between = await betweenThem(own, deliver);
        assert.equal(await waitOver(settings(between, PASSWORD, scheme), 5_000), 'TlsFailure');
        assert.equal(between.heard.join(''), '');
      }
      assert.deepEqual(attackers.heard, []);
    });
  }

  it('is not sent in clear text after a server with TLS accepted it and hung up', async () => {
    let dials = 0;
    await using server = await Listener.start((socket, listener) => {
      if (++dials > 1) {
        socket.write(infoLine());
        listener.serve(socket);
        return;
      }
      socket.write(infoLine({ tls_required: true }));
      const encrypted = new TLSSocket(socket, { isServer: true, secureContext });
      encrypted.on('error', () => {});
      encrypted.once('data', (bytes: Buffer) => {
        listener.heard.push(bytes.toString());
        socket.destroy();
      });
    });
    assert.equal(await waitOver(settings(server, PASSWORD, 'nats'), 5_000), 'TlsFailure');
    const [overTls = '', inClearText] = server.heard;
    assert.match(overTls, /canary-password/);
    assert.equal(inClearText, '');
  });

  it('is not sent with "TLS first" to a server that speaks first', async () => {
    await using attackers = await attackersServer();
    const connection = { ...settings(attackers, PASSWORD, 'nats'), tlsFirst: true };
    assert.equal(await waitOver(connection, 5_000), 'TlsFailure');
    assert.ok(!attackers.heard.join('').includes('CONNECT'));
  });

  it('is sent with "TLS first", and data after the INFO of that server is read', async () => {
    await using server = await Listener.start((socket, listener) => {
      const encrypted = new TLSSocket(socket, { isServer: true, secureContext });
      const info = infoLine({ tls_required: true });
      encrypted.write(info + info);
      listener.serve(encrypted, (sid) => encrypted.write(`MSG ci.done.v1 ${sid} 2\r\n{}\r\n`));
    });
    const connection = { ...settings(server, PASSWORD), tlsFirst: true };
    assert.equal(await waitOver(connection, 5_000), 'succeeded with the event of the server');
  });

  it('is not sent in clear text even if the library continues without TLS', async () => {
    await using attackers = await attackersServer();
    const options = {
      servers: attackers.address,
      tls: null,
      plainWithoutOffer: false,
      reconnect: false,
      user: 'pipelines',
      pass: 'canary-password',
    };
    await assert.rejects(connect(options), { code: 'SERVER_OPT_NA' });
    assert.equal(attackers.heard.join(''), '');
  });
});
