import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Agent, ServiceConnection } from '../../tasks/agent/agent.ts';
import { readJobToken } from '../../tasks/agent/http.ts';
import { parseCredentials, type Credentials } from './credentials.ts';
import { reasonOf } from '../errors.ts';
import { type Fields } from '../inputs/fields.ts';
import { knownSecrets } from '../text/masker.ts';
import { OidcToken, readIdTokenRequest } from '../../tasks/agent/oidc.ts';
import { quoted } from '../text/safeText.ts';
import { maskSecret } from '../../tasks/agent/secrets.ts';
import { covers, subjectProblem } from '../subject.ts';

const DEFAULT_PORT = 4222;
const CERTIFICATE_WARNING_DAYS = 14;
const DAY_MS = 24 * 3_600_000;

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** True for `tls://`: never without verified TLS. False for `nats://`: verified TLS when the server offers it. */
  readonly tls: boolean;
  /** The name its certificate must hold where that is not `host`: a cluster announces its members by address. */
  readonly tlsName?: string;
}

/** How the step signs in. */
export type Authentication =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'userPassword'; readonly username: string; readonly password: string }
  /** The pipeline's own ID token: asked for at each sign-in, since it lives minutes. */
  | { readonly kind: 'oidc'; readonly idToken: OidcToken }
  | Credentials;

/** A service connection, read and checked. It holds secrets: nothing prints it. */
export interface ConnectionSettings {
  readonly servers: readonly ServerAddress[];
  readonly authentication: Authentication;
  /** PEM texts for mutual TLS. */
  readonly clientCertificate: { readonly certificate: string; readonly privateKey: string } | undefined;
  /** PEM text of the authority that signed the servers' certificates; undefined: the ones Node trusts. */
  readonly caCertificate: string | undefined;
  /** TLS before the server's INFO, for servers with `handshake_first`. */
  readonly tlsFirst: boolean;
  readonly inboxPrefix: string | undefined;
  readonly jetStreamDomain: string | undefined;
}

/** Which of the connection's guardrails a step is held to. */
export type Guardrail = 'publishSubjects' | 'waitSubjects';

/**
 * Learns what nobody may be shown, before anything is checked or said: the run's secret variables, the token of the job,
 * and the secrets of the service connection, which are masked as well.
 */
export function learnSecrets(agent: Agent): void {
  for (const { name, value } of agent.secretVariables()) knownSecrets.add(value, `the secret variable ${quoted(name)}`);
  const jobToken = readJobToken(agent);
  if (jobToken !== undefined) knownSecrets.add(jobToken, 'the token of the job');
  const id = agent.input('natsConnection');
  const connection = id === undefined ? undefined : agent.serviceConnection(id);
  for (const name of ['credentials', 'apitoken', 'password', 'privateKey', 'certificate']) {
    const secret = connection?.parameter(name);
    if (secret !== undefined) maskSecret(agent, secret, `the ${name} of the service connection`);
  }
}

/**
 * Reads the service connection the input `natsConnection` names. {@link learnSecrets} comes before it.
 * Problems are noted in `fields`; subjects outside the guardrail are noted as `Denied`.
 */
export function readConnection(
  agent: Agent,
  fields: Fields,
  guardrail: Guardrail,
  subjects: readonly string[],
): ConnectionSettings {
  const id = fields.required('natsConnection');
  const connection = id === '' ? undefined : agent.serviceConnection(id);
  const replacement = replacementSecret(agent, fields);
  if (connection === undefined) {
    if (id !== '') {
      fields.problem(
        'natsConnection: this step has no access to that service connection. Check its name, and that the pipeline is permitted to use it',
      );
    }
    return { ...NO_CONNECTION };
  }
  checkGuardrail(connection, fields, guardrail, subjects);
  const servers = readServers(connection, fields);
  explainMaskedName(agent, connection, subjects);
  return {
    servers,
    authentication: readFlag(connection, fields, 'oidc')
      ? readOidc(agent, id, connection, fields, servers)
      : readAuthentication(agent, connection, fields, replacement),
    clientCertificate:
      connection.scheme === 'Certificate' ? readClientCertificate(agent, connection, fields) : undefined,
    caCertificate: readCaCertificate(connection, fields),
    tlsFirst: readFlag(connection, fields, 'tlsFirst'),
    inboxPrefix: readSubjectPart(connection, fields, 'inboxPrefix'),
    jetStreamDomain: readSubjectPart(connection, fields, 'jetStreamDomain'),
  };
}

