import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose';
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

/** Starts an issuer on 127.0.0.1 and a free port: with this certificate, or in clear text. */
export async function startTokenIssuer(certificate?: Certificate): Promise<TokenIssuer> {
  const server = certificate ? createTlsServer({ cert: certificate.cert, key: certificate.key }) : createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as { port: number };
  const issuer = new TokenIssuer(server, `http${certificate ? 's' : ''}://127.0.0.1:${port}`);
  await issuer.rotate('RS256');
  return issuer;
}

/** Stands in for Azure DevOps and Microsoft Entra where tokens are verified: discovery documents and keys. */
export class TokenIssuer implements AsyncDisposable {
  readonly tenant = randomUUID();
  readonly organisationId = randomUUID();
  /** What the application for NATS is called in either version: its URI and its ID. */
  readonly audiences = { azureDevOps: AZURE_DEVOPS_AUDIENCE, entraV1: 'api://nats', entraV2: randomUUID() };
  /** The tokens' `iss`. */
  readonly issuers: Readonly<Record<TokenKind, string>>;
  /** While true, every request is answered with 503. */
  failing = false;
  /** Answers requests for a path instead, while it returns something. */
  intercept: (path: string) => { readonly status: number; readonly body: string } | undefined = () => undefined;
  /** Path of every request so far. */
  readonly requests: string[] = [];
  readonly #server: Server;
  /** The last one signs. */
  #keys: Key[] = [];

  constructor(
    server: Server,
    readonly origin: string,
  ) {
    this.#server = server;
    this.issuers = {
      azureDevOps: `${origin}/${this.organisationId}`,
      entraV1: `${origin}/${this.tenant}/`,
      entraV2: `${origin}/${this.tenant}/v2.0`,
    };
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response));
  }

  get key(): Key {
    return this.#keys.at(-1)!;
  }

  /** Signs with a new key from now on. `keep`: the key set still holds the others. */
  async rotate(algorithm: Algorithm, keep = false): Promise<void> {
    const pair = await generateKeyPair(algorithm, { extractable: true });
    const key = { kid: randomBytes(8).toString('hex'), algorithm, ...pair };
    this.#keys = keep ? [...this.#keys, key] : [key];
  }

  /** What a token of a kind says; undefined leaves a claim out. */
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
    return { ...common, iat, nbf: iat, exp: iat + 600, ...own, ...changes };
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
    const path = request.url ?? '';
    this.requests.push(path);
    const { status, body } = this.intercept(path) ?? (await this.#reply(path));
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
  }

  async #reply(path: string): Promise<{ status: number; body: string }> {
    if (this.failing) return { status: 503, body: '{}' };
    if (path === '/keys') {
      const keys = await Promise.all(
        this.#keys.map(async ({ kid, algorithm: alg, publicKey }) => ({
          ...(await exportJWK(publicKey)),
          kid,
          // Microsoft Entra's keys don't say for which algorithm they are.
          ...(alg === 'ES256' ? { alg } : {}),
          use: 'sig',
        })),
      );
      return { status: 200, body: JSON.stringify({ keys }) };
    }
    const issuer = Object.values(this.issuers).find(
      (one) => `${one.replace(/\/$/, '')}/.well-known/openid-configuration` === this.origin + path,
    );
    if (issuer === undefined) return { status: 404, body: '{}' };
    return { status: 200, body: JSON.stringify({ issuer, jwks_uri: `${this.origin}/keys` }) };
  }
}
