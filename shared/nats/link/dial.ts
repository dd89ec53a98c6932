import { sign } from 'node:crypto';
import { createConnection, isIP } from 'node:net';
import tls, { type PeerCertificate } from 'node:tls';
import type { Authenticator, ConnectionOptions, NatsConnection, ServerInfo, TlsOptions } from 'nats';
import type { Authentication, ConnectionSettings, ServerAddress } from '../../connection/settings.ts';
import { reasonOf, type ErrorCode } from '../../errors.ts';
import type { SigningKey } from '../../nkey.ts';
import { CLEAR_TEXT_BEFORE_TLS, connect, infoIn, MAX_LINE_BYTES, type OwnOptions } from './libraryLimits.ts';

/** What the library hands on without declaring it. */
interface UndeclaredOptions extends OwnOptions {
  readonly pendingLimit: number;
}

/** One attempt: TCP, INFO, TLS and sign-in together. */
const DIAL_TIMEOUT_MS = 10_000;
const INFO_TIMEOUT_MS = 2_000;
/** With two unanswered pings a half-dead link is noticed within 30 s; the library's default takes minutes. */
const PING_INTERVAL_MS = 10_000;
/** How much the library writes to the socket at once (an option it does not declare); its 32 KiB cost a batch a tenth. */
const WRITE_BYTES = 128 * 1_024;

/** The longest token whose CONNECT line surely fits the 4,096 bytes that a server takes by default (`max_control_line`). */
export const MAX_TOKEN_LENGTH = 3_900;

/** What one dial signs in with: the library asks for it synchronously, so an ID token is at hand before. */
export type SignIn =
  Exclude<Authentication, { readonly kind: 'oidc' }> | { readonly kind: 'idToken'; readonly token: string };

export interface DialSettings extends Omit<ConnectionSettings, 'authentication'> {
  readonly authentication: SignIn;
}

export interface DialFailure {
  readonly code: ErrorCode;
  /** What happened, on which server, without a full stop. */
  readonly reason: string;
  readonly remedy: string;
  /** Whether trying again may help: the server was not there, which says nothing of the settings. */
  readonly transient: boolean;
}

/**
 * Opens a connection to one server. The library would take several at once, but it then reports only the last one's
 * error, checks a certificate of an IP address against `localhost`, and ignores the scheme.
 *
 * `nats://` goes on with verified TLS where the server offers it, else plain.
 *
 * @param onSignIn called when the line that signs in has gone out, whatever becomes of the dial, with whether that was over TLS
 */
export async function dial(
  settings: DialSettings,
  address: ServerAddress,
  timeoutMs: number,
  onSignIn: OwnOptions['onSignIn'],
): Promise<NatsConnection | DialFailure> {
  // What is left to ask a silent server what it is.
  const infoMs = Math.min(timeoutMs / 4, INFO_TIMEOUT_MS);
  const options: ConnectionOptions & UndeclaredOptions = {
    servers: `${address.host.includes(':') ? `[${address.host}]` : address.host}:${String(address.port)}`,
    name: 'nats-event-tasks',
    timeout: Math.min(timeoutMs - infoMs, DIAL_TIMEOUT_MS),
    // Lost links are dialled again by NatsBus, with fresh credentials and every server's own error.
    reconnect: false,
    ignoreClusterUpdates: true,
    // The library would ask c-ares, which knows neither the hosts file nor the name service switch.
    resolve: false,
    noAsyncTraces: true,
    pendingLimit: WRITE_BYTES,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: 2,
    tls: tlsOptions(settings, address),
    plainWithoutOffer: !address.tls && !settings.tlsFirst,
    onSignIn,
    ...(settings.inboxPrefix === undefined ? {} : { inboxPrefix: settings.inboxPrefix }),
    ...authenticationOptions(settings),
  };
  try {
    return await connect(options);
  } catch (error) {
    return explain(error, settings, address, infoMs);
  }
}

function tlsOptions(settings: DialSettings, address: ServerAddress): TlsOptions {
  const name = address.tlsName ?? address.host;
  return {
    ...(settings.caCertificate === undefined ? {} : { ca: settings.caCertificate }),
    ...(settings.clientCertificate === undefined
      ? {}
      : { cert: settings.clientCertificate.certificate, key: settings.clientCertificate.privateKey }),
    ...(settings.tlsFirst ? { handshakeFirst: true } : {}),
    // Passed through to tls.connect. An address must not be its `servername`, and without one Node expects `localhost`.
    ...(isIP(name) === 0
      ? { servername: name }
      : {
          checkServerIdentity: (_: string, certificate: PeerCertificate) => tls.checkServerIdentity(name, certificate),
        }),
  };
}

