import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import type { ErrorCode } from '../../../shared/errors.ts';
import { casesOf } from '../../support/form.ts';
import { createAuthority, saveCertificate } from '../../support/nats/certificates.ts';
import { LocalAgent, temporaryFolder, type Connection, type StepRun } from '../../../localAgent/index.ts';
import {
  bcryptHash,
  createNKey,
  createOperatorMode,
  tokenConfig,
  usersConfig,
} from '../../support/nats/natsAccounts.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';
import { assertFailed, assertSucceeded, beginWait, eventsOf, publish, wait } from '../../support/agent/scenario.ts';

// Secrets with everything that an encoding changes.
const PASSWORD = 'Canary pass/w+rd "100%" \\ äö=';
const HASHED_PASSWORD = "Canary of 'bcrypt' <&> #1";
const TOKEN = 'canary-tok+en/%25="x"\\y';
const WRONG = 'Canary "that" is wr+ng/%';

const nkey = createNKey();
const otherNKey = createNKey();
const operator = await createOperatorMode();
const creds = await operator.creds();
const otherCreds = await (await createOperatorMode()).creds();
const authority = await createAuthority();
const pipelines = await authority.client('pipelines');
const nobody = await authority.client('nobody');

const folder = temporaryFolder('auth-');
const caFile = saveCertificate(folder, 'ca', authority).certFile;
const files = saveCertificate(folder, 'server', await authority.server({ names: ['localhost', '127.0.0.1'] }));
const users = usersConfig(
  { user: 'pipelines', password: PASSWORD },
  { user: 'hashed-pipelines', password: bcryptHash(HASHED_PASSWORD) },
  { nkey: nkey.publicKey },
);
const mapped = `tls { cert_file: "${files.certFile}", key_file: "${files.keyFile}", ca_file: "${caFile}", verify_and_map: true }
  authorization { users: [{ user: "CN=pipelines" }] }`;

const jetStream = false;
const started = await Promise.all([
  startNatsServer({ jetStream }),
  startNatsServer({ jetStream, config: users }),
  startNatsServer({ jetStream, config: tokenConfig(TOKEN) }),
  startNatsServer({ jetStream, config: operator.config }),
  startNatsServer({ jetStream, config: users, tls: files }),
  startNatsServer({ jetStream, config: mapped }),
  startNatsServer({ jetStream, config: users, tls: { ...files, caFile, verify: true } }),
  ...(['2.10', '2.15'] as const).map((line) =>
    startNatsServer({
      ...{ jetStream, config: users, binary: natsServerBinary(line), tls: { ...files, handshakeFirst: true } },
    }),
  ),
]);
const [open, plain, token, jwt, tls, mapping, mutual, ...tlsFirst] = started;
after(() => Promise.all(started.map((server) => server.stop())));

interface AuthKind {
  readonly name: string;
  readonly connection: Connection;
  /** The value of the secret variable `canary`, which `credentialsVariable` names. */
  readonly variable?: string;
  /** Encrypted. */
  readonly tls?: boolean;
  /** What is warned of. */
  readonly warning?: string;
  /** What replaces parts of the connection so that it does not work, and what the steps say then. */
  readonly wrong?: Partial<Connection>;
  readonly code?: ErrorCode;
  readonly says?: string;
}

const caCertificate = authority.cert;
const plainWarning = (what: string, server: NatsServer) =>
  `The ${what} was sent to 127.0.0.1:${server.port} without TLS, where anyone on the way can read it. Turn TLS on in the server and use tls:// in the service connection.`;
const userPassword = (url: string, username = 'pipelines', password = PASSWORD): Connection => ({
  url,
  scheme: 'UsernamePassword',
  parameters: { username, password },
  data: { caCertificate },
});
const wrongPassword = { parameters: { username: 'pipelines', password: WRONG } };
const signIn = 'rejected the credentials';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const certificateOf = ({ cert, key }: typeof pipelines) => ({ certificate: cert, privateKey: key });

