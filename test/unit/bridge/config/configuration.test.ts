import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { createUser } from 'nkeys.js';
import { readContracts, warningsOf } from '../../../../bridge/config/contracts.ts';
import { describeFinding } from '../../../../bridge/finding.ts';
import { knownSecrets } from '../../../../shared/text/masker.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';
import {
  configurationFile,
  LEAST,
  problemsOf,
  read,
  readFile,
  type Given,
} from '../../../support/bridge/configurationFile.ts';

const authority = await createAuthority();
const server = await authority.server({ names: ['bridge.example.com'] });
const other = await authority.server({ names: ['other.example.com'] });
const SEED = new TextDecoder().decode(createUser().getSeed());

/** The minimal configuration, with one more section or one more line in a section. */
const withSection = (section: string) => `${LEAST}${section}`;
const withNats = (line: string) => LEAST.replace('nats:\n', `nats:\n  ${line}\n`);
const withIdentity = (identity: string) => LEAST.replace('{ kind: managedIdentity }', identity);
const withOrganization = (url: string) => LEAST.replace('https://dev.azure.com/contoso/', url);

describe('A minimal configuration', () => {
  const { settings, warnings } = read(LEAST);

  test('has the documented defaults', () => {
    const DAY_MS = 86_400_000;
    assert.deepEqual(settings.http, {
      listen: { host: '127.0.0.1', port: 8080 },
      admin: { host: '127.0.0.1', port: 9090 },
      publicUrl: undefined,
      tls: undefined,
    });
    assert.deepEqual(settings.streams, {
      replicas: 1,
      maxAgeMs: { AZDO: 30 * DAY_MS, BRIDGE_AUDIT: 400 * DAY_MS, BRIDGE_DEAD: 30 * DAY_MS },
    });
    const { words, ...nats } = settings.nats();
    assert.equal(words?.signIn, 'Add a way to sign in to nats, such as nats.credentialsFile.');
    assert.deepEqual(nats, {
      servers: [{ host: '127.0.0.1', port: 4222, tls: false }],
      authentication: { kind: 'none' },
      clientCertificate: undefined,
      caCertificate: undefined,
      tlsFirst: false,
      inboxPrefix: undefined,
      jetStreamDomain: undefined,
      clientName: 'nats-event-bridge',
    });
    assert.deepEqual(
      [settings.instance, settings.hooks, settings.signingKey, settings.contracts],
      ['', undefined, undefined, {}],
    );
    assert.deepEqual(warnings, []);
  });

  test('has the organization with a trailing slash', () => {
    for (const [url, organization, name] of [
      ['https://dev.azure.com/contoso', 'https://dev.azure.com/contoso/', 'contoso'],
      ['https://dev.azure.com/Contoso%20Ltd/', 'https://dev.azure.com/Contoso%20Ltd/', 'Contoso Ltd'],
      ['https://contoso.visualstudio.com', 'https://contoso.visualstudio.com/', 'contoso'],
      ['http://127.0.0.1:8081/contoso', 'http://127.0.0.1:8081/contoso/', 'contoso'],
      ['"http://[::1]:8081/contoso"', 'http://[::1]:8081/contoso/', 'contoso'],
    ] as const) {
      const { azureDevOps } = read(withOrganization(url)).settings;
      assert.deepEqual([azureDevOps.organization, azureDevOps.organizationName], [organization, name], url);
    }
  });
});