/** The agent masks the user name too, so that a subject it is part of, or permissions to paste, cannot be read. */
function explainMaskedName(agent: Agent, connection: ServiceConnection, subjects: readonly string[]): void {
  const username = connection.scheme === 'UsernamePassword' ? connection.parameter('username') : undefined;
  if (username !== undefined && subjects.some((subject) => subject.includes(username)))
    agent.info('In this log *** stands for the user name of the service connection, which the agent masks.');
}

const NO_CONNECTION: ConnectionSettings = {
  servers: [],
  authentication: { kind: 'none' },
  clientCertificate: undefined,
  caCertificate: undefined,
  tlsFirst: false,
  inboxPrefix: undefined,
  jetStreamDomain: undefined,
};

/** The secret of `credentialsVariable`, masked; undefined when the input is not given. */
function replacementSecret(agent: Agent, fields: Fields): string | undefined {
  const name = fields.secretVariableName('credentialsVariable');
  if (name === undefined) return undefined;
  const secret = agent.variable(name);
  if (secret === undefined) {
    fields.problem(
      `credentialsVariable: there is no variable ${quoted(name)} in this run. Link the variable group that holds it, or run the AzureKeyVault task before this step`,
    );
    return undefined;
  }
  maskSecret(agent, secret);
  if (!agent.isSecretVariable(name)) {
    fields.problem(
      `credentialsVariable: the variable ${quoted(name)} is not a secret one. Mark it as secret, or read it from Key Vault`,
    );
  }
  return secret;
}

function readServers(connection: ServiceConnection, fields: Fields): ServerAddress[] {
  const first = parseServer(connection.url.trim(), undefined, 'the URL', fields);
  const others = (connection.data('servers') ?? '').split(/[\s,]+/).filter(Boolean);
  const servers = [first, ...others.map((text) => parseServer(text, first?.tls, 'servers', fields))].filter(
    (server) => server !== undefined,
  );
  if (new Set(servers.map((server) => server.tls)).size > 1) {
    fields.problem('natsConnection: its servers mix tls:// and nats://. Give all of them the same scheme');
  }
  return servers;
}

/** @param tls what a server without a scheme inherits; undefined where a scheme is required */
function parseServer(text: string, tls: boolean | undefined, where: string, fields: Fields): ServerAddress | undefined {
  const problem = (what: string): undefined => {
    fields.problem(`natsConnection: in ${where} of the connection, ${what}`);
    return undefined;
  };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined && tls === undefined) {
    problem('a scheme is missing. Write nats://host:4222 or tls://host:4222');
    return;
  }
  if (scheme === 'ws' || scheme === 'wss') {
    fields.problem(
      `natsConnection: WebSocket (${scheme}://) is not supported. Use the server's nats:// or tls:// port`,
      '',
      'Unsupported',
    );
    return undefined;
  }
  const usesTls = scheme === undefined ? tls : TLS_OF_SCHEME.get(scheme);
  if (usesTls === undefined) {
    problem(`the scheme ${quoted(scheme ?? '')} is unknown. Use nats:// or tls://`);
    return;
  }
  // Only a special scheme such as http makes URL check the host; its default port 80 must not swallow a given ":80".
  const authority = text.slice(scheme === undefined ? 0 : scheme.length + 3);
  if (authority.includes('@')) {
    problem('there is a user or password. Put them into the fields of the authentication scheme instead');
    return;
  }
  if (authority.includes(',')) {
    problem('there is more than one server. Put the others into its field servers');
    return;
  }
  // URL drops white space and control characters where a host could not have them.
  if (/[\s\p{Cc}]/u.test(authority) || !URL.canParse(`http://${authority}`)) {
    problem('there is no valid host and port');
    return;
  }
  const { hostname, pathname, search, hash } = new URL(`http://${authority}`);
  const port = /:(\d+)\/?$/.exec(authority)?.[1];
  if ((pathname !== '/' && pathname !== '') || search !== '' || hash !== '') {
    problem('there is a path. Only a host and a port are needed');
    return;
  }
  if (port === '0') {
    problem('the port is 0');
    return;
  }
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === undefined ? DEFAULT_PORT : Number(port),
    tls: usesTls,
  };
}

