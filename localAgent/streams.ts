import {
  connect,
  type ConnectionOptions,
  credsAuthenticator,
  NatsError,
  nkeyAuthenticator,
  type StreamAPI,
} from 'nats';
import { reasonOf } from '../shared/errors.ts';
import { safeText } from '../shared/text/safeText.ts';
import type { Connection } from './connections.ts';
import type { OwnStream } from './ownStreams.ts';

const CONNECT_MS = 5_000;
/** The JetStream API's number for a stream that isn't there. */
const STREAM_NOT_FOUND = 10059;

/**
 * Creates streams on the server that the service connections lead to, and leaves alone what is there.
 * @returns what became of each: sentences
 * @throws Error when there is no such server or more than one, and when it can't be reached or refuses
 */
export async function createMissingStreams(
  connections: Readonly<Record<string, Connection>>,
  streams: readonly OwnStream[],
): Promise<string[]> {
  const [first, ...others] = Object.entries(connections).filter(([, { type }]) => type !== 'NatsBridge');
  if (first === undefined)
    throw new Error('--stream needs a server to create the stream on: add --nats, --connection or --connection-file.');
  const [name, connection] = first;
  const other = others.find(([, { url }]) => url !== connection.url);
  if (other !== undefined)
    throw new Error(
      `--stream: the service connections ${name} and ${other[0]} lead to different servers. Create the streams there yourself, and leave --stream out.`,
    );
  return withStreams(connection, `--stream: the server of ${name}`, async (api) => {
    const said: string[] = [];
    for (const stream of streams) {
      const found = await subjectsOf(api, stream.name);
      if (found === undefined) await createStream(api, stream);
      const shown = `the stream ${stream.name} (${safeText((found ?? stream.subjects).join(', '))})`;
      said.push(found === undefined ? `Created ${shown} for ${name}.` : `Left ${shown} of ${name} as it is.`);
    }
    return said;
  });
}

/** Creates streams on a server that has none yet. Throws an Error when it refuses one. */
export async function createStreams(url: string, streams: readonly OwnStream[]): Promise<void> {
  await withStreams({ url, scheme: 'None' }, '--nats: the server', async (api) => {
    for (const stream of streams) await createStream(api, stream);
  });
}

async function withStreams<T>(
  connection: Connection,
  who: string,
  work: (streams: StreamAPI) => Promise<T>,
): Promise<T> {
  try {
    const client = await connect({ ...signInOf(connection), reconnect: false, timeout: CONNECT_MS });
    try {
      const domain = connection.data?.jetStreamDomain;
      return await work((await client.jetstreamManager(domain ? { domain } : {})).streams);
    } finally {
      await client.close();
    }
  } catch (error) {
    const reason = safeText(reasonOf(error));
    const remedy = /permissions violation/i.test(reason)
      ? ' This user may not create streams. Create the stream as an administrator, and leave out --stream.'
      : '';
    throw new Error(`${who} can't be used: ${reason}.${remedy}`, { cause: error });
  }
}

/** How the client signs in with the fields of a connection's form. */
function signInOf({ url, parameters = {}, data = {} }: Connection): ConnectionOptions {
  if (data.oidc === 'true')
    throw new Error('it signs in with the OIDC token of a run, which only Azure Pipelines gives');
  const {
    credentials,
    apitoken: token,
    username: user,
    password: pass,
    certificate: cert,
    privateKey: key,
  } = parameters;
  const { caCertificate: ca, inboxPrefix, tlsFirst } = data;
  const bytes = new TextEncoder().encode(credentials?.trim());
  return {
    servers: url,
    ...(credentials && {
      authenticator: credentials.trim().startsWith('SU') ? nkeyAuthenticator(bytes) : credsAuthenticator(bytes),
    }),
    ...(token !== undefined && { token }),
    ...(user !== undefined && { user, pass: pass ?? '' }),
    ...(inboxPrefix && { inboxPrefix }),
    ...((cert ?? ca ?? url.startsWith('tls://')) && {
      tls: { ...(ca && { ca }), ...(cert && { cert, key: key ?? '' }), handshakeFirst: tlsFirst === 'true' },
    }),
  };
}

/** What an existing stream captures. */
async function subjectsOf(api: StreamAPI, stream: string): Promise<readonly string[] | undefined> {
  try {
    return (await api.info(stream)).config.subjects;
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.err_code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}

async function createStream(api: StreamAPI, { name, subjects }: OwnStream): Promise<void> {
  await api.add({ name, subjects: [...subjects] }).catch((error: unknown) => {
    throw new Error(`it refuses the stream ${name} (${subjects.join(', ')}): ${reasonOf(error)}`);
  });
}