const KINDS: readonly AuthKind[] = [
  { name: 'nothing, where nothing is asked', connection: { url: open.url, scheme: 'None' } },
  {
    name: 'an NKey',
    connection: { url: plain.url, scheme: 'None', parameters: { credentials: nkey.seed } },
    wrong: { parameters: { credentials: otherNKey.seed } },
    says: 'Check that the server knows the public key of the NKey seed of the service connection.',
  },
  {
    name: 'credentials with a JWT',
    connection: { url: jwt.url, scheme: 'None', parameters: { credentials: creds } },
    wrong: { parameters: { credentials: otherCreds } },
    says: 'Check that the credentials of the service connection belong to an account of this server',
  },
  {
    name: 'credentials whose line ends a form has turned into spaces',
    connection: { url: jwt.url, scheme: 'None', parameters: { credentials: creds.replaceAll('\n', ' ') } },
    wrong: { parameters: { credentials: otherCreds.replaceAll('\n', ' ') } },
  },
  {
    name: 'a token',
    connection: { url: token.url, scheme: 'Token', parameters: { apitoken: TOKEN } },
    warning: plainWarning('token', token),
    wrong: { parameters: { apitoken: WRONG } },
    says: 'Check the token of the service connection.',
  },
  {
    name: 'user and password',
    connection: userPassword(plain.url),
    warning: plainWarning('password', plain),
    wrong: wrongPassword,
    says: 'Check the user name and password of the service connection.',
  },
  {
    name: 'user and password that the server keeps as bcrypt',
    connection: userPassword(plain.url, 'hashed-pipelines', HASHED_PASSWORD),
    warning: plainWarning('password', plain),
    wrong: { parameters: { username: 'hashed-pipelines', password: bcryptHash(HASHED_PASSWORD) } },
  },
  {
    name: 'a password over nats://, which becomes TLS',
    connection: userPassword(`nats://localhost:${tls.port}`),
    tls: true,
    wrong: wrongPassword,
  },
  {
    name: 'a password over tls:// by name',
    connection: userPassword(`tls://localhost:${tls.port}`),
    tls: true,
    wrong: wrongPassword,
  },
  {
    name: 'a password over tls:// by address',
    connection: userPassword(`tls://127.0.0.1:${tls.port}`),
    tls: true,
    wrong: { data: {} },
    code: 'TlsFailure',
    says: 'Put the PEM text of the authority',
  },
  {
    name: 'a client certificate that the server maps to a user',
    connection: {
      url: `tls://localhost:${mapping.port}`,
      scheme: 'Certificate',
      parameters: certificateOf(pipelines),
      data: { caCertificate },
    },
    tls: true,
    wrong: { parameters: certificateOf(nobody) },
  },
  {
    name: 'a client certificate in base64, over nats://',
    connection: {
      url: `nats://localhost:${mapping.port}`,
      scheme: 'Certificate',
      parameters: { certificate: base64(pipelines.cert), privateKey: base64(pipelines.key) },
      data: { caCertificate: base64(caCertificate) },
    },
    tls: true,
    wrong: { parameters: { certificate: base64(pipelines.cert), privateKey: base64(nobody.key) } },
    code: 'InvalidInput',
    says: 'its private key does not belong to its certificate',
  },
  {
    name: 'a client certificate and credentials',
    connection: {
      url: `tls://127.0.0.1:${mutual.port}`,
      scheme: 'Certificate',
      parameters: { ...certificateOf(nobody), credentials: nkey.seed },
      data: { caCertificate },
    },
    tls: true,
    wrong: { parameters: { ...certificateOf(nobody), credentials: otherNKey.seed } },
  },
  ...tlsFirst.flatMap((server): AuthKind[] => [
    {
      name: `a password after TLS first over tls://, on nats-server ${server.version}`,
      connection: { ...userPassword(`tls://localhost:${server.port}`), data: { caCertificate, tlsFirst: 'true' } },
      tls: true,
      wrong: wrongPassword,
    },
    {
      name: `a password after TLS first over nats://, on nats-server ${server.version}`,
      connection: { ...userPassword(`nats://127.0.0.1:${server.port}`), data: { caCertificate, tlsFirst: 'true' } },
      tls: true,
      wrong: { data: { caCertificate } },
      code: 'Unreachable',
      says: 'If the server expects TLS first, set "TLS first" in the connection.',
    },
  ]),
  {
    name: 'a token from a secret variable',
    connection: { url: token.url, scheme: 'Token', parameters: { apitoken: WRONG } },
    variable: TOKEN,
    warning: plainWarning('token', token),
  },
  {
    name: 'a password from a secret variable',
    connection: userPassword(`tls://localhost:${tls.port}`, 'pipelines', WRONG),
    variable: PASSWORD,
    tls: true,
  },
  {
    name: 'credentials from a secret variable of several lines',
    connection: { url: jwt.url, scheme: 'None', parameters: { credentials: 'of no use here' } },
    variable: creds,
  },
  {
    name: 'a client certificate, and credentials from a secret variable',
    connection: {
      url: `tls://127.0.0.1:${mutual.port}`,
      scheme: 'Certificate',
      parameters: certificateOf(nobody),
      data: { caCertificate },
    },
    variable: nkey.seed,
    tls: true,
  },
];

/** The secret parts of a kind's parameters. A user name is none. */
function secretsOf({ connection, variable }: AuthKind, parameters = connection.parameters ?? {}): string[] {
  const secrets = Object.entries(parameters).filter(([name]) => name !== 'username' && name !== 'certificate');
  return [...secrets.map(([, secret]) => secret), ...(variable === undefined ? [] : [variable])];
}