/** Configurations, and every problem of each, with line and column. */
const PROBLEMS: readonly (readonly [name: string, yaml: string, problems: readonly string[], given?: Given])[] = [
  [
    'nothing at all',
    '',
    [
      '1:1: nats.servers: is required.',
      '1:1: azureDevOps.organization: is required.',
      '1:1: azureDevOps.identity.kind: is required.',
    ],
  ],
  ['a list', '- nats\n', ['1:1: the configuration: is a list, not a section with keys of its own.']],
  [
    'invalid YAML',
    'nats: [a\nazureDevOps: {\n',
    ["2:1: isn't YAML: Flow sequence in block collection must be sufficiently indented and end with a ]."],
  ],
  [
    'a line that is indented too little',
    'hooks:\n  events:\n    - event: build.complete\n     project: Shop\n    - event: git.push\n     project: Shop\n',
    ["4:1: isn't YAML: Sequence item without - indicator; check that this line is indented like its neighbours."],
  ],
  [
    'several organizations',
    LEAST.replace('organization:', 'organizations:'),
    [
      '4:3: azureDevOps.organizations: is not a key that the bridge knows. The nearest one is "organization". It takes one, not several.',
    ],
  ],
  [
    'tabs',
    'nats:\n\tservers: [a]\n\ttlsFirst: yes\nwaits:\n\trules: []\n',
    ["2:1: isn't YAML: this line is indented with a tab. Indent all lines with spaces."],
  ],
  ['a key twice', `${LEAST}nats: {}\n`, ["6:1: isn't YAML: Map keys must be unique."]],
  ['keys twice', `${LEAST}nats: {}\nazureDevOps: {}\n`, ["6:1: isn't YAML: Map keys must be unique, and 1 more."]],
  [
    'unknown keys, at any depth',
    withSection('sreams: {}\nstreams:\n  AZDP: { maxAge: 1d }\n  AZDO: { maxage: 1d }\nhttp:\n  lisen: x\n'),
    [
      '6:1: sreams: is not a key that the bridge knows. The nearest one is "streams".',
      '8:3: streams.AZDP: is not a key that the bridge knows. The nearest one is "AZDO".',
      '9:11: streams.AZDO.maxage: is not a key that the bridge knows. The nearest one is "maxAge".',
      '11:3: http.lisen: is not a key that the bridge knows. The nearest one is "listen".',
    ],
  ],
  [
    'values of the wrong type',
    'instance: 7\nnats:\n  servers: tls://nats-1\n  tlsFirst: "yes"\nazureDevOps:\nstreams:\n  replicas: 1.5\n',
    [
      '1:11: instance: is 7, not a text. Put it in quotes.',
      '3:12: nats.servers: is "tls://nats-1", not a list.',
      '4:13: nats.tlsFirst: is "yes", not true or false.',
      '5:1: azureDevOps: is empty, not a section with keys of its own.',
      '7:13: streams.replicas: is 1.5, not a whole number.',
    ],
  ],
  [
    'values that are not allowed',
    withSection(
      `instance: a.b\nstreams:\n  replicas: 6\n  AZDO: { maxAge: soon }\n  BRIDGE_DEAD: { maxAge: 0s }\nhttp:\n  listen: "8080"\n  admin: 127.0.0.1:90909\n`,
    ),
    [
      '6:11: instance: "a.b" is not a name of at most 32 letters, digits, `_` and `-`.',
      '8:13: streams.replicas: is 6, not at most 5.',
      '9:19: streams.AZDO.maxAge: "soon" is not a duration, such as 500ms, 90s, 1h30m or 30d.',
      '10:26: streams.BRIDGE_DEAD.maxAge: "0s" is not a duration above 0 and up to 3650 days. Write 500ms, 90s, 1h30m or 30d.',
      '12:11: http.listen: "8080" is not a host and a port, such as 127.0.0.1:8080 or [::]:8080.',
      '13:10: http.admin: "127.0.0.1:90909" has a port above 65535.',
    ],
  ],
  [
    'servers',
    LEAST.replace('[nats://127.0.0.1:4222]', '[nats://a, tls://b, "nats://u:p@c", "nats://d,e", ws://f, "nats://g/h"]'),
    [
      "2:3: nats.servers: can't be used together: they mix tls:// and nats://. Give all of them the same scheme.",
      "2:32: nats.servers[2]: can't be used: it holds a user or password. Use user and passwordFile instead.",
      `2:48: nats.servers[3]: can't be used: it names more than one server. Write each as an item of the list.`,
      `2:62: nats.servers[4]: can't be used: it uses WebSocket (ws://), which isn't supported. Use the server's nats:// or tls:// port.`,
      `2:70: nats.servers[5]: can't be used: it has a path. Only a host and a port are needed.`,
    ],
  ],
  ['no server', LEAST.replace('[nats://127.0.0.1:4222]', '[]'), ['2:3: nats.servers: is empty.']],
  [
    'several ways to sign in',
    withNats('tokenFile: token\n  user: me\n  passwordEnv: PASSWORD\n  nkeySeedEnv: SEED'),
    [
      '2:14: nats.tokenFile: is a second way to sign in, beside nkeySeedEnv. Keep exactly one.',
      '3:9: nats.user: is a second way to sign in, beside nkeySeedEnv. Keep exactly one.',
    ],
    { files: { token: 't' }, env: { SEED } },
  ],
  [
    'a user without a password',
    withNats('user: me'),
    ['2:9: nats.user: has no password. Add nats.passwordFile or nats.passwordEnv.'],
  ],
  [
    'a password without a user',
    withNats('passwordFile: p'),
    ['2:17: nats.passwordFile: has no user. Add nats.user.'],
    { files: { p: 'x' } },
  ],
  [
    'a secret from two sources',
    withNats('tokenFile: token\n  tokenEnv: TOKEN'),
    ['3:13: nats.tokenEnv: is given as well as tokenFile. Remove one of the two.'],
    { files: { token: 't' }, env: { TOKEN: 't' } },
  ],
  [
    'files that give no secret',
    withSection('hooks:\n  passwordFiles: [gone, empty, folder/, large]\n  passwordEnvs: [GONE, EMPTY]\n'),
    [
      `7:19: hooks.passwordFiles[0]: "gone" can't be read: it doesn't exist. Name a file that the bridge's user may read.`,
      `7:25: hooks.passwordFiles[1]: "empty" is empty. Write the secret into it.`,
      `7:32: hooks.passwordFiles[2]: "folder/" can't be read: it is a folder, not a file. Name a file that the bridge's user may read.`,
      `7:41: hooks.passwordFiles[3]: "large" is larger than 64 KiB. Check that it is the right file.`,
      '8:18: hooks.passwordEnvs[0]: "GONE" names a variable that is not set. Set it to the secret where the bridge is started.',
      '8:24: hooks.passwordEnvs[1]: "EMPTY" names a variable that is empty. Set it to the secret where the bridge is started.',
    ],
    { files: { empty: '\n', 'folder/x': '', large: 'x'.repeat(70_000) }, env: { EMPTY: '' } },
  ],
  [
    'invalid credentials',
    withNats('credentialsFile: nats.creds'),
    [
      `2:20: nats.credentialsFile: "nats.creds" can't be used: the credentials (9 characters) are neither the text of a .creds file nor an NKey user seed (SU…).`,
    ],
    { files: { 'nats.creds': 'no secret' } },
  ],
  [
    'a client certificate without its key, and one with another key',
    withNats('certificateFile: cert.pem'),
    ['2:20: nats.certificateFile: has no private key. Add nats.privateKeyFile or nats.privateKeyEnv.'],
    { files: { 'cert.pem': server.cert } },
  ],
  [
    'a client certificate with the key of another one',
    withNats('certificateFile: cert.pem\n  privateKeyFile: key.pem'),
    [`2:20: nats.certificateFile: can't be used: its private key does not belong to its certificate.`],
    { files: { 'cert.pem': server.cert, 'key.pem': other.key } },
  ],
  [
    'an invalid authority',
    withNats('caFile: ca.pem'),
    [
      '2:11: nats.caFile: "ca.pem" is not a certificate in PEM. Name a file that begins with -----BEGIN CERTIFICATE-----.',
    ],
    { files: { 'ca.pem': 'x' } },
  ],
  [
    'an invalid organization',
    withOrganization('https://dev.azure.com/'),
    [
      '4:17: azureDevOps.organization: "https://dev.azure.com/" is not the URL of an organization. Write it like https://dev.azure.com/contoso/.',
    ],
  ],
  [
    'an unencrypted organization',
    withOrganization('http://dev.azure.com/contoso'),
    [
      '4:17: azureDevOps.organization: "http://dev.azure.com/contoso" is not encrypted. Use https://; only this machine itself may be http://.',
    ],
  ],
  [
    'another machine by its address',
    withOrganization('http://10.0.0.1/contoso'),
    [
      '4:17: azureDevOps.organization: "http://10.0.0.1/contoso" is not encrypted. Use https://; only this machine itself may be http://.',
    ],
  ],
  [
    'a name that only looks like this machine',
    withOrganization('http://localhost.example.com/contoso'),
    [
      '4:17: azureDevOps.organization: "http://localhost.example.com/contoso" is not encrypted. Use https://; only this machine itself may be http://.',
    ],
  ],
  [
    'URLs with secrets, which are not shown',
    `${withOrganization('https://me:geheim@dev.azure.com/contoso')}  proxy: http://me:geheim@proxy:3128\n`,
    [
      '4:17: azureDevOps.organization: holds a user or password. Secrets never stand in the configuration.',
      '6:10: azureDevOps.proxy: holds a user or password. Secrets never stand in the configuration.',
    ],
  ],
  [
    'secrets in invalid addresses, in other values, and instead of the name of a variable',
    withSection(
      'instance: nats://me:geheim@a\nhttp: { publicUrl: "https://me:ge heim@" }\nhooks: { passwordEnvs: [geheim!], me:geheim@b: 1 }\n',
    ),
    [
      '6:11: instance: a text with "@" is not a name of at most 32 letters, digits, `_` and `-`.',
      '7:20: http.publicUrl: holds a user or password. Secrets never stand in the configuration.',
      "8:25: hooks.passwordEnvs[0]: isn't a name of an environment variable. Secrets never stand in the configuration.",
      '8:35: hooks.a text with "@": is not a key that the bridge knows. The nearest one is "stream".',
    ],
  ],
  [
    'a misspelt required key, which is reported once',
    withSection('hooks:\n  passwordFile: [secret]\n'),
    ['7:3: hooks.passwordFile: is not a key that the bridge knows. The nearest one is "passwordFiles".'],
  ],
  [
    'keys with characters that are special in a path',
    withSection('contracts: { "%zz": 1, a/b: 2, "~1": 3 }\n'),
    [
      '6:21: contracts.%zz: is 1, not a text. Put it in quotes.',
      '6:29: contracts.a/b: is 2, not a text. Put it in quotes.',
      '6:38: contracts.~1: is 3, not a text. Put it in quotes.',
    ],
  ],
  ['an unknown tag', withSection('instance: !vault x\n'), ["6:11: isn't YAML: Unresolved tag: !vault."]],
  [
    'a map that never ends',
    '{a: '.repeat(90),
    ["1:361: isn't YAML: Flow map in block collection must be sufficiently indented and end with a }."],
  ],
  ['lists that would exhaust the stack', '['.repeat(200_000), ['1:1: is nested deeper than 100 levels.']],
  ['an empty organization', withOrganization("''"), ['4:17: azureDevOps.organization: is required.']],
  [
    'an unknown kind of identity',
    withIdentity('{ kind: password }'),
    [
      '5:21: azureDevOps.identity.kind: is "password", not one of workloadIdentity, managedIdentity, clientSecret, pat.',
    ],
  ],
  [
    'a client secret with missing keys, and with keys of other kinds',
    withIdentity('\n    kind: clientSecret\n    tenantId: t\n    patFile: pat\n    authorityHost: http://127.0.0.1/'),
    [
      '5:3: azureDevOps.identity.clientSecretFile: is required for kind clientSecret.',
      '5:3: azureDevOps.identity.clientId: is required for kind clientSecret.',
      '8:14: azureDevOps.identity.patFile: does not belong to kind clientSecret. Remove it.',
      '9:20: azureDevOps.identity.authorityHost: "http://127.0.0.1/" is not an https:// URL without a path. Write it like https://login.microsoftonline.com.',
    ],
  ],
  [
    'a workload identity without its environment variables',
    withIdentity('{ kind: workloadIdentity, clientId: c }'),
    [
      '5:3: azureDevOps.identity.tenantId: is required for kind workloadIdentity. Otherwise, the environment variable AZURE_TENANT_ID gives it.',
      '5:3: azureDevOps.identity.tokenFile: is required for kind workloadIdentity. Otherwise, the environment variable AZURE_FEDERATED_TOKEN_FILE gives it.',
    ],
  ],
  [
    'a certificate without its key, and an unencrypted public URL',
    withSection(
      'http:\n  certificateFile: cert.pem\n  publicUrl: http://bridge.example.com/\n  admin: 127.0.0.1:8080\n',
    ),
    [
      '7:20: http.certificateFile: needs privateKeyFile. Add http.privateKeyFile.',
      '8:14: http.publicUrl: "http://bridge.example.com/" is not encrypted. Use https://; only this machine itself may be http://.',
      '9:10: http.admin: is the same as listen. Give each a port of its own.',
    ],
    { files: { 'cert.pem': server.cert } },
  ],
  [
    'hooks without a secret, and events without a name',
    withSection('hooks:\n  events:\n    - project: Shop\n    - event: build complete\n'),
    [
      '6:1: hooks.passwordFiles: is required: nobody could send hooks without a secret.',
      '8:7: hooks.events[0].event: is required.',
      '9:14: hooks.events[1].event: "build complete" is not an event, such as build.complete or git.push.',
    ],
  ],
  [
    'feeds without a name, listed twice, or read too seldom',
    withSection(
      'hooks:\n  feeds:\n    - project: Shop\n    - { project: Shop, feed: a }\n    - { project: shop, feed: A, every: 2d }\n    - { feed: a, evry: 1m }\n',
    ),
    [
      '8:7: hooks.feeds[0].feed: is required.',
      '10:30: hooks.feeds[2].feed: "A" of the same project is listed already. Remove one of the two.',
      '10:40: hooks.feeds[2].every: "2d" is not a duration above 0 and up to 1 days. Write 500ms, 90s, 1h30m or 30d.',
      '11:18: hooks.feeds[3].evry: is not a key that the bridge knows. The nearest one is "every".',
    ],
  ],
  [
    'an invalid signing key',
    withSection('signingKeyFile: key\n'),
    [
      `6:17: signingKeyFile: "key" can't be used. The NKey has characters other than A to Z and 2 to 7. Store the one line that begins with SU, as "nk -gen user" prints it.`,
    ],
    { files: { key: 'geheim' } },
  ],
  [
    'the timing of tests',
    withSection('timing:\n  scale: 2\n  drian: 1s\n  body: never\n'),
    [
      '7:10: timing.scale: is 2, not at most 1.',
      '8:3: timing.drian: is not a pause or limit of the bridge.',
      '9:9: timing.body: "never" is not a duration, such as 500ms, 90s, 1h30m or 30d.',
    ],
  ],
  [
    'a takeover of requests that may still be under way',
    withSection('timing:\n  scale: 0.1\n  azureDevOps: 6s\n  takeover: 6s\n'),
    [
      '9:13: timing.takeover: is 6000 ms, not more than azureDevOps with its 6000 ms. Make it longer: a replica must not take over a request that another one still waits for.',
    ],
  ],
];