const TLS_OF_SCHEME = new Map([
  ['nats', false],
  ['http', false],
  ['tls', true],
  ['nats+tls', true],
  ['https', true],
]);

function readAuthentication(
  agent: Agent,
  connection: ServiceConnection,
  fields: Fields,
  replacement: string | undefined,
): Authentication {
  const secret = (name: string): string => {
    const value = replacement ?? connection.parameter(name);
    if (value === undefined) fields.problem(`natsConnection: the connection's field ${name} is empty`);
    return value ?? '';
  };
  switch (connection.scheme) {
    case 'Token':
      return { kind: 'token', token: secret('apitoken') };
    case 'UsernamePassword': {
      const username = connection.parameter('username');
      if (username === undefined) fields.problem("natsConnection: the connection's field username is empty");
      return { kind: 'userPassword', username: username ?? '', password: secret('password') };
    }
    case 'None':
    case 'Certificate':
      return readCredentials(
        agent,
        replacement ?? connection.parameter('credentials'),
        replacement === undefined ? 'natsConnection: its credentials' : 'credentialsVariable: its value',
        fields,
      );
    default:
      fields.problem(
        `natsConnection: the authentication scheme ${quoted(connection.scheme)} is unknown. Use a connection of type NATS`,
      );
      return { kind: 'none' };
  }
}

/** An ID token is the run's own identity: nothing else signs in beside it, and it never travels in clear text. */
function readOidc(
  agent: Agent,
  connectionId: string,
  connection: ServiceConnection,
  fields: Fields,
  servers: readonly ServerAddress[],
): Authentication {
  const problems = [
    servers.every((server) => server.tls) ? '' : 'every server to be tls://',
    connection.scheme === 'None' ? '' : `the authentication scheme None instead of ${quoted(connection.scheme)}`,
    connection.parameter('credentials') === undefined ? '' : 'its field credentials to be empty',
    fields.text('credentialsVariable') === undefined ? '' : 'the input credentialsVariable to be empty',
  ].filter(Boolean);
  if (problems.length > 0) {
    fields.problem(
      `natsConnection: with oidc the step signs in with the ID token of the run, which needs ${problems.join(', and ')}. Correct that, or clear "oidc" in the connection`,
    );
  }
  const request = readIdTokenRequest(agent, fields, connectionId);
  return request === undefined ? { kind: 'none' } : { kind: 'oidc', idToken: new OidcToken(request, agent) };
}

function readCredentials(agent: Agent, text: string | undefined, subject: string, fields: Fields): Authentication {
  if (text === undefined) return { kind: 'none' };
  const credentials = parseCredentials(text);
  if ('problem' in credentials) {
    fields.problem(`${subject} ${credentials.problem}`, credentials.remedy);
    return { kind: 'none' };
  }
  if (credentials.kind === 'jwt' && credentials.expiresAt !== undefined && credentials.expiresAt <= agent.now()) {
    fields.problem(
      `${subject} expired on ${new Date(credentials.expiresAt).toISOString()}. Ask the NATS operator for new ones`,
      '',
      'Denied',
    );
  }
  return credentials;
}