/** A secret and the lines of a longer one, in every form in which they might come back. */
function formsOf(secret: string): string[] {
  const decoded = Buffer.from(secret, 'base64').toString();
  const text = decoded.includes('-----BEGIN') ? decoded : secret;
  // Neither the banners of a PEM or .creds text are secret nor the words of its notice.
  const lines = text.includes('-----BEGIN') ? text.split(/\s+/).filter((line) => /^[\w+/=.-]{16,}$/.test(line)) : [];
  return [secret, secret.trim(), text, text.trim(), ...lines].flatMap((part) => [
    part,
    base64(part),
    Buffer.from(part).toString('base64url'),
    Buffer.from(part).toString('hex'),
    encodeURIComponent(part),
    JSON.stringify(part).slice(1, -1),
  ]);
}

/** Everything a step has left behind for others to see, but for the commands that have the agent mask its secrets. */
function visibleIn(agent: LocalAgent, step: StepRun): Record<string, string> {
  const unmasked = step.rawStdout.split('\n').filter((line) => !line.startsWith('##vso[task.setsecret]'));
  const written = readdirSync(agent.folders.work, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
  return {
    log: step.logText,
    stdout: unmasked.join('\n'),
    stderr: step.rawStderr,
    outputs: JSON.stringify([...step.outputs]),
    issues: [...step.errors, ...step.warnings].join('\n'),
    ...Object.fromEntries(written.map((file) => [file, readFileSync(file, 'latin1')])),
  };
}

function assertNoSecret(agent: LocalAgent, step: StepRun, secrets: readonly string[]): void {
  for (const [place, text] of Object.entries(visibleIn(agent, step))) {
    for (const form of secrets.flatMap(formsOf)) assert.ok(!text.includes(form), `${place} shows ${form}:\n${text}`);
  }
}

function agentOf({ connection, variable }: AuthKind, replaced: Partial<Connection> = {}): LocalAgent {
  return new LocalAgent({
    connections: { nats: { ...connection, ...replaced } },
    secrets: variable === undefined ? {} : { canary: variable },
    debug: true,
  });
}

/** What unit tests of credentials say, and what a server does on another line or by another spelling. */
const IN_LONG =
  /turned into spaces|keeps as bcrypt|over tls:\/\/, on nats-server 2\.10|over nats:\/\/, on nats-server 2\.15/;

describe('A step signs in with', { concurrency: 3 }, () => {
  for (const [number, kind] of casesOf(KINDS, ({ name }) => !IN_LONG.test(name)).entries()) {
    const inputs: Record<string, string> = kind.variable === undefined ? {} : { credentialsVariable: 'canary' };

    it(`${kind.name}, and no secret is seen anywhere`, async () => {
      const [waiting, publishing] = [agentOf(kind), agentOf(kind)];
      const begun = await beginWait(waiting, { subject: 'ci.>', delivery: 'core', ...inputs });
      const published = await publish(publishing, {
        ...{ subject: 'ci.built.v1', payload: '{"built":true}', delivery: 'core' },
        ...inputs,
      });
      const waited = await begun.ended;
      for (const [agent, step] of [
        [publishing, published],
        [waiting, waited],
      ] as const) {
        assertSucceeded(step);
        assert.match(step.logText, new RegExp(`^connected .* tls=${String(kind.tls ?? false)}$`, 'm'));
        assert.match(step.logText, /^##\[debug\]/m);
        assert.deepEqual(step.warnings, kind.warning === undefined ? [] : [kind.warning]);
        assertNoSecret(agent, step, secretsOf(kind));
      }
      assert.deepEqual(
        eventsOf(waited).map(({ data }) => data),
        [{ built: true }],
      );
    });

    if (kind.wrong === undefined) continue;
    const { wrong, code = 'Denied', says = signIn } = kind;

    it(`${kind.name}, and a wrong one is refused without being seen anywhere`, async () => {
      const limits = { delivery: 'core', timeout: '5s' };
      const tasks = [
        (agent: LocalAgent) => publish(agent, { subject: 'ci.built.v1', payload: '{}', ...limits }),
        (agent: LocalAgent) => wait(agent, { subject: 'ci.>', ...limits }),
      ];
      // Both tasks sign in by the same code: in the short form one of them, in turn.
      const some = casesOf(tasks, (_, index) => index === number % tasks.length);
      await Promise.all(
        some.map(async (run) => {
          const agent = agentOf(kind, wrong);
          const step = await run(agent);
          assertFailed(step, code, says);
          assertNoSecret(agent, step, secretsOf(kind, wrong.parameters));
        }),
      );
    });
  }

  it('and a leaked secret would be found in the log', async () => {
    const [kind] = KINDS as [AuthKind];
    const agent = agentOf(kind);
    const step = await publish(agent, {
      subject: 'ci.built.v1',
      payload: '{}',
      correlationId: TOKEN,
      delivery: 'core',
    });
    assertSucceeded(step);
    assert.throws(() => assertNoSecret(agent, step, [TOKEN]), /shows canary-tok/);
  });
});
