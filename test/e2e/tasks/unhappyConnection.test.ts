import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { ErrorCode } from '../../../shared/errors.ts';
import { casesOf } from '../../support/form.ts';
import { createAuthority, saveCertificate } from '../../support/nats/certificates.ts';
import { LocalAgent, temporaryFolder, type Connection } from '../../../localAgent/index.ts';
import { createNKey, createOperatorMode, tokenConfig, usersConfig } from '../../support/nats/natsAccounts.ts';
import { startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { assertFailed, publish, wait } from '../../support/agent/scenario.ts';
import { infoLine, ScriptedServer } from '../../support/nats/scriptedServer.ts';

const operator = await createOperatorMode();
const [authority, stranger] = await Promise.all([createAuthority(), createAuthority()]);
const untrusted = await stranger.client('ci');
const folder = temporaryFolder('tls-');
const caFile = saveCertificate(folder, 'ca', authority).certFile;
const certificateFor = async (name: string, isExpired = false) =>
  saveCertificate(folder, `${name}${isExpired}`, await authority.server({ names: [name], expired: isExpired }));
const servers = await Promise.all([
  startNatsServer({ config: usersConfig({ user: 'pipelines', password: 'right' }, { nkey: createNKey().publicKey }) }),
  startNatsServer({ config: tokenConfig('right-token') }),
  startNatsServer({ config: operator.config }),
  startNatsServer(),
  startNatsServer({ tls: await certificateFor('localhost') }),
  startNatsServer({ tls: { ...(await certificateFor('127.0.0.1')), caFile, verify: true } }),
  startNatsServer({ tls: await certificateFor('127.0.0.1', true) }),
]);
const [users, token, jwt, plain, named, mutual, expired] = servers;
after(() => Promise.all(servers.map((server) => server.stop())));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}

function agent(connection: Partial<Connection>): LocalAgent {
  return new LocalAgent({ connections: { nats: { url: 'nats://127.0.0.1:1', scheme: 'None', ...connection } } });
}

let count = 0;

/** Both tasks, each of which must fail in the same way, by the same code: in the short form one of them, in turn. */
async function assertBothFail(
  connection: Partial<Connection>,
  code: ErrorCode,
  ...texts: readonly string[]
): Promise<void> {
  const number = count++;
  const tasks = [
    () => publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', timeout: '8s' }),
    () => wait(agent(connection), { subject: 'ci.>', timeout: '8s' }),
  ];
  const some = casesOf(tasks, (_, index) => index === number % tasks.length);
  for (const step of await Promise.all(some.map((run) => run())))
    assertFailed(step, code, 'Cannot connect to NATS: ', ...texts);
}

