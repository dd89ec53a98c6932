import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import type { ConnectionSettings } from '../../../../shared/connection/settings.ts';
import type { TaskError } from '../../../../shared/errors.ts';
import type { Guardrail } from '../../../../tasks/agent/guardrails.ts';
import { signInRemedy } from '../../../../shared/nats/link/signIn.ts';
import { learnSecrets } from '../../../../tasks/agent/secrets.ts';
import { readConnection } from '../../../../tasks/agent/serviceConnection.ts';
import { StepFields } from '../../../../tasks/agent/stepFields.ts';
import { createAuthority } from '../../../support/nats/certificates.ts';
import { complaint } from '../../../support/complaint.ts';
import { FakeAgent, type FakeAgentOptions } from '../../../support/agent/fakeAgent.ts';
import type { Connection } from '../../../../localAgent/connections.ts';
import { createNKey, createOperatorMode } from '../../../support/nats/natsAccounts.ts';

interface Reading {
  readonly settings: ConnectionSettings;
  readonly agent: FakeAgent;
  /** What the step says about the connection; undefined when nothing is wrong with it. */
  readonly error: TaskError | undefined;
}

function read(
  connection: Partial<Connection>,
  options: FakeAgentOptions & { readonly subjects?: readonly string[]; readonly guardrail?: Guardrail } = {},
): Reading {
  const agent = new FakeAgent({
    ...options,
    inputs: { natsConnection: 'nats-ci', ...options.inputs },
    connections: { 'nats-ci': { url: 'nats://nats.example', scheme: 'None', ...connection } },
  });
  learnSecrets(agent);
  const fields = new StepFields(agent);
  const settings = readConnection(agent, fields, options.guardrail ?? 'publishSubjects', options.subjects ?? []);
  return { settings, agent, error: complaint(fields.problems) };
}

function accepted(...parameters: Parameters<typeof read>): Reading {
  const reading = read(...parameters);
  assert.equal(reading.error, undefined);
  return reading;
}

function refused(...parameters: Parameters<typeof read>): TaskError {
  const { error } = read(...parameters);
  assert.ok(error !== undefined, 'the connection was accepted');
  return error;
}

test('a user name is explained only if the agent masks it in the subject', () => {
  const user = { scheme: 'UsernamePassword', parameters: { username: 'ci', password: 's3cret' } };
  const told = (connection: Partial<Connection>, subject: string) =>
    accepted(connection, { subjects: [subject] }).agent.infos;
  assert.deepEqual(told(user, 'ci.built'), [
    'In this log *** stands for the user name of the service connection, which the agent masks.',
  ]);
  assert.deepEqual(told(user, 'qa.built'), []);
  assert.deepEqual(told({ scheme: 'Token', parameters: { username: 'ci', apitoken: 't0ken-1' } }, 'ci.built'), []);
});

for (const [url, message] of [
  [
    'nats.example:4222',
    "InvalidInput: natsConnection: the connection's URL has no scheme. Write nats://host:4222 or tls://host:4222.",
  ],
  [
    'wss://nats.example',
    "Unsupported: natsConnection: the connection's URL uses WebSocket (wss://), which isn't supported. Use the server's nats:// or tls:// port.",
  ],
  [
    'nats://ann:s3cret@nats.example',
    "InvalidInput: natsConnection: the connection's URL holds a user or password. Put them into the fields of the authentication scheme instead.",
  ],
  [
    'nats://one,two',
    "InvalidInput: natsConnection: the connection's URL names more than one server. Put the others into its field servers.",
  ],
] as const) {
  test(`the problem with the URL ${url} is reported in the form's words`, () => {
    assert.equal(refused({ url }).message, message);
  });
}

