import { isIP } from 'node:net';
import tls, { type PeerCertificate } from 'node:tls';
import type { ConnectionOptions, NatsConnection, TlsOptions } from 'nats';
import type { ServerAddress } from '../../connection/settings.ts';
import { explain, type DialFailure } from './dialFailure.ts';
import { connect, type OwnOptions } from './libraryLimits.ts';
import { signInOptions, type DialSettings } from './signIn.ts';

/** What the library passes on without declaring it. */
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

/**
 * Opens a connection to one server. The library would take several at once, but it then reports only the last one's
 * error, checks a certificate of an IP address against `localhost`, and ignores the scheme.
 *
 * `nats://` uses verified TLS if the server offers it, and is otherwise unencrypted.
 *
 * @param onSignIn called when the line that signs in has gone out, whatever becomes of the dial, with whether that was over TLS
 */
export async function dial(
  settings: DialSettings,
  address: ServerAddress,
  timeoutMs: number,
  onSignIn: OwnOptions['onSignIn'],
): Promise<NatsConnection | DialFailure> {
  // Time reserved for asking a silent server what it is.
  const infoMs = Math.min(timeoutMs / 4, INFO_TIMEOUT_MS);
  const options: ConnectionOptions & UndeclaredOptions = {
    servers: `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`,
    name: settings.clientName ?? 'nats-event-tasks',
    timeout: Math.min(timeoutMs - infoMs, DIAL_TIMEOUT_MS),
    // Lost links are dialled again by `Links`, with fresh credentials and every server's own error.
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
    ...signInOptions(settings.authentication),
  };
  try {
    return await connect(options);
  } catch (error) {
    return explain(error, settings, address, infoMs);
  }
}

function tlsOptions(settings: DialSettings, address: ServerAddress): TlsOptions {
  const name = address.tlsName ?? address.host;
  const { certificate: cert, privateKey: key } = settings.clientCertificate ?? {};
  const checkServerIdentity = (_: string, certificate: PeerCertificate) => tls.checkServerIdentity(name, certificate);
  return {
    ...(settings.caCertificate === undefined ? {} : { ca: settings.caCertificate }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(settings.tlsFirst ? { handshakeFirst: true } : {}),
    // Passed through to tls.connect. An address must not be its `servername`, and without one Node expects `localhost`.
    ...(isIP(name) === 0 ? { servername: name } : { checkServerIdentity }),
  };
}
