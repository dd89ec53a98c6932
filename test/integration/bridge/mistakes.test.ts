import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import { Entra } from '../../support/azureDevOps/entra.ts';
import { runHere, setUp } from '../../support/bridge/commandsHere.ts';
import { configurationFile } from '../../support/bridge/configurationFile.ts';
import { createAuthority, saveCertificate } from '../../support/nats/certificates.ts';
import { startNatsServer, type NatsServer } from '../../support/nats/natsServer.ts';

// Mistakes with streams, permissions and the server itself are in check.test.ts; a file that may not be read is in test/e2e/bridge/check.test.ts.

const FILES = { password: 'the password of the bridge', hook: 'a hook secret of some length' };
const USERS = `authorization { users: [{ user: bridge, password: "${FILES.password}" }] }`;
/** Texts that a configuration's mistake is made of. */
interface Mistake {
  /** What is replaced in the configuration, and by what. */
  readonly replace?: readonly (readonly [text: string, by: string])[];
  readonly files?: Readonly<Record<string, string>>;
  /** All that `check` says, where the configuration's own path is `bridge.yml`. */
  readonly told: string | RegExp;
}

describe('check reports a mistake once, with its fix, and exits with 1:', () => {
  let server: NatsServer;
  let encrypted: NatsServer;
  let azure: AzureDevOps;
  let entra: Entra;

  before(async () => {
    const authority = await createAuthority();
    const certificate = saveCertificate(temporaryFolder('mistakes-'), 'server', await authority.server());
    const maxPayload = 3 * 1_024 * 1_024;
    entra = await Entra.start();
    [server, encrypted, azure] = await Promise.all([
      startNatsServer({ maxPayload, config: USERS }),
      startNatsServer({ maxPayload, config: USERS, tls: certificate }),
      AzureDevOps.start({ entra }),
    ]);
    for (const { url } of [server, encrypted]) {
      const yaml = configuration().replace(server.url, url).replace('user:', 'caFile: ca.pem, user:');
      await setUp(yaml, { files: files({ 'ca.pem': authority.cert }) });
    }
  });
  after(async () => {
    await Promise.all([server.stop(), encrypted.stop(), azure.stop(), entra.stop()]);
  });

  function configuration(): string {
    return `nats: { servers: ["${server.url}"], user: bridge, passwordFile: password }
azureDevOps:
  organization: "${azure.url}"
  identity: { kind: pat, patFile: pat }
hooks:
  passwordFiles: [hook]
  events: [{ event: git.push, project: Shop }]
timing: { connect: 1s }
`;
  }

  function files(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    return { ...FILES, pat: azure.pat, ...more };
  }

  /** What `check` says on stdout, without warnings. */
  async function told({ replace = [], files: more }: Mistake): Promise<string[]> {
    const yaml = replace.reduce((text, [from, by]) => {
      assert.ok(text.includes(from), from);
      return text.replace(from, by);
    }, configuration());
    const file = configurationFile(yaml, files(more));
    const { status, stdout, stderr } = await runHere(['check'], file);
    const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('warning: '));
    assert.equal(status, lines.length === 0 ? 0 : 1, stdout + stderr);
    for (const secret of Object.values(files(more)).filter((text) => text.length > 4))
      assert.ok(!(stdout + stderr).includes(secret), stdout + stderr);
    return lines.map((line) => line.replaceAll(file, 'bridge.yml').replaceAll(path.dirname(file), '<folder>'));
  }

  test('none, in the configuration that all the others start from', async () => {
    assert.deepEqual(await told({ told: '' }), []);
  });

  const MISTAKES: Readonly<Record<string, () => Mistake>> = {
    'a wrong password': () => ({
      files: { password: 'another password' },
      told: `error: NATS: Cannot connect to NATS: 127.0.0.1:${server.port} rejected the credentials ('Authorization Violation'). Check nats.user and nats.passwordFile, and that the server knows this user.`,
    }),
    'no way to sign in to NATS': () => ({
      replace: [[', user: bridge, passwordFile: password', '']],
      told: `error: NATS: Cannot connect to NATS: 127.0.0.1:${server.port} rejected the credentials ('Authorization Violation'). Add a way to sign in to nats, such as nats.credentialsFile.`,
    }),
    'a server that nobody answers for': () => ({
      replace: [[server.url, 'nats://127.0.0.1:1']],
      told: 'error: NATS: Cannot connect to NATS: 127.0.0.1:1 refused the connection (ECONNREFUSED). Check the host, the port, and that this machine may reach it.',
    }),
    'a server with the scheme of a web server': () => ({
      replace: [[server.url, `http://127.0.0.1:${server.port}`]],
      told: "error: bridge.yml:1:19: nats.servers[0]: can't be used: it begins with http://. Use nats:// for a server of NATS.",
    }),
    'no authority for the certificate of the server': () => ({
      replace: [[server.url, `tls://127.0.0.1:${encrypted.port}`]],
      told: /^error: NATS: Cannot connect to NATS: 127\.0\.0\.1:\d+ failed the TLS handshake \(unable to verify the first certificate.*\)\. Put the PEM text of the authority that signed the server's certificate into the file of nats\.caFile\.$/,
    }),
    'another authority than that of the server': () => ({
      replace: [
        [server.url, `tls://127.0.0.1:${encrypted.port}`],
        ['user:', 'caFile: ca.pem, user:'],
      ],
      files: { 'ca.pem': readFileSync(entra.caFile, 'utf8') },
      told: /failed the TLS handshake .*into the file of nats\.caFile\.$/,
    }),
    'an authority that is none': () => ({
      replace: [['user:', 'caFile: password, user:']],
      told: /^error: bridge\.yml:1:\d+: nats\.caFile: "password" is not a certificate in PEM\. Name a file that begins with -----BEGIN CERTIFICATE-----\.$/,
    }),
    'tls:// for a server without TLS': () => ({
      replace: [[server.url, `tls://127.0.0.1:${server.port}`]],
      told: `error: NATS: Cannot connect to NATS: 127.0.0.1:${server.port} offers no TLS. Use nats:// for a server without TLS, or turn TLS on in the server.`,
    }),
    'a secret file that is not there': () => ({
      replace: [['[hook]', '[hooks/secret]']],
      told: `error: bridge.yml:6:19: hooks.passwordFiles[0]: "hooks/secret" can't be read: it doesn't exist. Name a file that the bridge's user may read.`,
    }),
    'a secret file that is empty': () => ({
      files: { pat: '\n' },
      told: 'error: bridge.yml:4:35: azureDevOps.identity.patFile: "pat" is empty. Write the secret into it.',
    }),
    'a variable that is not set': () => ({
      replace: [['passwordFile: password', 'passwordEnv: NATS_PASSWORD']],
      told: /^error: bridge\.yml:1:\d+: nats\.passwordEnv: "NATS_PASSWORD" names a variable that is not set\. Set it to the secret where the bridge is started\.$/,
    }),
    'a key that is misspelt': () => ({
      replace: [['passwordFiles:', 'passwordFile:']],
      told: 'error: bridge.yml:6:3: hooks.passwordFile: is not a key that the bridge knows. The nearest one is "passwordFiles".',
    }),
    'a tab as indentation': () => ({
      replace: [['  passwordFiles', '\tpasswordFiles']],
      told: "error: bridge.yml:6:1: isn't YAML: this line is indented with a tab. Indent all lines with spaces.",
    }),
    'a key without its colon': () => ({
      replace: [['  passwordFiles: [hook]', '  passwordFiles [hook]']],
      told: "error: bridge.yml:6:3: isn't YAML: Implicit keys need to be on a single line; a colon may be missing after a key.",
    }),
    'an organization without TLS': () => ({
      replace: [[azure.url, 'http://devops.example.com/contoso']],
      told: 'error: bridge.yml:3:17: azureDevOps.organization: "http://devops.example.com/contoso" is not encrypted. Use https://; only this machine itself may be http://.',
    }),
    'another organization': () => ({
      replace: [['contoso', 'contosso']],
      told: 'error: Azure DevOps: Azure DevOps answers with status 404. Check azureDevOps.organization. Check azureDevOps.identity, and that it is a user of the organization.',
    }),
    'a personal access token that is none': () => ({
      files: { pat: 'an expired token' },
      told: 'error: Azure DevOps: Azure DevOps does not accept the sign-in (status 302). Check azureDevOps.identity, and that it is a user of the organization. Its credentials may have expired.',
    }),
    'a client secret that is none': () => ({
      replace: [
        [
          '{ kind: pat, patFile: pat }',
          `{ kind: clientSecret, tenantId: ${entra.tenantId}, clientId: ${entra.register().clientId}, clientSecretFile: password, authorityHost: "${entra.authorityHost}" }\n  caFile: ca.pem`,
        ],
      ],
      files: { 'ca.pem': readFileSync(entra.caFile, 'utf8') },
      told: /^error: Azure DevOps: There is no token for Azure DevOps \(clientSecret\): .*AADSTS7000215.* Check azureDevOps\.identity, and that it is a user of the organization\. Its credentials may have expired\.$/,
    }),
    'a project that is not there': () => ({
      replace: [['project: Shop', 'project: Shops']],
      told: `error: hooks.events[0].project: there is no project "Shops", or the bridge's identity may not see it. Correct the name, or make the identity a reader of the project.`,
    }),
  };

  for (const [name, mistake] of Object.entries(MISTAKES))
    test(name, async () => {
      const made = mistake();
      const [only = '', ...more] = await told(made);
      assert.deepEqual(more, []);
      if (typeof made.told === 'string') assert.equal(only, made.told);
      else assert.match(only, made.told);
    });
});
