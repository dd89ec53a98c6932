import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Certificate } from '../nats/certificates.ts';
import { closeServer } from '../../../localAgent/index.ts';

/** The token that a pipeline's job presents to Azure DevOps. */
export const JOB_TOKEN = 'job-token-0123456789abcdef';

const WITHIN_MS = 10_000;

/** What the endpoint was asked. */
export interface TokenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface TokenAnswer {
  readonly status?: number;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string;
}

/** An ID token in Azure DevOps' form, but unsigned. Each is different. */
export function idToken(lifetimeMs: number, claims: Readonly<Record<string, unknown>> = {}): string {
  const now = Date.now() / 1_000;
  const all = {
    jti: randomBytes(8).toString('hex'),
    iss: 'https://vstoken.dev.azure.com/00000000-0000-0000-0000-000000000000',
    sub: 'sc://contoso/Orders/nats',
    aud: 'api://AzureADTokenExchange',
    iat: now,
    exp: now + lifetimeMs / 1_000,
    ...claims,
  };
  return [{ typ: 'JWT', alg: 'RS256', kid: '1' }, all]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .concat(randomBytes(64).toString('base64url'))
    .join('.');
}

/** A test's own HTTP server on 127.0.0.1 that plays Azure DevOps: it issues ID tokens. */
export class TokenEndpoint implements AsyncDisposable {
  readonly requests: TokenRequest[] = [];
  /** The tokens it has issued, the newest last. */
  readonly issued: string[] = [];
  /** How long the tokens live. */
  lifetimeMs = 300_000;
  /** The response to a request by its number, from 1. Undefined: a token. Null: it hangs up. */
  answer: (number: number) => TokenAnswer | null | undefined | Promise<TokenAnswer | null | undefined> = () =>
    undefined;
  readonly #server: http.Server;
  readonly #asked = new EventTarget();

  static async start(certificate?: Certificate): Promise<TokenEndpoint> {
    const endpoint = new TokenEndpoint(certificate);
    await once(endpoint.#server.listen(0, '127.0.0.1'), 'listening');
    return endpoint;
  }

  private constructor(readonly certificate: Certificate | undefined) {
    this.#server = certificate === undefined ? http.createServer() : https.createServer(certificate);
    this.#server.on('request', (request, response) => void this.#handle(request, response));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The value of `System.OidcRequestUri`, with another host name if given. */
  uri(host = `127.0.0.1:${this.port}`): string {
    const scheme = this.certificate === undefined ? 'http' : 'https';
    return `${scheme}://${host}/contoso/_apis/distributedtask/hubs/build/plans/p/jobs/j/oidctoken`;
  }

  /** Resolves once it has had this many requests in total; rejects after 10 s. */
  async asked(count: number): Promise<void> {
    const signal = AbortSignal.timeout(WITHIN_MS);
    while (this.requests.length < count) await once(this.#asked, 'asked', { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeServer(this.#server);
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { method = '', url = '', headers } = request;
    this.requests.push({ method, url, headers, body });
    this.#asked.dispatchEvent(new Event('asked'));
    const answer = await this.answer(this.requests.length);
    if (answer === null) {
      response.destroy();
      return;
    }
    const { status = 200, headers: fields = {}, body: text = '' } = answer ?? { body: this.#issue() };
    response.writeHead(status, fields).end(text);
  }

  #issue(): string {
    const token = idToken(this.lifetimeMs);
    this.issued.push(token);
    return JSON.stringify({ oidcToken: token });
  }
}

/** A test's own HTTP proxy: it tunnels (CONNECT) to one port of 127.0.0.1, whatever the requested host. */
export class TunnelProxy implements AsyncDisposable {
  /** `host:port` of every requested tunnel. */
  readonly targets: string[] = [];
  readonly #server = http.createServer();
  readonly #tunnels = new Set<Socket>();

  /** @param credentials `user:password` that it requires */
  static async start(port: number, credentials?: string): Promise<TunnelProxy> {
    const proxy = new TunnelProxy(port, credentials);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  private constructor(port: number, credentials: string | undefined) {
    this.#server.on('connect', (request: http.IncomingMessage, client: Socket) => {
      this.targets.push(request.url ?? '');
      this.#tunnels.add(client);
      client.on('close', () => this.#tunnels.delete(client));
      client.on('error', () => client.destroy());
      const wanted = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
      if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) {
        client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\n\r\n');
        return;
      }
      const server = connect(port, '127.0.0.1', () => client.write('HTTP/1.1 200 Connection established\r\n\r\n'));
      server.on('error', () => client.destroy());
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
      client.pipe(server).pipe(client);
    });
  }

  /** How many tunnels its clients hold open. */
  get open(): number {
    return this.#tunnels.size;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeServer(this.#server);
  }
}
