import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { text } from 'node:stream/consumers';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { CryptoKey, GenerateKeyPairResult, JWTPayload } from 'jose';
import type { Certificate } from '../nats/certificates.ts';
import { closeServer } from '../../../localAgent/index.ts';

export const AZURE_DEVOPS_AUDIENCE = 'api://AzureADTokenExchange';

/** Whose tokens: Azure DevOps', or those of Microsoft Entra in either version. */
export type TokenKind = 'azureDevOps' | 'entraV1' | 'entraV2';
export type Algorithm = 'RS256' | 'ES256';

interface Key {
  readonly kid: string;
  readonly algorithm: Algorithm;
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

export interface TokenIssuerOptions {
  /** Serves https with this certificate instead of plain http. */
  readonly certificate?: Certificate;
  /** The `sub` of each service connection that jobs may request a token for, by id. */
  readonly serviceConnections?: Readonly<Record<string, string>>;
  /** The first signing key, for RS256; default: a new one, which takes long to make. */
  readonly pair?: GenerateKeyPairResult;
}

/** A key for {@link TokenIssuerOptions.pair}. */
export function rsaPair(): Promise<GenerateKeyPairResult> {
  return generateKeyPair('RS256', { extractable: true });
}

/** Starts an issuer on a free port of 127.0.0.1. */
export async function startTokenIssuer(options: TokenIssuerOptions = {}): Promise<TokenIssuer> {
  const { certificate, serviceConnections = {}, pair } = options;
  const server = certificate ? createTlsServer({ cert: certificate.cert, key: certificate.key }) : createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as { port: number };
  const issuer = new TokenIssuer(server, `http${certificate ? 's' : ''}://127.0.0.1:${port}`, serviceConnections);
  await issuer.rotate('RS256', false, pair);
  return issuer;
}

/**
 * Stands in for Azure DevOps and Microsoft Entra when verifying tokens (discovery and keys), and for Azure DevOps
 * when running jobs request a token.
 */
export class TokenIssuer implements AsyncDisposable {
  readonly tenant = randomUUID();
  readonly organizationId = randomUUID();
  /** The application for NATS in either version: its URI and its ID. */
  readonly audiences = { azureDevOps: AZURE_DEVOPS_AUDIENCE, entraV1: 'api://nats', entraV2: randomUUID() };
  /** The tokens' `iss`. */
  readonly issuers: Readonly<Record<TokenKind, string>>;
  /** What a job finds in `System.OidcRequestUri`. */
  readonly requestUri: string;
  /** The bearer token that the token endpoint accepts: the job's `System.AccessToken`. */
  readonly accessToken = randomBytes(32).toString('base64url');
  /** Seconds from issue to expiry of the tokens from now on. */
  lifetimeSeconds = 600;
  /** While true, every request is answered with 503. */
  failing = false;
  /** Overrides the response for a path if it returns something. */
  intercept: (path: string) => Reply | undefined = () => undefined;
  /** The paths of all requests so far. */
  readonly requests: string[] = [];
  readonly #server: Server;
  /** The last one signs. */
  #keys: Key[] = [];

  constructor(
    server: Server,
    readonly origin: string,
    private readonly serviceConnections: Readonly<Record<string, string>>,
  ) {
    this.#server = server;
    this.issuers = {
      azureDevOps: `${origin}/${this.organizationId}`,
      entraV1: `${origin}/${this.tenant}/`,
      entraV2: `${origin}/${this.tenant}/v2.0`,
    };
    const job = `plans/${randomUUID()}/jobs/${randomUUID()}`;
    this.requestUri = `${origin}/my-organisation/${randomUUID()}/_apis/distributedtask/hubs/build/${job}/oidctoken`;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response));
  }

  get key(): Key {
    return this.#keys.at(-1)!;
  }

  /** Signs with a new key from now on, or with this one. `keep`: the key set still holds the others. */
  async rotate(algorithm: Algorithm = 'RS256', keep = false, pair?: GenerateKeyPairResult): Promise<void> {
    pair ??= await generateKeyPair(algorithm, { extractable: true });
    const key = { kid: randomBytes(8).toString('hex'), algorithm, ...pair };
    this.#keys = keep ? [...this.#keys, key] : [key];
  }

  /** The claims of a kind of token; undefined leaves a claim out. */
  claims(kind: TokenKind, changes: Readonly<Record<string, unknown>> = {}): JWTPayload {
    const iat = Math.floor(Date.now() / 1000);
    const client = '11111111-2222-3333-4444-555555555555';
    const entra = { tid: this.tenant, oid: randomUUID(), sub: randomUUID(), roles: [] as string[] };
    const own = {
      azureDevOps: { sub: 'sc://my-organisation/shop/nats' },
      entraV1: { ...entra, appid: client, ver: '1.0' },
      entraV2: { ...entra, azp: client, ver: '2.0' },
    }[kind];
    const common = { iss: this.issuers[kind], aud: this.audiences[kind], jti: randomUUID() };
    return { ...common, iat, nbf: iat, exp: iat + this.lifetimeSeconds, ...own, ...changes };
  }

  /** A token, signed with the newest key. */
  token(kind: TokenKind, changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const { kid, algorithm: alg, privateKey } = this.key;
    return new SignJWT(this.claims(kind, changes)).setProtectedHeader({ typ: 'JWT', alg, kid }).sign(privateKey);
  }

  /** The token of a service connection of Azure DevOps. */
  connection(sub: string, changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return this.token('azureDevOps', { sub, ...changes });
  }

  async stop(): Promise<void> {
    await closeServer(this.#server);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url!, this.origin);
    this.requests.push(pathname);
    const { status, body } = this.intercept(pathname) ?? (await this.#reply(request, pathname, searchParams));
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
  }

  async #reply(request: IncomingMessage, path: string, query: URLSearchParams): Promise<Reply> {
    if (this.failing) return reply(503, { message: 'Come back later.' });
    const place = `${request.method} ${this.origin}${path}`;
    if (place === `GET ${this.origin}/keys`) {
      const keys = await Promise.all(
        this.#keys.map(async ({ kid, algorithm: alg, publicKey }) => ({
          ...(await exportJWK(publicKey)),
          kid,
          // Microsoft Entra's keys don't state their algorithm.
          ...(alg === 'ES256' ? { alg } : {}),
          use: 'sig',
        })),
      );
      return reply(200, { keys });
    }
    if (place === `POST ${this.requestUri}`) return this.#issue(request, query);
    const issuer = Object.values(this.issuers).find(
      (one) => place === `GET ${one.replace(/\/$/, '')}/.well-known/openid-configuration`,
    );
    if (issuer === undefined) return reply(404, { message: `There is nothing at ${path}.` });
    return reply(200, { issuer, jwks_uri: `${this.origin}/keys` });
  }

  async #issue(request: IncomingMessage, query: URLSearchParams): Promise<Reply> {
    if ((await text(request)) !== '{}') return reply(400, { message: 'The body must be {}.' });
    if (request.headers.authorization !== `Bearer ${this.accessToken}`) return reply(401, { message: 'Who are you?' });
    if (query.get('api-version') !== '7.1') return reply(400, { message: 'The api-version must be 7.1.' });
    const id = query.get('serviceConnectionId') ?? '';
    const sub = this.serviceConnections[id];
    if (sub === undefined) return reply(404, { message: `There is no service connection ${id}.` });
    return reply(200, { oidcToken: await this.connection(sub) });
  }
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

function reply(status: number, body: object): Reply {
  return { status, body: JSON.stringify(body) };
}