/** What a sign-in shows to whoever can read it and could use it himself; undefined when it proves a key, or nothing. */
export function secretSentBy(signIn: SignIn): string | undefined {
  switch (signIn.kind) {
    case 'token':
      return 'token';
    case 'idToken':
      return 'ID token';
    case 'userPassword':
      return 'password';
    case 'jwt':
      return signIn.key === undefined ? 'JWT' : undefined;
    case 'nkey':
    case 'none':
      return undefined;
  }
}

function authenticationOptions({ authentication }: DialSettings): ConnectionOptions {
  switch (authentication.kind) {
    case 'none':
      return {};
    case 'token':
    case 'idToken':
      return { token: authentication.token };
    case 'userPassword':
      return { user: authentication.username, pass: authentication.password };
    case 'nkey':
      return { authenticator: nonceSigner(authentication.key) };
    case 'jwt': {
      const { jwt, key } = authentication;
      const prove = key === undefined ? () => ({}) : nonceSigner(key);
      return { authenticator: (nonce) => ({ ...prove(nonce), jwt }) };
    }
  }
}

/** Signs the server's nonce with Node's ed25519, some two hundred times faster than the library's. */
function nonceSigner({ publicKey, privateKey }: SigningKey): Authenticator {
  return (nonce) => ({ nkey: publicKey, sig: sign(null, Buffer.from(nonce ?? ''), privateKey).toString('base64url') });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

const TLS_CODES =
  /^(UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|CERT_|ERR_TLS_|ERR_SSL_|ERR_OSSL_|HOSTNAME_MISMATCH|EPROTO|TLS$)/;
/** What the server says of the certificate of its client. Node 24 has a slash in these codes. */
const CERTIFICATE_ALERT = /_ALERT_(.*CERTIFICATE.*|UNKNOWN_CA)$/;
const ABSENT_CODES = new Set([
  'CONNECTION_REFUSED',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'EPIPE',
]);

async function explain(
  error: unknown,
  settings: DialSettings,
  address: ServerAddress,
  infoMs: number,
): Promise<DialFailure> {
  const server = `${address.host}:${String(address.port)}`;
  const failure = (code: ErrorCode, reason: string, remedy: string, transient = false): DialFailure => ({
    code,
    reason: `${server} ${reason}`,
    remedy,
    transient,
  });
  const cause =
    error instanceof Error && 'chainedError' in error && error.chainedError instanceof Error
      ? error.chainedError
      : error;
  const code = codeOf(error);

  if (code === 'AUTHORIZATION_VIOLATION' || code.includes('AUTHENTICATION') || code === 'ACCOUNT_EXPIRED') {
    return failure('Denied', `refused to sign this connection in (${reasonOf(error)})`, signInRemedy(settings));
  }
  if (code === 'SERVER_OPT_NA') {
    return failure(
      'TlsFailure',
      'offers no TLS',
      'Use nats:// for a server without TLS, or turn TLS on in the server.',
    );
  }
  if (code === CLEAR_TEXT_BEFORE_TLS)
    return failure('TlsFailure', 'said more than its INFO before TLS', NOT_TLS_REMEDY);
  if (TLS_CODES.test(code)) {
    const reason = tlsReason(cause);
    return CERTIFICATE_ALERT.test(code)
      ? clientCertificateFailure(settings, reason, failure)
      : failure('TlsFailure', `could not agree on TLS (${reason})`, tlsRemedy(code, settings));
  }
  // The reset overtakes the alert now and then.
  if (code === 'ECONNRESET' && (await readInfo(address, infoMs))?.tls_verify === true) {
    return { ...clientCertificateFailure(settings, 'it closed the connection', failure), transient: true };
  }
  if (ABSENT_CODES.has(code)) {
    const undefinedReason = reasonOf(cause).includes('undefined error');
    return failure(
      'Unreachable',
      undefinedReason
        ? 'closed the connection at once'
        : `did not take the connection (${codeOf(cause) || reasonOf(cause)})`,
      'Check the host, the port, and that this agent may reach it.',
      true,
    );
  }
  if (code === 'TIMEOUT') return explainSilence(settings, address, infoMs, failure);
  if (reasonOf(error).includes('maximum control line exceeded')) return longLineFailure('', failure);
  return failure(
    'Unreachable',
    `does not answer as a NATS server does (${reasonOf(error)})`,
    'Check that the port is the one for NATS clients.',
  );
}

/** What is told of a server from which nothing has come. */
export function silence(address: ServerAddress): DialFailure {
  return {
    code: 'Unreachable',
    reason: `${address.host}:${String(address.port)} accepted no NATS connection in time`,
    remedy:
      'Check the host, the port and firewalls in between. If the server expects TLS first, set "TLS first" in the connection.',
    transient: true,
  };
}

/** With TLS 1.3 a client learns only after its own handshake what the server thinks of its certificate. */
function clientCertificateFailure(
  settings: DialSettings,
  reason: string,
  failure: (code: ErrorCode, reason: string, remedy: string) => DialFailure,
): DialFailure {
  return settings.clientCertificate === undefined
    ? failure(
        'TlsFailure',
        'wants a client certificate, and the service connection has none',
        'Use the authentication scheme "Client certificate".',
      )
    : failure(
        'TlsFailure',
        `does not accept the client certificate (${reason})`,
        'Check that an authority the server trusts signed it, for use by clients, and that it has not expired.',
      );
}

function isLong({ authentication }: DialSettings): boolean {
  return authentication.kind === 'idToken' && authentication.token.length > MAX_TOKEN_LENGTH;
}

function longLineFailure(
  how: string,
  failure: (code: ErrorCode, reason: string, remedy: string) => DialFailure,
): DialFailure {
  return failure(
    'TooLarge',
    `closed the connection, ${how}since its max_control_line is too short for what this step signs in with`,
    'Set max_control_line: 32768 in the configuration of the server.',
  );
}

/** OpenSSL puts its reason between code, function and place in the source; Node itself says it plainly. */
function tlsReason(error: unknown): string {
  return /:error:[^:]*:[^:]*:[^:]*:([^:]+):/.exec(reasonOf(error))?.[1] ?? reasonOf(error);
}

/** The library says only "timeout" when the server refuses after the handshake; its INFO tells which refusal is likely. */
async function explainSilence(
  settings: DialSettings,
  address: ServerAddress,
  infoMs: number,
  failure: (code: ErrorCode, reason: string, remedy: string, transient?: boolean) => DialFailure,
): Promise<DialFailure> {
  const info = await readInfo(address, infoMs);
  if (info === undefined) return silence(address);
  if (info.tls_verify === true || (info.tls_required === true && settings.clientCertificate !== undefined))
    return clientCertificateFailure(settings, 'it closed the connection', failure);
  if (isLong(settings)) return longLineFailure('most likely ', failure);
  return failure(
    'Unreachable',
    'stopped answering while the connection was set up',
    'Check its limits for connections and the length of the CONNECT line (max_connections, max_control_line).',
    true,
  );
}

/** The INFO a server sends first; undefined when none comes in time. */
function readInfo(address: ServerAddress, timeoutMs: number): Promise<ServerInfo | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let received = 0;
    const socket = createConnection({ host: address.host, port: address.port });
    const done = (info: ServerInfo | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(info);
    };
    const timer = setTimeout(() => {
      done(undefined);
    }, timeoutMs);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      received += chunk.length;
      if (chunk.includes('\n')) done(infoOrNone(Buffer.concat(chunks)));
      else if (received > MAX_LINE_BYTES) done(undefined);
    });
    for (const event of ['error', 'close'])
      socket.on(event, () => {
        done(undefined);
      });
  });
}

