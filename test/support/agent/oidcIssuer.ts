import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { text } from 'node:stream/consumers';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose';
import type { Certificate } from '../nats/certificates.ts';
import { closeServer } from '../../../localAgent/index.ts';

/** The one audience Azure DevOps writes into its tokens. */
export const AUDIENCE = 'api://AzureADTokenExchange';

export interface OidcIssuerOptions {
  readonly organisation?: string;
  readonly project?: string;
  /** Names of the service connections the token endpoint knows, by their id. */
  readonly serviceConnections?: Readonly<Record<string, string>>;
  /** Serves https with this certificate instead of plain http. */
  readonly certificate?: Certificate;
}

/** Starts the part of an Azure DevOps organisation that issues OIDC tokens, on 127.0.0.1 and a free port. */
export async function startOidcIssuer(options: OidcIssuerOptions = {}): Promise<OidcIssuer> {
  const { certificate } = options;
  const server = certificate ? createTlsServer({ cert: certificate.cert, key: certificate.key }) : createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as { port: number };
  const issuer = new OidcIssuer(server, `http${certificate ? 's' : ''}://127.0.0.1:${port}`, options);
  await issuer.rotateKey();
  return issuer;
}

/** An issuer of OIDC tokens: discovery document, key set, and the endpoint where a running job fetches its token. */
export class OidcIssuer implements AsyncDisposable {
  /** The tokens' `iss`. */
  readonly url: string;
  /** What a job finds in `System.OidcRequestUri`. */
  readonly requestUri: string;
  /** What the token endpoint takes as a bearer: the job's `System.AccessToken`. */
  readonly accessToken = randomBytes(32).toString('base64url');
  /** Seconds from issue to expiry of the tokens from now on. */
  lifetimeSeconds = 600;
  /** While true, every request is answered with 503. */
  failing = false;
  /** Method and path of every request so far. */
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #organisation: string;
  readonly #project: string;
  readonly #serviceConnections: Readonly<Record<string, string>>;
  #kid = '';
  #keys: { publicKey: CryptoKey; privateKey: CryptoKey } | undefined;

  constructor(server: Server, origin: string, options: OidcIssuerOptions) {
    this.#server = server;
    this.#organisation = options.organisation ?? 'example';
    this.#project = options.project ?? 'shop';
    this.#serviceConnections = options.serviceConnections ?? {};
    this.url = `${origin}/${randomUUID()}`;
    const job = `plans/${randomUUID()}/jobs/${randomUUID()}`;
    this.requestUri = `${origin}/${this.#organisation}/${randomUUID()}/_apis/distributedtask/hubs/build/${job}/oidctoken`;
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  /** Id of the key that signs at present. */
  get kid(): string {
    return this.#kid;
  }

  /** The public half of the key that signs at present. */
  get publicKey(): CryptoKey {
    return this.#keys!.publicKey;
  }

  /** Signs with a new key from now on; the key set holds only that. */
  async rotateKey(): Promise<void> {
    this.#keys = await generateKeyPair('RS256', { extractable: true });
    this.#kid = randomBytes(8).toString('hex');
  }

  /** The `sub` of a service connection in this project. */
  subject(serviceConnection: string): string {
    return `sc://${this.#organisation}/${this.#project}/${serviceConnection}`;
  }

  /** What a token says, as Azure DevOps words it; by default that of a service connection named nats. Undefined leaves a claim out. */
  claims(changes: Readonly<Record<string, unknown>> = {}): JWTPayload {
    const iat = Math.floor(Date.now() / 1000);
    return {
      jti: randomUUID(),
      sub: this.subject('nats'),
      aud: AUDIENCE,
      iss: this.url,
      nbf: iat,
      exp: iat + this.lifetimeSeconds,
      iat,
      ...changes,
    };
  }

  /** A token signed by this issuer. */
  async token(changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const header = { typ: 'JWT', alg: 'RS256', kid: this.#kid };
    return new SignJWT(this.claims(changes)).setProtectedHeader(header).sign(this.#keys!.privateKey);
  }

  async stop(): Promise<void> {
    await closeServer(this.#server);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.url);
    this.requests.push(`${request.method} ${url.pathname}`);
    const [status, body] = await this.#reply(request, url);
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  }

  async #reply(request: IncomingMessage, url: URL): Promise<[status: number, body: object]> {
    if (this.failing) return [503, { message: 'Come back later.' }];
    const place = `${url.origin}${url.pathname}`;
    if (request.method === 'GET' && place === `${this.url}/.well-known/openid-configuration`) {
      return [200, { issuer: this.url, jwks_uri: `${url.origin}/.well-known/jwks` }];
    }
    if (request.method === 'GET' && url.pathname === '/.well-known/jwks') {
      return [200, { keys: [{ ...(await exportJWK(this.publicKey)), kid: this.#kid, alg: 'RS256', use: 'sig' }] }];
    }
    if (request.method === 'POST' && place === this.requestUri) return this.#issue(request, url.searchParams);
    return [404, { message: `There is nothing at ${url.pathname}.` }];
  }

  async #issue(request: IncomingMessage, query: URLSearchParams): Promise<[status: number, body: object]> {
    if ((await text(request)) !== '{}') return [400, { message: 'The body must be {}.' }];
    if (request.headers.authorization !== `Bearer ${this.accessToken}`) return [401, { message: 'Who are you?' }];
    if (query.get('api-version') !== '7.1') return [400, { message: 'The api-version must be 7.1.' }];
    const id = query.get('serviceConnectionId');
    const name = id === null ? undefined : this.#serviceConnections[id];
    if (id !== null && name === undefined) return [404, { message: `There is no service connection ${id}.` }];
    const sub = name === undefined ? `p://${this.#organisation}/${this.#project}/pipeline` : this.subject(name);
    return [200, { oidcToken: await this.token({ sub }) }];
  }
}
