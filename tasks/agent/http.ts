import { readFileSync } from 'node:fs';
import type http from 'node:http';
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Agent } from './agent.ts';
import { reasonOf } from '../../shared/errors.ts';
import type { Problems } from '../../shared/inputs/problems.ts';
import { interruptible } from '../../shared/text/interruptible.ts';
import { parseJson } from '../../shared/text/json.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { maskSecret } from './secrets.ts';

const MAX_ANSWER_BYTES = 256 * 1_024;
/** A bypass list is a dozen short expressions; one with nested repetition must not stop the step. */
const BYPASS_LIST_MS = 250;

/** How this agent reaches a server over HTTP: its administrator's proxy and certificate authority. */
export interface HttpRoute {
  /** Undefined: directly. */
  readonly proxy: { readonly url: URL; /** Of `Proxy-Authorization`. */ readonly authorization?: string } | undefined;
  readonly tls: { readonly ca?: string[]; readonly rejectUnauthorized: boolean };
}

export interface HttpAnswer {
  readonly status: number;
  /** The server's clock, in milliseconds since the epoch; undefined when it didn't say. */
  readonly date: number | undefined;
  /** How long the server asks us to back off, in milliseconds from now; undefined when it didn't say. */
  readonly retryAfterMs: number | undefined;
  readonly body: string;
}

/** The proxy answered with something other than a tunnel. */
export class ProxyRefusal extends Error {
  constructor(
    readonly proxy: string,
    readonly status: number,
  ) {
    super(`the proxy ${proxy} answered with HTTP status ${status}`);
  }
}

/** The URL if its server may see the job's token, which must not cross a network in clear text; otherwise undefined. */
export function parseServerUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url)) ? url : undefined;
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

type RouteAgent = Pick<Agent, 'variable' | 'maskSecret' | 'warning'>;

/** Reads the agent's route to a server from its variables `Agent.Proxy…`, `Agent.CAInfo` and `Agent.SkipCertValidation`. */
export function readHttpRoute(agent: RouteAgent, problems: Problems, server: URL): HttpRoute {
  const ca = readAuthority(agent, problems);
  return {
    proxy: readProxy(agent, problems, server),
    tls: {
      // A list replaces the authorities Node trusts, so they are named as well.
      ...(ca === undefined ? {} : { ca: [...tls.rootCertificates, ca] }),
      rejectUnauthorized: agent.variable('Agent.SkipCertValidation')?.toLowerCase() !== 'true',
    },
  };
}

function readAuthority(agent: RouteAgent, problems: Problems): string | undefined {
  const file = agent.variable('Agent.CAInfo');
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    problems.note(`Agent.CAInfo: the agent's file of certificate authorities cannot be read (${reasonOf(error)})`);
    return undefined;
  }
}

function readProxy(agent: RouteAgent, problems: Problems, server: URL): HttpRoute['proxy'] {
  const password = agent.variable('Agent.ProxyPassword') ?? '';
  if (password !== '') maskSecret(agent, password);
  const text = agent.variable('Agent.ProxyUrl');
  if (text === undefined || isBypassed(agent, server)) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    problems.note("Agent.ProxyUrl: the URL of the agent's proxy is not one of http:// or https://");
    return undefined;
  }
  const user = agent.variable('Agent.ProxyUsername');
  if (user === undefined) return { url };
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  maskSecret(agent, credentials);
  return { url, authorization: `Basic ${credentials}` };
}

/** Whether the agent's bypass list names a server. The agent matches `scheme://host[:port]`, ignoring case. */
function isBypassed(agent: RouteAgent, server: URL): boolean {
  const text = agent.variable('Agent.ProxyBypassList');
  const patterns = text === undefined ? [] : parseList(text);
  if (patterns === undefined) agent.warning("Agent.ProxyBypassList is ignored: it isn't a JSON array of texts.");
  return (patterns ?? []).some((pattern) => {
    try {
      return interruptible(() => new RegExp(pattern, 'i').test(server.origin), BYPASS_LIST_MS);
    } catch (error) {
      const reason = error instanceof SyntaxError ? error.message : 'it takes too long';
      agent.warning(`The entry ${quoted(pattern)} of Agent.ProxyBypassList is ignored: ${reason}.`);
      return false;
    }
  });
}

function parseList(json: string): string[] | undefined {
  const list = parseJson(json)?.value;
  return Array.isArray(list) && list.every((entry) => typeof entry === 'string') ? list : undefined;
}

/**
 * Sends a text and reads the answer, up to 256 KiB. Redirects are not followed: they would take the authorization to
 * another server.
 * @throws whatever Node reports, {@link ProxyRefusal}, or the signal's AbortError
 */
export async function sendText(
  method: 'POST' | 'PUT',
  url: URL,
  route: HttpRoute,
  headers: Readonly<Record<string, string>>,
  text: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const tunnel = route.proxy === undefined ? undefined : await openTunnel(url, route, signal);
  const { request: begin } = await clientOf(url);
  const request = begin(url, {
    method,
    // Node would add the port to the host of a tunnelled request.
    headers: { host: url.host, accept: 'application/json', ...headers },
    signal,
    ...route.tls,
    ...(tunnel === undefined ? { agent: false } : { createConnection: () => secured(tunnel, url, route) }),
  });
  tunnel?.on('error', (error) => request.destroy(error));
  try {
    return await answerOf(request, text);
  } finally {
    // A failed TLS handshake leaves it open.
    tunnel?.destroy();
  }
}

function clientOf({ protocol }: URL): Promise<Pick<typeof http, 'request'>> {
  return protocol === 'https:' ? import('node:https') : import('node:http');
}

async function answerOf(request: http.ClientRequest, text: string): Promise<HttpAnswer> {
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.on('error', reject);
    request.end(text);
  });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  const date = instantOf(answer.headers.date);
  return {
    status: answer.statusCode ?? 0,
    date,
    retryAfterMs: pauseOf(answer.headers['retry-after'], date),
    body: Buffer.concat(chunks).toString(),
  };
}

function instantOf(text = ''): number | undefined {
  const instant = Date.parse(text);
  return Number.isNaN(instant) ? undefined : instant;
}

/** `Retry-After` has whole seconds, or a date of the server's clock (RFC 9110 10.2.3). */
function pauseOf(text = '', serverNow: number | undefined): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const until = instantOf(text);
  return until === undefined || serverNow === undefined ? undefined : Math.max(0, until - serverNow);
}

/** A connection to the server through the proxy (HTTP CONNECT, RFC 9110 9.3.6). */
async function openTunnel(url: URL, { proxy, ...route }: HttpRoute, signal: AbortSignal): Promise<Socket> {
  if (proxy === undefined) throw new TypeError('There is no proxy.');
  const target = `${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`;
  const { request: begin } = await clientOf(proxy.url);
  const authorization = proxy.authorization === undefined ? {} : { 'proxy-authorization': proxy.authorization };
  const headers = { host: target, ...authorization };
  const request = begin(proxy.url, { method: 'CONNECT', path: target, headers, agent: false, signal, ...route.tls });
  return await new Promise((resolve, reject) => {
    request.once('connect', ({ statusCode = 0 }, socket: Socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new ProxyRefusal(proxy.url.host, statusCode));
    });
    request.on('error', reject);
    request.end();
  });
}

function secured(tunnel: Socket, url: URL, route: HttpRoute): Socket {
  if (url.protocol !== 'https:') return tunnel;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return tls.connect({ socket: tunnel, host, ...(isIP(host) === 0 ? { servername: host } : {}), ...route.tls });
}