function infoOrNone(bytes: Buffer): ServerInfo | undefined {
  try {
    return infoIn(bytes);
  } catch {
    return undefined;
  }
}

function signInRemedy({ authentication }: DialSettings): string {
  switch (authentication.kind) {
    case 'none':
      return 'The service connection holds no secret: fill in its credentials, or use another authentication scheme.';
    case 'token':
      return 'Check the token of the service connection.';
    case 'idToken':
      return "See the log of the server's auth callout service, and whether it accepts the issuer, subject and audience in the line idToken of this log.";
    case 'userPassword':
      return 'Check the user name and password of the service connection.';
    case 'nkey':
      return 'Check that the server knows the public key of this NKey seed.';
    case 'jwt':
      return 'Check that the credentials belong to an account of this server and are neither expired nor revoked.';
  }
}

const NOT_TLS_REMEDY =
  'Something between this agent and the server may be changing what it says, or the port is not the one for NATS clients.';

function tlsRemedy(code: string, { tlsFirst }: DialSettings): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return "Use the host name or address that the server's certificate names.";
  if (code === 'CERT_HAS_EXPIRED') return "The server's certificate has expired: its operator must renew it.";
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER')
    return tlsFirst ? 'The server does not begin with TLS: clear "TLS first" in the connection.' : NOT_TLS_REMEDY;
  if (/UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO/.test(code))
    return 'Put the PEM text of the authority that signed the server\'s certificate into "CA certificate" of the connection.';
  return 'Check the TLS settings of the server and of the service connection.';
}