// The first of them takes half a minute, in which the others run.
describe('A step that cannot connect', { concurrency: 2 }, () => {
  describe("to a server that isn't running", { concurrency: 4 }, () => {
    it('tries for 30 seconds and no longer', async () => {
      const port = await freePort();
      const step = await wait(agent({ url: `nats://127.0.0.1:${port}` }), { subject: 'ci.>', timeout: '5m' });
      assertFailed(step, 'Unreachable', `127.0.0.1:${port} refused the connection (ECONNREFUSED)`);
      assert.ok(step.durationMs > 28_000 && step.durationMs < 33_000, `${step.durationMs} ms`);
    });

    it("tries until the timeout if that comes first, and gives every server's own reason", async () => {
      const [one, two] = [await freePort(), await freePort()];
      const connection = {
        url: `nats://127.0.0.1:${one}`,
        data: { servers: `127.0.0.1:${two}, no-such-host.invalid` },
      };
      const step = await publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', timeout: '2s' });
      assertFailed(
        step,
        'Unreachable',
        `127.0.0.1:${one} refused the connection (ECONNREFUSED)`,
        `127.0.0.1:${two} refused the connection (ECONNREFUSED)`,
        'no-such-host.invalid:4222 could not be found (E',
        'Check the host, the port, and that this agent may reach it.',
      );
      assert.ok(step.durationMs > 1_000 && step.durationMs < 4_500, `${step.durationMs} ms`);
    });

    it('keeps the earlier reason if only the last attempt gets no response', async () => {
      let tries = 0;
      const server = createServer((socket) => tries++ === 0 && socket.resetAndDestroy()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const step = await publish(agent({ url }), { subject: 'ci.built.v1', payload: '{}', timeout: '4s' });
      server.close();
      assert.ok(tries > 1);
      assertFailed(step, 'Unreachable', 'refused the connection (ECONNRESET)');
    });

    it('uses another server of the list that is', async () => {
      await using server = await startNatsServer({ jetStream: false });
      const connection = {
        url: `nats://127.0.0.1:${await freePort()}`,
        data: { servers: `no-such-host.invalid, 127.0.0.1:${server.port}` },
      };
      const step = await publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', delivery: 'core' });
      assert.equal(step.result, 'Succeeded', step.logText);
    });

    it('connects if the server starts meanwhile', async () => {
      // Breaks the first connection, and makes room for the server then.
      const breaking = createServer((socket) => {
        socket.resetAndDestroy();
        breaking.close();
      });
      await once(breaking.listen(0, '127.0.0.1'), 'listening');
      const { port } = breaking.address() as AddressInfo;
      const running = publish(agent({ url: `nats://127.0.0.1:${port}` }), {
        subject: 'ci.built.v1',
        payload: '{}',
        delivery: 'core',
      });
      await once(breaking, 'close');
      const server = await startNatsServer({ jetStream: false, port });
      const step = await running;
      await server.stop();
      assert.equal(step.result, 'Succeeded', step.logText);
    });
  });

  describe('to something that is not a NATS server', { concurrency: 4 }, () => {
    let web: Server;
    let silent: Server;
    before(async () => {
      web = createHttpServer((_, response) => response.end('Hello'));
      silent = createServer((socket) => socket.on('error', () => {}));
      await Promise.all([web, silent].map((server) => once(server.listen(0, '127.0.0.1'), 'listening')));
    });
    after(() => {
      web.close();
      silent.close();
    });
    const addressOf = (server: Server) => `127.0.0.1:${(server.address() as AddressInfo).port}`;

    it('but a web server', async () => {
      const reason = `${addressOf(web)} accepted no NATS connection in time`;
      const remedy = 'Check the host, the port and firewalls in between.';
      await assertBothFail({ url: `nats://${addressOf(web)}` }, 'Unreachable', reason, remedy);
    });

    it('but something that says nothing', async () => {
      const step = await publish(agent({ url: `nats://${addressOf(silent)}` }), {
        subject: 'ci.built.v1',
        payload: '{}',
        timeout: '3s',
      });
      assertFailed(step, 'Unreachable', `${addressOf(silent)} accepted no NATS connection in time`);
      assert.ok(step.durationMs < 6_000, `${step.durationMs} ms`);
    });

    it("which doesn't keep the step from the next server of the list", async () => {
      await using server = await startNatsServer({ jetStream: false });
      const connection = {
        url: `nats://${addressOf(silent)}`,
        data: { servers: `${addressOf(web)}, 127.0.0.1:${server.port}` },
      };
      const step = await publish(agent(connection), {
        subject: 'ci.built.v1',
        payload: '{}',
        delivery: 'core',
        timeout: '6s',
      });
      assert.equal(step.result, 'Succeeded', step.logText);
    });
  });

  describe('to a server that refuses to sign it in', { concurrency: 4 }, () => {
    it('because the step has no secret', async () => {
      for (const { url, port } of [users, token, jwt]) {
        const refusal = `127.0.0.1:${port} rejected the credentials`;
        await assertBothFail({ url }, 'Denied', refusal, 'The service connection holds no secret');
      }
    });

    it('which is reported at once, not after 30 seconds', async () => {
      const refused = agent({ url: users.url, parameters: { credentials: createNKey().seed } });
      const step = await wait(refused, { subject: 'ci.>', timeout: '1m' });
      assert.ok(step.durationMs < 5_000, `${step.durationMs} ms`);
    });

    it('unless another server of the list accepts it', async () => {
      const parameters = { credentials: await operator.creds() };
      const connection = { url: users.url, parameters, data: { servers: `127.0.0.1:${jwt.port}` } };
      const step = await publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', delivery: 'core' });
      assert.equal(step.result, 'Succeeded', step.logText);
    });
  });

  describe('by TLS', { concurrency: 4 }, () => {
    const caCertificate = authority.cert;
    const tls = ({ port }: NatsServer, host = '127.0.0.1', scheme = 'tls') => `${scheme}://${host}:${port}`;

    for (const [why, connection, ...texts] of [
      [
        'the server has none',
        { url: tls(plain) },
        `127.0.0.1:${plain.port} offers no TLS`,
        'Use nats:// for a server without TLS, or turn TLS on in the server.',
      ],
      ...['tls', 'nats'].flatMap((scheme) => [
        [
          `nobody named the authority of the certificate, with ${scheme}://`,
          { url: tls(named, 'localhost', scheme) },
          `localhost:${named.port} failed the TLS handshake`,
          '"CA certificate"',
        ] as const,
        [
          `another authority signed the certificate, with ${scheme}://`,
          { url: tls(named, 'localhost', scheme), data: { caCertificate: stranger.cert } },
          'failed the TLS handshake',
          '"CA certificate" of the connection',
        ] as const,
        [
          `the certificate names another host, with ${scheme}://`,
          { url: tls(named, '127.0.0.1', scheme), data: { caCertificate } },
          "Use the host name or address that the server's certificate names.",
        ] as const,
      ]),
      [
        'the certificate of the server has expired',
        { url: tls(expired), data: { caCertificate } },
        'expired',
        'its operator must renew it',
      ],
      [
        'the server wants a client certificate and the connection has none',
        { url: tls(mutual), data: { caCertificate } },
        `127.0.0.1:${mutual.port} wants a client certificate, and the service connection has none`,
        'Use the authentication scheme "Client certificate".',
      ],
      [
        'the server does not trust the client certificate',
        {
          ...{ url: tls(mutual), scheme: 'Certificate', data: { caCertificate } },
          parameters: { certificate: untrusted.cert, privateKey: untrusted.key },
        },
        `127.0.0.1:${mutual.port} does not accept the client certificate (`,
        'Check that an authority the server trusts signed it',
      ],
      [
        'the server does not begin with TLS',
        { url: tls(named, 'localhost'), data: { caCertificate, tlsFirst: 'true' } },
        'failed the TLS handshake',
        'clear "TLS first" in the connection',
      ],
    ] as const) {
      it(`since ${why}`, () => assertBothFail(connection, 'TlsFailure', ...texts));
    }

    it("since a reset overtakes the server's certificate error, and the last attempt is cut short", async () => {
      let tries = 0;
      const server = createServer((socket) => {
        socket.on('error', () => {});
        // The first one is reset in the handshake, the second one asks for the INFO, and the others hear nothing.
        if (++tries <= 2) socket.write(infoLine({ tls_required: true, tls_verify: true }));
        if (tries === 1) socket.once('data', () => socket.resetAndDestroy());
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const parameters = { certificate: untrusted.cert, privateKey: untrusted.key };
      const url = `tls://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const step = await publish(agent({ url, scheme: 'Certificate', parameters }), {
        ...{ subject: 'ci.built.v1', payload: '{}', timeout: '4s' },
      });
      server.close();
      assert.ok(tries > 2);
      assertFailed(step, 'TlsFailure', 'does not accept the client certificate (it closed the connection)');
    });

    it('since something sends more than INFO before TLS', async () => {
      const greeting = infoLine({ tls_required: true }) + infoLine({ connect_urls: ['127.0.0.1:1'] });
      await using between = await ScriptedServer.start({ greeting });
      const url = between.url.replace('nats:', 'tls:');
      await assertBothFail(
        { url, scheme: 'Token', parameters: { apitoken: 'canary' }, data: { caCertificate } },
        'TlsFailure',
        `${new URL(url).host} sent more than its INFO before TLS`,
        'Something between this agent and the server may be altering the traffic',
      );
      assert.ok(between.links.every(({ received }) => received === 0));
    });
  });
});