test("more servers are separated by commas or line breaks, and inherit the URL's scheme", () => {
  const { settings } = accepted({
    url: 'tls://one.example',
    data: { servers: 'two.example, tls://three.example:4333\n\n[2001:db8::4]:4222,192.0.2.5' },
  });
  assert.deepEqual(settings.servers, [
    { host: 'one.example', port: 4222, tls: true },
    { host: 'two.example', port: 4222, tls: true },
    { host: 'three.example', port: 4333, tls: true },
    { host: '2001:db8::4', port: 4222, tls: true },
    { host: '192.0.2.5', port: 4222, tls: true },
  ]);
});

test('schemes with the same meaning may be mixed, others may not', () => {
  accepted({ url: 'https://one.example', data: { servers: 'tls://two.example,nats+tls://three.example' } });
  accepted({ url: 'nats://one.example', data: { servers: 'http://two.example' } });
  for (const [url, servers] of [
    ['nats://one.example', 'tls://two.example'],
    ['tls://one.example', 'two.example, nats://three.example'],
  ] as const)
    assert.match(refused({ url, data: { servers } }).problem, /its servers mix tls:\/\/ and nats:\/\//);
});

test('every bad server of the list is reported, without its password', () => {
  const error = refused({ data: { servers: 'ann:s3cret@two.example, three.example:0' } });
  assert.match(
    error.message,
    /\(1\) natsConnection: an address in the connection's field servers holds a user or password/,
  );
  assert.match(error.message, /\(2\) natsConnection: an address in the connection's field servers has port 0/);
  assert.doesNotMatch(error.message, /s3cret/);
});

test('a connection that the step may not use is reported as that', () => {
  const agent = new FakeAgent({ inputs: { natsConnection: 'other' } });
  const fields = new StepFields(agent);
  readConnection(agent, fields, 'publishSubjects', []);
  assert.throws(() => fields.problems.done(), /^TaskError: InvalidInput: natsConnection: this step has no access/);
});

test('each scheme reads its own fields and masks their secrets', () => {
  const { seed, publicKey } = createNKey();
  const none = accepted({ scheme: 'None' });
  assert.deepEqual(none.settings.authentication, { kind: 'none' });
  const token = accepted({ scheme: 'Token', parameters: { apitoken: 't0ken-t0ken' } });
  assert.deepEqual(token.settings.authentication, { kind: 'token', token: 't0ken-t0ken' });
  assert.ok(token.agent.masked.has('t0ken-t0ken'));
  const user = accepted({ scheme: 'UsernamePassword', parameters: { username: 'ann', password: ' s3cret ' } });
  assert.deepEqual(user.settings.authentication, { kind: 'userPassword', username: 'ann', password: ' s3cret ' });
  assert.ok(user.agent.masked.has(' s3cret ') && user.agent.masked.has('s3cret'));
  assert.ok(!user.agent.masked.has('ann'));
  const nkey = accepted({ scheme: 'None', parameters: { credentials: seed } });
  assert.equal(nkey.settings.authentication.kind === 'nkey' && nkey.settings.authentication.key.publicKey, publicKey);
  assert.ok(nkey.agent.masked.has(seed));
});

test('missing fields of the scheme are named', () => {
  assert.match(refused({ scheme: 'Token' }).problem, /the connection's field apitoken is empty/);
  const user = refused({ scheme: 'UsernamePassword' });
  assert.match(user.message, /field username is empty.*field password is empty/);
  const certificate = refused({ scheme: 'Certificate' });
  assert.match(certificate.message, /field certificate is empty.*field privateKey is empty/);
  assert.match(refused({ scheme: 'ManagedIdentity' }).problem, /scheme "ManagedIdentity" is unknown/);
});

test('secrets are masked even if the connection is refused', () => {
  const { agent, error } = read({ url: 'ftp://x', scheme: 'Token', parameters: { apitoken: 't0ken-t0ken' } });
  assert.ok(error !== undefined);
  assert.ok(agent.masked.has('t0ken-t0ken'));
});

const operator = await createOperatorMode();

test('expired credentials are reported with the date, before the step connects', async () => {
  const expires = new Date('2026-02-03T04:05:06Z');
  const parameters = { credentials: await operator.creds({ expires }) };
  const error = refused({ parameters }, { now: expires.getTime() });
  assert.equal(error.code, 'Denied');
  assert.match(
    error.message,
    /^\w+: natsConnection: its credentials expired on 2026-02-03T04:05:06\.000Z\. Ask the NATS/,
  );
  accepted({ parameters }, { now: expires.getTime() - 1 });
});

test('credentials with any line endings are read; invalid ones are refused without showing them', async () => {
  const creds = await operator.creds();
  for (const credentials of [creds, `\ufeff${creds.replaceAll('\n', '\r\n')}`, creds.replaceAll('\n', ' ')])
    assert.equal(accepted({ parameters: { credentials } }).settings.authentication.kind, 'jwt');
  const error = refused({ parameters: { credentials: 'hunter2-hunter2' } });
  assert.match(error.message, /^\w+: natsConnection: its credentials \(15 characters\) are neither/);
  assert.doesNotMatch(error.message, /hunter2/);
});

for (const [scheme, parameters, kind] of [
  ['None', {}, 'nkey'],
  ['None', { credentials: 'of-no-use' }, 'nkey'],
  ['Token', { apitoken: 'of-no-use' }, 'token'],
  ['Token', {}, 'token'],
  ['UsernamePassword', { username: 'ann' }, 'userPassword'],
] as const) {
  test(`credentialsVariable replaces the secret of ${scheme} ${JSON.stringify(parameters)}`, () => {
    const { seed } = createNKey();
    const { settings, agent } = accepted(
      { scheme, parameters },
      { inputs: { credentialsVariable: 'nats.secret' }, secrets: { 'Nats.Secret': seed } },
    );
    const { authentication } = settings;
    assert.equal(authentication.kind, kind);
    if (authentication.kind === 'token') assert.equal(authentication.token, seed);
    if (authentication.kind === 'userPassword') assert.equal(authentication.password, seed);
    assert.ok(agent.masked.has(seed));
  });
}

for (const [form, store] of [
  ['with line breaks written out', (creds: string) => creds.replaceAll('\n', '\\n')],
  ['with line breaks removed', (creds: string) => creds.replaceAll('\n', '')],
  ['as base64', (creds: string) => Buffer.from(creds).toString('base64')],
] as const) {
  test(`the JWT and the seed of credentials stored ${form} are masked`, async () => {
    const creds = await operator.creds();
    const [jwt = '', seed = ''] = creds.split('\n').filter((line) => /^(eyJ|SU)/.test(line));
    for (const { agent } of [
      accepted({ parameters: { credentials: store(creds) } }),
      accepted({}, { inputs: { credentialsVariable: 'creds' }, secrets: { creds: store(creds) } }),
    ])
      for (const secret of [jwt, seed]) assert.ok(agent.masked.has(secret));
  });
}

test("a trailing line break from Key Vault isn't part of a token or password", () => {
  for (const value of ['s3cret-value\n', 's3cret-value\r\n']) {
    const given = { inputs: { credentialsVariable: 'v' }, secrets: { v: value } };
    const token = accepted({ scheme: 'Token' }, given).settings.authentication;
    assert.equal(token.kind === 'token' && token.token, 's3cret-value');
    const parameters = { username: 'ann', password: value };
    const user = accepted({ scheme: 'UsernamePassword', parameters }).settings.authentication;
    assert.equal(user.kind === 'userPassword' && user.password, 's3cret-value');
  }
});

test('the advice after a refused sign-in names where the secret came from', () => {
  const { seed } = createNKey();
  const { secretPlace } = accepted({}, { inputs: { credentialsVariable: 'v' }, secrets: { v: seed } }).settings;
  for (const kind of ['token', 'userPassword', 'nkey', 'jwt'] as const)
    assert.match(signInRemedy(kind, secretPlace), /of the variable that credentialsVariable names/);
  assert.equal(accepted({ parameters: { credentials: seed } }).settings.secretPlace, undefined);
  assert.match(signInRemedy('token'), /of the service connection\.$/);
});

test('credentialsVariable must name a secret variable of the run', () => {
  const absent = refused({}, { inputs: { credentialsVariable: 'natsSecret' } });
  assert.match(absent.message, /there is no variable "natsSecret" in this run\. Link the variable group/);
  const { error, agent } = read({}, { inputs: { credentialsVariable: 'pub' }, variables: { pub: createNKey().seed } });
  assert.match(error!.problem, /the variable "pub" is not a secret one/);
  assert.ok(agent.masked.size > 0);
});

const authority = await createAuthority();
const { cert, key } = await authority.client('ci');
const other = await authority.client('other');
const expired = await authority.client('late', { expired: true });
const base64 = (text: string) => Buffer.from(text).toString('base64');

for (const [form, certificate, privateKey] of [
  ['PEM', cert, key],
  ['PEM with CRLF', cert.replaceAll('\n', '\r\n'), key.replaceAll('\n', '\r\n')],
  ['PEM flattened by a form field', cert.replaceAll('\n', ' '), key.replaceAll('\n', ' ')],
  ['PEM with a byte order mark', `\ufeff${cert}`, `\ufeff${key}`],
  ['base64 of PEM', base64(cert), base64(key)],
  ['base64 of PEM in lines', base64(cert).replace(/.{76}/g, '$&\r\n'), base64(key).replace(/.{76}/g, '$&\n')],
  ['PEM with notes around it', `subject=CN = ci\n${cert}\nend`, `Bag Attributes\n${key}`],
  ['a chain', `${cert}${authority.cert}`, key],
  ['a chain with the authority first', `${authority.cert}${cert}`, key],
  ['PEM with its line breaks written out', cert.replaceAll('\n', '\\n'), key.replaceAll('\n', '\\r\\n')],
  ['PEM with its line breaks removed', cert.replaceAll('\n', ''), key.replaceAll('\n', '')],
] as const) {
  test(`a client certificate is read from ${form}, and each line of its key is masked`, () => {
    const { settings, agent } = accepted({ scheme: 'Certificate', parameters: { certificate, privateKey } });
    assert.ok(settings.clientCertificate!.certificate.startsWith(cert));
    assert.equal(settings.clientCertificate!.privateKey, key);
    for (const line of key.split('\n').filter((text) => text !== '' && !text.includes('--')))
      assert.ok(agent.masked.has(line));
    assert.deepEqual(agent.warnings, []);
  });
}

test('a private key in an older form is read, too', () => {
  const sec1 = createPrivateKey(key).export({ type: 'sec1', format: 'pem' }).toString();
  accepted({ scheme: 'Certificate', parameters: { certificate: cert, privateKey: sec1.replaceAll('\n', ' ') } });
});

test('a client certificate may come with credentials', () => {
  const { seed } = createNKey();
  const parameters = { certificate: cert, privateKey: key, credentials: seed };
  const { settings } = accepted({ scheme: 'Certificate', parameters });
  assert.equal(settings.authentication.kind, 'nkey');
  assert.ok(settings.clientCertificate !== undefined);
});

test("a client certificate in another scheme's fields isn't used", () => {
  assert.equal(
    accepted({ scheme: 'None', parameters: { certificate: cert, privateKey: key } }).settings.clientCertificate,
    undefined,
  );
});

const encrypted = createPrivateKey(key)
  .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
  .toString();

const PKCS1 = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
}).privateKey;

for (const [what, certificate, privateKey, problem] of [
  ['a key that does not fit', cert, other.key, /its private key does not belong to its certificate/],
  ['the two in each other’s place', key, cert, /cannot be read/],
  ['an encrypted key', cert, encrypted, /field privateKey is an encrypted private key\. Store .*openssl pkey/],
  ['an encrypted key as base64', cert, base64(encrypted), /field privateKey is an encrypted private key/],
  ['an encrypted PKCS#1 key', cert, PKCS1, /field privateKey is an encrypted private key\. Store/],
  ['an encrypted PKCS#1 key in one line', cert, PKCS1.replaceAll('\n', ' '), /is an encrypted private key\. Store/],
  ['a file path for the key', cert, '/home/ci/key.pem', /field privateKey is neither PEM nor base64 of PEM/],
  ['DER for the certificate', Buffer.from(cert).toString('hex'), key, /field certificate is neither PEM nor base64/],
  ['a cut certificate', cert.replace(/\n.{64}\n/, '\n'), key, /cannot be read/],
] as const) {
  test(`${what} is refused without showing it`, () => {
    const error = refused({ scheme: 'Certificate', parameters: { certificate, privateKey } });
    assert.equal(error.code, 'InvalidInput');
    assert.match(error.message, problem);
    for (const line of privateKey.split('\n').filter((text) => text !== '')) assert.ok(!error.message.includes(line));
  });
}

test('an expired client certificate is refused before the step connects', () => {
  const error = refused({
    scheme: 'Certificate',
    parameters: { certificate: expired.cert, privateKey: expired.key },
  });
  assert.equal(error.code, 'TlsFailure');
  assert.match(error.message, /its client certificate expired on \d{4}-.*Z\. Renew it\./);
});

test('a client certificate that expires within 14 days is a warning', () => {
  // Made to last 30 days from now.
  const parameters = { certificate: cert, privateKey: key };
  const DAY_MS = 24 * 3_600_000;
  const early = accepted({ scheme: 'Certificate', parameters }, { now: Date.now() + 15.9 * DAY_MS });
  assert.deepEqual(early.agent.warnings, []);
  const late = accepted({ scheme: 'Certificate', parameters }, { now: Date.now() + 16.1 * DAY_MS });
  assert.equal(late.agent.warnings.length, 1);
  assert.match(late.agent.warnings[0]!, /^The client certificate of the service connection expires on \d{4}-.*Z\.$/);
});

test('a certificate authority is read from PEM in any form, also several at once', async () => {
  const second = await createAuthority();
  const both = `${authority.cert}${second.cert}`;
  for (const caCertificate of [both, both.replaceAll('\n', ' '), both.replaceAll('\n', '\r\n'), base64(both)])
    assert.equal(accepted({ data: { caCertificate } }).settings.caCertificate, both);
  for (const caCertificate of ['not pem', key, cert.replace(/\n.{64}\n/, '\n')])
    assert.match(refused({ data: { caCertificate } }).problem, /caCertificate is (not a certificate in|neither) PEM/);
});

test("the connection's flags are true or false in any case, and nothing else", () => {
  assert.equal(accepted({ data: { tlsFirst: 'True' } }).settings.tlsFirst, true);
  assert.equal(accepted({ data: { tlsFirst: 'FALSE' } }).settings.tlsFirst, false);
  assert.equal(accepted({}).settings.tlsFirst, false);
  assert.match(refused({ data: { tlsFirst: 'yes' } }).message, /field tlsFirst is "yes", not true or false/);
});

test('inbox prefix and JetStream domain are literal subjects', () => {
  const { settings } = accepted({ data: { inboxPrefix: '_INBOX.ci', jetStreamDomain: ' hub ' } });
  assert.equal(settings.inboxPrefix, '_INBOX.ci');
  assert.equal(settings.jetStreamDomain, 'hub');
  assert.match(refused({ data: { inboxPrefix: 'ci.>' } }).message, /field inboxPrefix contains a wildcard/);
  assert.match(refused({ data: { jetStreamDomain: 'a b' } }).message, /field jetStreamDomain contains white space/);
});

test('each task obeys only its own guardrail', () => {
  const data = { publishSubjects: 'a.>', waitSubjects: 'b.>' };
  accepted({ data }, { guardrail: 'publishSubjects', subjects: ['a.x'] });
  accepted({ data }, { guardrail: 'waitSubjects', subjects: ['b.x'] });
  assert.equal(refused({ data }, { guardrail: 'publishSubjects', subjects: ['b.x'] }).code, 'Denied');
});
