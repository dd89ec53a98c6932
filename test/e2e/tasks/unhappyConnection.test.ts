import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { ErrorCode } from '../../../shared/errors.ts';
import { createAuthority, saveCertificate, type Authority } from '../../support/nats/certificates.ts';
import { LocalAgent, temporaryFolder, type Connection } from '../../../localAgent/index.ts';
import {
  createNKey,
  createOperatorMode,
  tokenConfig,
  usersConfig,
  type OperatorMode,
} from '../../support/nats/natsAccounts.ts';
import { startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { assertFailed, publish, wait } from '../../support/agent/scenario.ts';
import { infoLine, ScriptedServer } from '../../support/nats/scriptedServer.ts';

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

/** Both tasks, each of which must fail in the same way. */
async function assertBothFail(
  connection: Partial<Connection>,
  inputs: Readonly<Record<string, string>>,
  code: ErrorCode,
  ...texts: readonly string[]
): Promise<void> {
  const steps = await Promise.all([
    publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', ...inputs }),
    wait(agent(connection), { subject: 'ci.>', ...inputs }),
  ]);
  for (const step of steps) assertFailed(step, code, 'Cannot connect to NATS: ', ...texts);
}

// The first of them takes half a minute, in which the others run.
describe('A step that cannot connect', { concurrency: 2 }, () => {
  describe('to a server that is not there', { concurrency: 4 }, () => {
    it('is tried for 30 seconds and no longer', async () => {
      const port = await freePort();
      const step = await wait(agent({ url: `nats://127.0.0.1:${port}` }), { subject: 'ci.>', timeout: '5m' });
      assertFailed(step, 'Unreachable', `127.0.0.1:${port} did not take the connection (ECONNREFUSED)`);
      assert.ok(step.durationMs > 28_000 && step.durationMs < 33_000, `${step.durationMs} ms`);
    });

    it('is tried until the timeout where that comes first, and every server gives its own reason', async () => {
      const [one, two] = [await freePort(), await freePort()];
      const connection = {
        url: `nats://127.0.0.1:${one}`,
        data: { servers: `127.0.0.1:${two}, no-such-host.invalid` },
      };
      const step = await publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', timeout: '2s' });
      assertFailed(
        step,
        'Unreachable',
        `127.0.0.1:${one} did not take the connection (ECONNREFUSED)`,
        `127.0.0.1:${two} did not take the connection (ECONNREFUSED)`,
        'no-such-host.invalid:4222 did not take the connection (E',
        'Check the host, the port, and that this agent may reach it.',
      );
      assert.ok(step.durationMs > 1_000 && step.durationMs < 4_500, `${step.durationMs} ms`);
    });

    it('does not matter while another one of the list is', async () => {
      await using server = await startNatsServer({ jetStream: false });
      const connection = {
        url: `nats://127.0.0.1:${await freePort()}`,
        data: { servers: `no-such-host.invalid, 127.0.0.1:${server.port}` },
      };
      const step = await publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', delivery: 'core' });
      assert.equal(step.result, 'Succeeded', step.logText);
    });

    it('may appear while it is tried', async () => {
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

  describe('to what is no NATS server', { concurrency: 4 }, () => {
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
      await assertBothFail({ url: `nats://${addressOf(web)}` }, { timeout: '4s' }, 'Unreachable', reason, remedy);
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

    it('which does not keep the step from the next server of the list', async () => {
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
    let users: NatsServer;
    let token: NatsServer;
    let jwt: NatsServer;
    let operator: OperatorMode;
    const { publicKey } = createNKey();
    before(async () => {
      operator = await createOperatorMode();
      [users, token, jwt] = await Promise.all([
        startNatsServer({
          config: usersConfig({ user: 'pipelines', password: 'right-password' }, { nkey: publicKey }),
        }),
        startNatsServer({ config: tokenConfig('right-token') }),
        startNatsServer({ config: operator.config }),
      ]);
    });
    after(() => Promise.all([users.stop(), token.stop(), jwt.stop()]));

    const refusal = (server: NatsServer): string => `127.0.0.1:${server.port} refused to sign this connection in`;

    it('because of the password', async () => {
      const parameters = { username: 'pipelines', password: 'wrong-password' };
      const remedy = 'Check the user name and password of the service connection.';
      await assertBothFail(
        { url: users.url, scheme: 'UsernamePassword', parameters },
        {},
        'Denied',
        refusal(users),
        remedy,
      );
    });

    it('because of the token', async () => {
      const connection = { url: token.url, scheme: 'Token', parameters: { apitoken: 'wrong-token' } };
      await assertBothFail(connection, {}, 'Denied', refusal(token), 'Check the token of the service connection.');
    });

    it('because of an NKey it does not know', async () => {
      const connection = { url: users.url, parameters: { credentials: createNKey().seed } };
      await assertBothFail(connection, {}, 'Denied', refusal(users), 'knows the public key of this NKey seed');
    });

    it('because the credentials are of another operator', async () => {
      const credentials = await (await createOperatorMode()).creds();
      const remedy = 'Check that the credentials belong to an account of this server';
      await assertBothFail({ url: jwt.url, parameters: { credentials } }, {}, 'Denied', refusal(jwt), remedy);
    });

    it('because the step brings no secret', async () => {
      for (const server of [users, token, jwt])
        await assertBothFail(
          { url: server.url },
          {},
          'Denied',
          refusal(server),
          'The service connection holds no secret',
        );
    });

    it('which is told at once, not after 30 seconds', async () => {
      const step = await wait(agent({ url: users.url, parameters: { credentials: createNKey().seed } }), {
        subject: 'ci.>',
        timeout: '1m',
      });
      assert.ok(step.durationMs < 5_000, `${step.durationMs} ms`);
    });

    it('unless another server of the list takes it', async () => {
      const connection = {
        url: users.url,
        parameters: { credentials: await operator.creds() },
        data: { servers: `127.0.0.1:${jwt.port}` },
      };
      const step = await publish(agent(connection), { subject: 'ci.built.v1', payload: '{}', delivery: 'core' });
      assert.equal(step.result, 'Succeeded', step.logText);
    });
  });

  describe('by TLS', { concurrency: 4 }, () => {
    let authority: Authority;
    let stranger: Authority;
    let plain: NatsServer;
    let named: NatsServer;
    let mutual: NatsServer;
    let expired: NatsServer;

    before(async () => {
      [authority, stranger] = await Promise.all([createAuthority(), createAuthority()]);
      const folder = temporaryFolder('tls-');
      const caFile = saveCertificate(folder, 'ca', authority).certFile;
      const server = async (names: readonly string[], isExpired = false) =>
        saveCertificate(
          folder,
          `${names.join('-')}${String(isExpired)}`,
          await authority.server({ names, expired: isExpired }),
        );
      [plain, named, mutual, expired] = await Promise.all([
        startNatsServer(),
        startNatsServer({ tls: await server(['localhost']) }),
        startNatsServer({ tls: { ...(await server(['127.0.0.1'])), caFile, verify: true } }),
        startNatsServer({ tls: await server(['127.0.0.1'], true) }),
      ]);
    });
    after(() => Promise.all([plain, named, mutual, expired].map((server) => server.stop())));

    const tls = (server: NatsServer, host = '127.0.0.1') => `tls://${host}:${server.port}`;

    it('since the server has none', async () => {
      await assertBothFail(
        { url: tls(plain) },
        {},
        'TlsFailure',
        `127.0.0.1:${plain.port} offers no TLS`,
        'Use nats:// for a server without TLS, or turn TLS on in the server.',
      );
    });

    for (const scheme of ['tls', 'nats']) {
      it(`since nobody named the authority of the certificate, with ${scheme}://`, async () => {
        const url = `${scheme}://localhost:${named.port}`;
        await assertBothFail(
          { url },
          {},
          'TlsFailure',
          `localhost:${named.port} could not agree on TLS`,
          '"CA certificate"',
        );
      });

      it(`since another authority signed the certificate, with ${scheme}://`, async () => {
        const connection = { url: `${scheme}://localhost:${named.port}`, data: { caCertificate: stranger.cert } };
        await assertBothFail(
          connection,
          {},
          'TlsFailure',
          'could not agree on TLS',
          '"CA certificate" of the connection',
        );
      });

      it(`since the certificate names another host, with ${scheme}://`, async () => {
        const connection = { url: `${scheme}://127.0.0.1:${named.port}`, data: { caCertificate: authority.cert } };
        await assertBothFail(
          connection,
          {},
          'TlsFailure',
          '127.0.0.1',
          "Use the host name or address that the server's certificate names.",
        );
      });
    }

    it('since the certificate of the server has expired', async () => {
      const connection = { url: tls(expired), data: { caCertificate: authority.cert } };
      await assertBothFail(connection, {}, 'TlsFailure', 'expired', 'its operator must renew it');
    });

    it('since the server wants a client certificate and the connection has none', async () => {
      const connection = { url: tls(mutual), data: { caCertificate: authority.cert } };
      await assertBothFail(
        connection,
        {},
        'TlsFailure',
        `127.0.0.1:${mutual.port} wants a client certificate, and the service connection has none`,
        'Use the authentication scheme "Client certificate".',
      );
    });

    it('since the server does not trust the client certificate', async () => {
      const { cert, key } = await stranger.client('ci');
      const connection = {
        url: tls(mutual),
        scheme: 'Certificate',
        parameters: { certificate: cert, privateKey: key },
        data: { caCertificate: authority.cert },
      };
      await assertBothFail(
        connection,
        {},
        'TlsFailure',
        `127.0.0.1:${mutual.port} does not accept the client certificate (`,
        'Check that an authority the server trusts signed it',
      );
    });

    it('since somebody says more than the INFO before TLS', async () => {
      const greeting = infoLine({ tls_required: true }) + infoLine({ connect_urls: ['127.0.0.1:1'] });
      await using between = await ScriptedServer.start({ greeting });
      const connection = {
        url: between.url.replace('nats:', 'tls:'),
        ...{ scheme: 'Token', parameters: { apitoken: 'canary' }, data: { caCertificate: authority.cert } },
      } as const;
      const address = between.url.slice('nats://'.length);
      await assertBothFail(
        connection,
        {},
        'TlsFailure',
        `${address} said more than its INFO before TLS`,
        'Something between this agent and the server may be changing what it says',
      );
      assert.ok(between.links.every(({ received }) => received === 0));
    });

    it('since the server does not begin with TLS', async () => {
      const connection = { url: tls(named, 'localhost'), data: { caCertificate: authority.cert, tlsFirst: 'true' } };
      await assertBothFail(
        connection,
        {},
        'TlsFailure',
        'could not agree on TLS',
        'clear "TLS first" in the connection',
      );
    });
  });
});
