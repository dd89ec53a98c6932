import type { Problem } from '../errors.ts';
import { quoted } from '../text/safeText.ts';
import type { ServerAddress } from './settings.ts';

const DEFAULT_PORT = 4222;
const TLS_OF_SCHEME = new Map([
  ['nats', false],
  ['http', false],
  ['tls', true],
  ['nats+tls', true],
  ['https', true],
]);

const NEAREST = 'Write nats://host:4222 or tls://host:4222.';

/** What belongs elsewhere; the caller knows where. */
export const HOLDS_SECRET: Problem = { problem: 'holds a user or password' };
export const HOLDS_SEVERAL: Problem = { problem: 'names more than one server' };

/**
 * Reads the addresses of servers. The first one needs a scheme, which the others inherit where they have none.
 *
 * @returns for each text an address, or what is wrong: a clause that continues "the address …" and shows no password
 */
export function parseServers([first, ...others]: readonly [string, ...string[]]): (ServerAddress | Problem)[] {
  const server = parseServer(first, undefined);
  const tls = 'problem' in server ? undefined : server.tls;
  return [server, ...others.map((text) => parseServer(text, tls))];
}

/** What is wrong with servers of one connection taken together: continues "they …". */
export function schemesProblem(servers: readonly ServerAddress[]): Problem | undefined {
  if (new Set(servers.map(({ tls }) => tls)).size <= 1) return undefined;
  return { problem: 'mix tls:// and nats://', remedy: 'Give all of them the same scheme.' };
}

/** @param inherited whether a server without a scheme uses TLS; undefined when a scheme is required */
function parseServer(text: string, inherited: boolean | undefined): ServerAddress | Problem {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (/^([a-z][a-z0-9+.-]*:\/\/)?(:\d*)?\/?$/i.test(text)) return { problem: 'has no host', remedy: NEAREST };
  if (scheme === undefined && inherited === undefined) return { problem: 'has no scheme', remedy: NEAREST };
  if (scheme === 'ws' || scheme === 'wss') {
    const problem = `uses WebSocket (${scheme}://), which isn't supported`;
    return { problem, remedy: "Use the server's nats:// or tls:// port.", code: 'Unsupported' };
  }
  const tls = scheme === undefined ? inherited : TLS_OF_SCHEME.get(scheme);
  if (tls === undefined)
    return { problem: `has the unknown scheme ${quoted(scheme ?? '')}`, remedy: 'Use nats:// or tls://.' };
  // Only a special scheme such as http makes URL check the host; its default port 80 must not swallow a given ":80".
  const authority = text.slice(scheme === undefined ? 0 : scheme.length + 3);
  if (authority.includes('@')) return HOLDS_SECRET;
  if (authority.includes(',')) return HOLDS_SEVERAL;
  // URL drops white space and control characters where a host could not have them.
  if (/[\s\p{Cc}]/u.test(authority) || !URL.canParse(`http://${authority}`))
    return { problem: 'has no valid host and port', remedy: NEAREST };
  const { hostname, pathname, search, hash } = new URL(`http://${authority}`);
  if ((pathname !== '/' && pathname !== '') || search !== '' || hash !== '')
    return { problem: 'has a path', remedy: 'Only a host and a port are needed.' };
  const port = Number(/:(\d+)\/?$/.exec(authority)?.[1] ?? DEFAULT_PORT);
  return port === 0 ? { problem: 'has port 0' } : { host: hostname.replace(/^\[|\]$/g, ''), port, tls };
}