describe('All problems of a configuration are reported at once, each with its place:', () => {
  for (const [name, yaml, problems, given] of PROBLEMS)
    test(name, () => assert.deepEqual(problemsOf(yaml, given), problems));
});

test('a file that cannot be read is reported', () => {
  assert.throws(() => readFile('/nowhere/bridge.yml'), {
    problems: ["/nowhere/bridge.yml: can't be read: it doesn't exist."],
  });
  assert.match(problemsOf(`# ${'x'.repeat(1_100_000)}`).join(), /can't be read: it is larger than 1 MiB\.$/);
});

test('the signature changes with the file and the files it names, but not with secrets', () => {
  const files = { 'a.json': '{}', token: 'x' };
  const file = configurationFile(`${withNats('tokenFile: token')}contracts: { a: a.json }\n`, files);
  const { signature, readAs } = readFile(file);
  const write = (name: string, text: string) => writeFileSync(path.join(path.dirname(file), name), text);
  assert.equal(signature(), readAs);
  // A secret's file is looked at each time the secret is used.
  write('token', 'another');
  assert.equal(signature(), readAs);
  write('a.json', '{ }');
  assert.notEqual(signature(), readAs);
});

test('a contract with an unknown format or a misspelt keyword can be used, with a warning', async () => {
  const files = { 'a.json': '{ "requird": ["at"], "properties": { "at": { "format": "datetime" } } }', token: 'x' };
  const { settings } = readFile(configurationFile(`${withNats('tokenFile: token')}contracts: { a: a.json }\n`, files));
  const { contracts, findings } = await readContracts(settings);
  assert.deepEqual([Object.keys(contracts), findings], [['a'], []]);
  const [warning, ...others] = warningsOf(contracts).map(describeFinding);
  assert.match(warning ?? '', /^contracts\.a: .*a\.json" has at \/properties\/at\/format the format "datetime"/);
  assert.match(warning ?? '', /so it isn't checked\. The nearest known one is "date-time"; /);
  assert.equal(others.length, 1);
  assert.match(others[0] ?? '', /at \/requird "requird", which is no keyword.*Did you mean "required"\?/);
});

test('an alias that would expand to gigabytes is refused', () => {
  const bomb = [
    'a0: &a0 [x, x, x, x, x, x, x, x, x]',
    ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i}, `.repeat(9)}]`),
  ];
  assert.match(problemsOf(bomb.join('\n')).join('\n'), /isn't YAML: Excessive alias count/);
});

test('signs in to NATS in each way', () => {
  const authenticationOf = (lines: string, given: Given = {}) =>
    read(withNats(lines), given).settings.nats().authentication;
  assert.deepEqual(authenticationOf('tokenFile: t', { files: { t: 'to ken\r\n' } }), {
    kind: 'token',
    token: 'to ken',
  });
  assert.deepEqual(authenticationOf('tokenEnv: T', { env: { T: 'token' } }), { kind: 'token', token: 'token' });
  assert.deepEqual(authenticationOf('user: me\n  passwordFile: p', { files: { p: 'secret\n\n' } }), {
    kind: 'userPassword',
    username: 'me',
    password: 'secret\n',
  });
  assert.equal(authenticationOf('nkeySeedFile: s', { files: { s: SEED } }).kind, 'nkey');
  assert.equal(authenticationOf('credentialsEnv: C', { env: { C: SEED } }).kind, 'nkey');
  const files = { 'cert.pem': server.cert, 'key.pem': server.key, 'ca.pem': authority.cert };
  const settings = read(withNats('certificateFile: cert.pem\n  privateKeyFile: key.pem\n  caFile: ca.pem'), {
    files,
  }).settings.nats();
  assert.deepEqual([settings.authentication.kind, settings.clientCertificate !== undefined], ['none', true]);
  assert.match(settings.caCertificate ?? '', /BEGIN CERTIFICATE/);
});

test('reads every kind of identity', () => {
  const identityOf = (identity: string, given: Given = {}) =>
    read(withIdentity(identity), given).settings.azureDevOps.identity;
  assert.deepEqual(identityOf('{ kind: managedIdentity, clientId: c }'), { kind: 'managedIdentity', clientId: 'c' });
  const secret = identityOf('{ kind: clientSecret, tenantId: t, clientId: c, clientSecretEnv: S }', {
    env: { S: 'geheim' },
  });
  assert.ok(secret.kind === 'clientSecret');
  assert.deepEqual(
    [secret.tenantId, secret.clientId, secret.clientSecret.value, secret.authorityHost],
    ['t', 'c', 'geheim', 'https://login.microsoftonline.com'],
  );
  const pat = identityOf('{ kind: pat, patFile: pat }', { files: { pat: 'geheim' } });
  assert.ok(pat.kind === 'pat' && pat.pat.value === 'geheim');
  const env = { AZURE_TENANT_ID: 't', AZURE_CLIENT_ID: 'c', AZURE_AUTHORITY_HOST: 'https://login.microsoftonline.us/' };
  const workload = identityOf('{ kind: workloadIdentity, tokenFile: token }', { env, files: { token: 'x' } });
  assert.ok(workload.kind === 'workloadIdentity');
  assert.deepEqual(
    [workload.tenantId, workload.clientId, workload.authorityHost],
    ['t', 'c', 'https://login.microsoftonline.us'],
  );
  assert.match(workload.tokenFile, /^\/.*token$/);
});

test('reads the hooks', () => {
  const { hooks } = read(
    withSection(`hooks:
  passwordFiles: [new, old]
  passwordEnvs: [OLDEST]
  identity: {}
  events:
    - { event: build.complete, project: Shop, inputs: { definitionName: web, buildStatus: 2, tfvc: false } }
    - event: git.push
`),
    { files: { new: 'n', old: 'o' }, env: { OLDEST: 'e' } },
  ).settings;
  assert.ok(hooks !== undefined);
  assert.deepEqual(
    hooks.passwords.map(({ value }) => value),
    ['n', 'o', 'e'],
  );
  const { stream, subjectPrefix, user, sharedSecret, silenceAlarmMs, identity, events } = hooks;
  assert.deepEqual(
    { stream, subjectPrefix, user, sharedSecret, silenceAlarmMs, identity, events },
    {
      ...{ stream: 'AZDO', subjectPrefix: 'azdo', user: 'hooks', sharedSecret: false, silenceAlarmMs: 86_400_000 },
      identity: undefined,
      events: [
        {
          event: 'build.complete',
          project: 'Shop',
          inputs: { definitionName: 'web', buildStatus: '2', tfvc: 'false' },
        },
        { event: 'git.push', project: '*', inputs: {} },
      ],
    },
  );
});

test("reads feeds, which don't need a secret of hooks", () => {
  const feeds = (list: string) => read(withSection(`hooks: { feeds: [${list}] }\n`)).settings.hooks?.feeds;
  assert.deepEqual(feeds('{ project: Shop, feed: packages }, { feed: all, every: 1h30m }'), [
    { project: 'Shop', feed: 'packages', everyMs: 60_000 },
    { project: '', feed: 'all', everyMs: 5_400_000 },
  ]);
});

test('the stream of hooks is named after the instance, unless the configuration names it', () => {
  const hooks = (more: string) =>
    read(withSection(`instance: blue\nhooks:\n  passwordEnvs: [P]\n${more}`), { env: { P: 'x' } }).settings.hooks;
  assert.deepEqual([hooks('')?.stream, hooks('')?.subjectPrefix], ['blue_AZDO', 'blue.azdo']);
  const named = hooks('  stream: HOOKS\n  subjectPrefix: devops.hooks\n');
  assert.deepEqual([named?.stream, named?.subjectPrefix], ['HOOKS', 'devops.hooks']);
});

test('an empty value counts as missing', () => {
  const { settings } = read(
    `${withNats("tokenFile: ''\n  caFile: ''\n  jetStreamDomain: ''")}  proxy: ''\n  caFile: ''\nsigningKeyFile: ''\nhttp: { certificateFile: '', privateKeyFile: '', publicUrl: '' }\n`,
  );
  assert.equal(settings.nats().authentication.kind, 'none');
  assert.deepEqual([settings.azureDevOps.proxy, settings.signingKey, settings.http.tls], ['', undefined, undefined]);
});

test('tests scale pauses and limits', () => {
  const { timing } = read(withSection('timing:\n  scale: 0.01\n  drain: 3s\n')).settings;
  assert.deepEqual([timing.body, timing.drain], [200, 3_000]);
});

test('every secret is masked from the moment it is read, even if the configuration is bad', () => {
  problemsOf(withNats('tokenFile: t\n  oops: 1'), { files: { t: 'masked-configuration-secret\n' } });
  assert.equal(knownSecrets.mask('say masked-configuration-secret'), 'say ***');
});

test('there is a warning if a certificate expires soon', () => {
  const now = () => Date.parse(new X509Certificate(server.cert).validTo) - 86_400_000;
  const { warnings } = read(withSection('http: { certificateFile: c, privateKeyFile: k }\n'), {
    files: { c: server.cert, k: server.key },
    now,
  });
  assert.match(warnings.join('\n'), /bridge\.yml:6:26: http\.certificateFile: expires on \d{4}-.*Z\. Renew it\.$/);
});

test('offline, what only the machine of the bridge has may be missing, each with a warning', () => {
  const yaml = `nats: { servers: [tls://nats-1], caFile: ca.pem, certificateFile: cert.pem, privateKeyEnv: KEY }
azureDevOps: { organization: "https://dev.azure.com/contoso/", identity: { kind: workloadIdentity } }
http: { certificateFile: /no/such/cert.pem, privateKeyFile: /no/such/key.pem }
signingKeyFile: seed
waits:
  organizations: ["https://dev.azure.com/contoso/"]
  tokenFiles: [waits-token]
  sealingKeyFiles: [sealing-key]
  rules: [{ projects: [Shop], pipelines: ['*'], subjects: [ci.>], tokens: [waits-token] }]
`;
  const { warnings } = read(yaml, { isOffline: true });
  assert.deepEqual(
    warnings.map((warning) => /: (\S+: .*)/.exec(warning.replace(/^.*?yml/, ''))?.[1]),
    [
      'nats.caFile: "ca.pem" isn\'t here, so it wasn\'t checked.',
      'nats.certificateFile: "cert.pem" isn\'t here, so it wasn\'t checked.',
      'nats.privateKeyEnv: "KEY" isn\'t set here, so it wasn\'t checked.',
      "azureDevOps.identity.tenantId: AZURE_TENANT_ID isn't set here, so it wasn't checked.",
      "azureDevOps.identity.clientId: AZURE_CLIENT_ID isn't set here, so it wasn't checked.",
      "azureDevOps.identity.tokenFile: AZURE_FEDERATED_TOKEN_FILE isn't set here, so it wasn't checked.",
      'http.certificateFile: "/no/such/cert.pem" isn\'t here, so it wasn\'t checked.',
      'http.privateKeyFile: "/no/such/key.pem" isn\'t here, so it wasn\'t checked.',
      'signingKeyFile: "seed" isn\'t here, so it wasn\'t checked.',
      'waits.tokenFiles[0]: "waits-token" isn\'t here, so it wasn\'t checked.',
      'waits.sealingKeyFiles[0]: "sealing-key" isn\'t here, so it wasn\'t checked.',
    ],
  );
  const [problem, ...others] = problemsOf(yaml, { isOffline: true, files: { seed: 'no seed' } });
  assert.match(problem ?? '', /signingKeyFile: "seed" can't be used/);
  assert.deepEqual(others, [], 'a missing file hides these problems');
  assert.equal(problemsOf(yaml).length, 11);
});

test('a secret that every user of the machine can read is a warning, once', () => {
  const file = configurationFile(
    withSection(
      'signingKeyFile: "the seed"\nhooks: { passwordFiles: [mine, theirs, theirs, ..2026_01_02_03_04_05.6/mounted] }\n',
    ),
    { 'the seed': SEED, mine: 'a', theirs: 'b', '..2026_01_02_03_04_05.6/mounted': 'c' },
  );
  const folder = path.dirname(file);
  chmodSync(path.join(folder, 'the seed'), 0o602);
  chmodSync(path.join(folder, 'mine'), 0o640);
  chmodSync(path.join(folder, 'theirs'), 0o644);
  chmodSync(folder, 0o700);
  assert.deepEqual(readFile(file).warnings, [], 'a file in a private folder was warned of');
  chmodSync(folder, 0o755);
  assert.deepEqual(
    readFile(file).warnings.map((warning) => warning.replaceAll(folder, '')),
    [
      `/bridge.yml:6:17: signingKeyFile: "the seed" can be changed by every user of this machine. Run chmod o= '/the seed'; the bridge's user must own the file or be in its group.`,
      `/bridge.yml:7:32: hooks.passwordFiles[1]: "theirs" can be read by every user of this machine. Run chmod o= /theirs; the bridge's user must own the file or be in its group.`,
    ],
  );
});
