import { createConnection } from 'node:net';
import type { ServerInfo } from 'nats';
import type { ConnectionWords, ServerAddress } from '../../connection/settings.ts';
import { reasonOf, type ErrorCode } from '../../errors.ts';
import { CLEAR_TEXT_BEFORE_TLS, infoIn, MAX_LINE_BYTES } from './libraryLimits.ts';
import { longToken, signInRemedy, type DialSettings } from './signIn.ts';
import { STEP_WORDS } from './words.ts';

export interface DialFailure {
  readonly code: ErrorCode;
  /** What happened, on which server, without a full stop. */
  readonly reason: string;
  readonly remedy: string;
  /** Whether trying again may help: the server wasn't there, which says nothing about the settings. */
  readonly transient: boolean;
  /** `silent`: nothing came in time. `closed`: the connection was closed without a word. */
  readonly nature?: 'silent' | 'closed';
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

/** Where the host's name leads to no address. */
const NAME_CODES = new Set(['ENOTFOUND', 'EAI_AGAIN']);

/** Ports of a NATS server that are often taken for the one for clients. */
const OTHER_PORTS: ReadonlyMap<number, string> = new Map([
  [8222, 'monitoring over HTTP'],
  [6222, 'the other servers of a cluster'],
  [7422, 'leaf nodes'],
]);

/** What a failed dial means, and what to do about it. A server that says nothing is asked what it is, for `infoMs`. */
export async function explain(
  error: unknown,
  settings: DialSettings,
  address: ServerAddress,
  infoMs: number,
): Promise<DialFailure> {
  return on(address, await meaningOf(error, settings, () => readInfo(address, infoMs)));
}

/** What to report about a server that sent nothing. */
export function silence(address: ServerAddress, words = STEP_WORDS): DialFailure {
  return on(address, nothingCame(words));
}

function failure(code: ErrorCode, reason: string, remedy: string, transient = false): DialFailure {
  return { code, reason, remedy, transient };
}

function on({ host, port }: ServerAddress, failed: DialFailure): DialFailure {
  const other = OTHER_PORTS.get(port);
  const hint =
    other === undefined || (failed.code !== 'Unreachable' && failed.code !== 'TlsFailure')
      ? ''
      : `Port ${port} is usually the one for ${other}: use the one for clients, usually 4222. `;
  return { ...failed, reason: `${host}:${port} ${failed.reason}`, remedy: `${hint}${failed.remedy}` };
}

function nothingCame({ tlsFirst }: ConnectionWords): DialFailure {
  const remedy = `Check the host, the port and firewalls in between. If the server expects TLS first, set ${tlsFirst}.`;
  return { ...failure('Unreachable', 'accepted no NATS connection in time', remedy, true), nature: 'silent' };
}

async function meaningOf(
  error: unknown,
  settings: DialSettings,
  askInfo: () => Promise<ServerInfo | undefined>,
): Promise<DialFailure> {
  const { chainedError } = Object(error) as { readonly chainedError?: unknown };
  const cause = chainedError instanceof Error ? chainedError : error;
  const code = codeOf(error);
  const words = settings.words ?? STEP_WORDS;

  if (code === 'AUTHORIZATION_VIOLATION' || code.includes('AUTHENTICATION') || code === 'ACCOUNT_EXPIRED') {
    const reason = `rejected the credentials (${reasonOf(error)})`;
    return failure('Denied', reason, words.signIn ?? signInRemedy(settings.authentication.kind, settings.secretPlace));
  }
  if (code === 'SERVER_OPT_NA') {
    return failure(
      'TlsFailure',
      'offers no TLS',
      'Use nats:// for a server without TLS, or turn TLS on in the server.',
    );
  }
  if (code === CLEAR_TEXT_BEFORE_TLS)
    return failure('TlsFailure', 'sent more than its INFO before TLS', notTlsRemedy(words));
  if (TLS_CODES.test(code)) {
    const reason = tlsReason(cause);
    return CERTIFICATE_ALERT.test(code)
      ? clientCertificateFailure(settings, reason)
      : failure('TlsFailure', `failed the TLS handshake (${reason})`, tlsRemedy(code, settings));
  }
  // Now and then the reset overtakes the alert.
  if (code === 'ECONNRESET' && (await askInfo())?.tls_verify === true) {
    return { ...clientCertificateFailure(settings, 'it closed the connection'), transient: true };
  }
  if (ABSENT_CODES.has(code)) {
    const remedy = `Check the host, the port, and that ${words.machine} may reach it.`;
    if (reasonOf(cause).includes('undefined error'))
      return { ...failure('Unreachable', 'closed the connection at once', remedy, true), nature: 'closed' };
    const causeCode = codeOf(cause);
    const happened = NAME_CODES.has(causeCode) ? 'could not be found' : 'refused the connection';
    const reason = `${happened} (${causeCode || reasonOf(cause)})`;
    return failure('Unreachable', reason, remedy, true);
  }
  if (code === 'TIMEOUT') return explainSilence(settings, await askInfo());
  if (reasonOf(error).includes('maximum control line exceeded')) return longLineFailure('', words);
  return failure(
    'Unreachable',
    `does not answer like a NATS server (${reasonOf(error)})`,
    'Check that the port is the one for NATS clients.',
  );
}

/** With TLS 1.3 a client learns only after its own handshake what the server thinks of its certificate. */
function clientCertificateFailure(settings: DialSettings, reason: string): DialFailure {
  const words = settings.words ?? STEP_WORDS;
  return settings.clientCertificate === undefined
    ? failure('TlsFailure', `wants a client certificate, and ${words.settings} has none`, words.clientCertificate)
    : failure(
        'TlsFailure',
        `does not accept the client certificate (${reason})`,
        'Check that an authority the server trusts signed it, for use by clients, and that it has not expired.',
      );
}

function longLineFailure(how: string, { program }: ConnectionWords): DialFailure {
  return failure(
    'TooLarge',
    `closed the connection, ${how}since its max_control_line is too short for what ${program} signs in with`,
    'Set max_control_line: 32768 in the configuration of the server.',
  );
}

/** OpenSSL puts its reason between code, function and place in the source; Node itself says it plainly. */
function tlsReason(error: unknown): string {
  return /:error:[^:]*:[^:]*:[^:]*:([^:]+):/.exec(reasonOf(error))?.[1] ?? reasonOf(error);
}

/** The library says only "timeout" when the server refuses after the handshake; its INFO tells which refusal is likely. */
function explainSilence(settings: DialSettings, info: ServerInfo | undefined): DialFailure {
  const words = settings.words ?? STEP_WORDS;
  if (info === undefined) return nothingCame(words);
  if (info.tls_verify === true || (info.tls_required === true && settings.clientCertificate !== undefined))
    return clientCertificateFailure(settings, 'it closed the connection');
  if (longToken(settings.authentication) !== undefined) return longLineFailure('most likely ', words);
  return failure(
    'Unreachable',
    'stopped answering while the connection was set up',
    'Check its limits for connections and the length of the CONNECT line (max_connections, max_control_line).',
    true,
  );
}

/** The INFO a server sends first; undefined when none comes in time. */
async function readInfo({ host, port }: ServerAddress, timeoutMs: number): Promise<ServerInfo | undefined> {
  const socket = createConnection({ host, port });
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const chunks: Buffer[] = [];
  let received = 0;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      received += chunk.length;
      if (chunk.includes('\n')) return infoIn(Buffer.concat(chunks));
      if (received > MAX_LINE_BYTES) break;
    }
  } catch {
    // The dial's own error is reported instead.
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
  return undefined;
}

function notTlsRemedy({ machine }: ConnectionWords): string {
  return `Something between ${machine} and the server may be altering the traffic, or the port is not the one for NATS clients.`;
}

function tlsRemedy(code: string, { tlsFirst, words = STEP_WORDS }: DialSettings): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return "Use the host name or address that the server's certificate names.";
  if (code === 'CERT_HAS_EXPIRED') return "The server's certificate has expired: its operator must renew it.";
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER')
    return tlsFirst ? `The server does not begin with TLS: clear ${words.tlsFirst}.` : notTlsRemedy(words);
  if (/UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO/.test(code))
    return `Put the PEM text of the authority that signed the server's certificate into ${words.authority}.`;
  return `Check the TLS settings of the server and of ${words.settings}.`;
}
