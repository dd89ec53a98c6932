import { isObject } from '../../shared/text/json.ts';
import { isUserKey } from './keys.ts';
import { claimsOfServer } from './natsJwt.ts';
import type { Seal } from './seal.ts';

/** A request with the largest token and certificate chains is a fraction of this. */
const MOST_BYTES = 256 * 1_024;

/** A server asking whether a client may sign in. Holds only what the server vouches for; the client's own words are in `said`. */
export interface SignInRequest {
  readonly serverId: string;
  readonly serverName: string;
  /** The key to seal the answer for; undefined: unsealed. */
  readonly serverXkey: string | undefined;
  /** The public key that the server created for this connection. */
  readonly userKey: string;
  /** What the client sent as its token. */
  readonly token: string | undefined;
  /** The client's address, and its number at the server. */
  readonly client: string;
  /** What the client calls itself; unverified. */
  readonly said: string;
}

/** Why a request gets an empty answer, which the server treats as a refusal: a clause. */
export interface Malformed {
  readonly malformed: string;
}

/**
 * Opens a server's request and checks that it is one: signed by the server that it names, for this purpose, and recent.
 *
 * @param sealedBy header `Nats-Server-Xkey`; empty: none
 * @param now in milliseconds since the epoch
 */
export function readRequest(
  bytes: Uint8Array,
  sealedBy: string,
  seal: Seal | undefined,
  now: number,
): SignInRequest | Malformed {
  if (bytes.length > MOST_BYTES) return { malformed: `it has more than ${MOST_BYTES} bytes` };
  if (seal !== undefined && sealedBy === '')
    return { malformed: 'it is not sealed, but callout.xkeySeedFile is set: give the server the public xkey' };
  if (seal === undefined && sealedBy !== '') return { malformed: 'it is sealed, but callout.xkeySeedFile is not set' };
  const opened = seal === undefined ? bytes : open(seal, bytes, sealedBy);
  const claims = opened && claimsOfServer(Buffer.from(opened).toString());
  const nats = claims?.['nats'];
  if (claims === undefined || !isObject(nats))
    return { malformed: 'it is not a JWT signed by a server, or it is sealed for another xkey' };
  if (claims['aud'] !== 'nats-authorization-request' || nats['type'] !== 'authorization_request')
    return { malformed: 'it is not an authorization request' };
  const { server_id: server, user_nkey: userKey, client_info: client, connect_opts: shown } = nats;
  if (!isUserKey(userKey)) return { malformed: 'it names no user key' };
  if (!isObject(server) || server['id'] !== claims['iss'])
    return { malformed: 'it is not signed by the server that it names' };
  const serverXkey = textOf(server['xkey']);
  if (seal !== undefined && serverXkey !== sealedBy)
    return { malformed: 'it is not sealed by the server that it names' };
  if (typeof claims['exp'] !== 'number' || claims['exp'] * 1_000 <= now)
    return { malformed: 'it has expired: the server no longer waits, or its clock and this one differ' };
  return {
    serverId: server['id'] as string,
    serverName: textOf(server['name']) ?? '',
    serverXkey: seal === undefined ? undefined : serverXkey,
    userKey,
    ...(isObject(shown) ? { token: textOf(shown['auth_token']) } : { token: undefined }),
    client: isObject(client) ? `${textOf(client['host']) ?? '?'} #${String(Number(client['id']))}` : '?',
    said: isObject(shown) ? (textOf(shown['name']) ?? '') : '',
  };
}

function open(seal: Seal, bytes: Uint8Array, sealedBy: string): Uint8Array | undefined {
  try {
    return seal.open(bytes, sealedBy);
  } catch {
    return undefined; // the header names no curve key
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