function readClientCertificate(
  agent: Agent,
  connection: ServiceConnection,
  fields: Fields,
): ConnectionSettings['clientCertificate'] {
  const certificate = readPem(connection.parameter('certificate'), 'certificate', fields);
  const privateKey = readPem(connection.parameter('privateKey'), 'privateKey', fields);
  if (certificate === undefined || privateKey === undefined) return undefined;
  maskSecret(agent, privateKey);
  try {
    const parsed = new X509Certificate(certificate);
    if (!parsed.checkPrivateKey(createPrivateKey(privateKey))) {
      fields.problem('natsConnection: its private key does not belong to its certificate');
    }
    const expiresAt = Date.parse(parsed.validTo);
    if (expiresAt <= agent.now()) {
      fields.problem(
        `natsConnection: its client certificate expired on ${new Date(expiresAt).toISOString()}. Renew it`,
        '',
        'TlsFailure',
      );
    } else if (expiresAt - agent.now() < CERTIFICATE_WARNING_DAYS * DAY_MS) {
      agent.warning(
        `The client certificate of the service connection expires on ${new Date(expiresAt).toISOString()}.`,
      );
    }
  } catch (error) {
    // The text of an OpenSSL error names the kind of failure and never the key.
    fields.problem(
      `natsConnection: its client certificate or private key cannot be read (${reasonOf(error)}). Both are PEM texts; the key must not be encrypted`,
    );
    return undefined;
  }
  return { certificate, privateKey };
}

function readCaCertificate(connection: ServiceConnection, fields: Fields): string | undefined {
  const text = connection.data('caCertificate');
  if (text === undefined) return undefined;
  const pem = readPem(text, 'caCertificate', fields);
  if (pem === undefined) return undefined;
  try {
    for (const block of pem.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [''])
      new X509Certificate(block);
    return pem;
  } catch {
    fields.problem('natsConnection: its caCertificate is not a certificate in PEM');
    return undefined;
  }
}

/** PEM text with its line breaks: given as PEM, as PEM whose line breaks a form turned into spaces, or as base64 of PEM. */
function readPem(text: string | undefined, name: string, fields: Fields): string | undefined {
  if (text === undefined) {
    fields.problem(`natsConnection: the connection's field ${name} is empty`);
    return undefined;
  }
  const pem = text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64').toString('latin1');
  const blocks = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g)];
  if (blocks.length === 0) {
    fields.problem(`natsConnection: the connection's field ${name} is neither PEM nor base64 of PEM`);
    return undefined;
  }
  return blocks
    .map(([, label, body]) =>
      [
        `-----BEGIN ${label ?? ''}-----`,
        ...((body ?? '').replace(/\s/g, '').match(/.{1,64}/g) ?? []),
        `-----END ${label ?? ''}-----`,
        '',
      ].join('\n'),
    )
    .join('');
}

function readFlag(connection: ServiceConnection, fields: Fields, name: string): boolean {
  const text = connection.data(name)?.toLowerCase() ?? 'false';
  if (text !== 'true' && text !== 'false')
    fields.problem(`natsConnection: the connection's field ${name} is ${quoted(text)}, not true or false`);
  return text === 'true';
}

/** A literal subject or part of one. */
function readSubjectPart(connection: ServiceConnection, fields: Fields, name: string): string | undefined {
  const text = connection.data(name)?.trim();
  if (text === undefined) return undefined;
  // The default inbox prefix is reserved to others, so it passes here.
  const problem = text.startsWith('_INBOX')
    ? subjectProblem(text.slice(1), 'subject')
    : subjectProblem(text, 'subject');
  if (problem !== undefined) fields.problem(`natsConnection: the connection's field ${name} ${problem}`);
  return text;
}

function checkGuardrail(
  connection: ServiceConnection,
  fields: Fields,
  guardrail: Guardrail,
  subjects: readonly string[],
): void {
  const allowed = (connection.data(guardrail) ?? '').split(/[\s,]+/).filter(Boolean);
  if (allowed.length === 0) return;
  for (const subject of subjects) {
    if (!allowed.some((pattern) => covers(pattern, subject))) {
      fields.problem(
        `subject: ${quoted(subject)} is outside what the service connection allows (${guardrail}: ${allowed.join(', ')}). Use a subject inside, or ask the administrator of the connection`,
        '',
        'Denied',
      );
    }
  }
}
