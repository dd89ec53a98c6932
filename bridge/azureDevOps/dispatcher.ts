import { Agent, ProxyAgent, request, type Dispatcher } from 'undici';
import type { Connection } from '../settings.ts';

const CONNECT_MS = 10_000;

export { request };

/** What requests go out by: through a proxy where there is one, trusting the authority of the settings. */
export function dispatcherFor({ proxy, ca }: Connection): Dispatcher {
  const connect = { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca }) };
  if (proxy === '') return new Agent({ connect });
  return new ProxyAgent({ uri: proxy, requestTls: connect, proxyTls: connect, proxyTunnel: true });
}
