import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  decodeJwt,
  errors,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
  type CryptoKey,
  type JWTVerifyGetKey,
} from 'jose';
import { temporaryFolder } from '../../../localAgent/vsix.ts';
import { createAuthority, type Authority, type Certificate } from '../nats/certificates.ts';
import { entraError } from './entraError.ts';
import { json, StandInServer, type Answer, type RecordedRequest } from './standInServer.ts';

/** The application id of Azure DevOps in every Entra tenant. */
export const AZURE_DEVOPS_RESOURCE = '499b84ac-1321-427f-aa17-267ca6975798';
/** Workload identity federation page: the audience of every external token. */
export const FEDERATION_AUDIENCE = 'api://AzureADTokenExchange';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** An application of the tenant with its service principal. A managed identity is one without a secret. */
export interface EntraApp {
  readonly name: string;
  readonly clientId: string;
  /** The service principal's object id, by which Azure DevOps knows it. */
  readonly objectId: string;
  /** The initial secret; more can be added and removed. */
  readonly secret: string;
  readonly secrets: Set<string>;
  readonly federated: FederatedIdentity[];
}

/** An issuer whose tokens stand for an application. */
export interface FederatedIdentity {
  readonly issuer: string;
  readonly subject: string;
  /** Default: {@link FEDERATION_AUDIENCE}. */
  readonly audience?: string;
  /** The keys of the issuer's tokens, or how to find them. */
  readonly publicKey: CryptoKey | JWTVerifyGetKey;
}

/** An application of the tenant that others request tokens for. */
export interface EntraResource {
  readonly clientId: string;
  /** Its Application ID URI. */
  readonly uri: string;
  /** The token version it has configured. */
  readonly version: 1 | 2;
  /** Whether applications without a role get no token at all. */
  readonly isAssignmentRequired: boolean;
  /** The roles assigned to applications, by client id. */
  readonly roles: Map<string, readonly string[]>;
}

interface KeyPair {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly alg: 'RS256' | 'ES256';
}

interface IssuedToken {
  readonly app: EntraApp;
  readonly resource: string;
  readonly expiresAt: number;
}

/** A stand-in for a Microsoft Entra tenant, over TLS: applications sign in with a secret or another issuer's token. */
export class Entra extends StandInServer {
  readonly tenantId = randomUUID();
  /** Every token it has issued, the newest last. */
  readonly accessTokens: string[] = [];
  /** The lifetime of tokens it issues from now on. */
  lifetimeMs = 3_600_000;
  /** The PEM file for NODE_EXTRA_CA_CERTS, which a process reads once, at its start. */
  readonly caFile: string;
  #keys: KeyPair;
  readonly #cluster: KeyPair;
  readonly #apps = new Map<string, EntraApp>();
  readonly #resources: EntraResource[] = [];
  readonly #issued = new Map<string, IssuedToken>();

  /** @param authority signs its certificate; default: one of its own */
  static async start(authority?: Authority): Promise<Entra> {
    authority ??= await createAuthority();
    firstKey ??= keyPair('RS256');
    const [key, cluster] = await Promise.all([firstKey, keyPair('ES256')]);
    const keys = { ...key, kid: newKid() };
    const entra = new Entra(await authority.server(), authority.cert, keys, cluster);
    await entra.listen();
    return entra;
  }

  private constructor(certificate: Certificate, ca: string, keys: KeyPair, cluster: KeyPair) {
    super(certificate);
    this.#keys = keys;
    this.#cluster = cluster;
    this.caFile = path.join(temporaryFolder('entra-'), 'ca.pem');
    writeFileSync(this.caFile, ca);
  }

  /** The URL that stands for `https://login.microsoftonline.com`. */
  get authorityHost(): string {
    return this.origin;
  }

  register(name = 'event-bridge'): EntraApp {
    const secret = randomBytes(30).toString('base64url');
    const app: EntraApp = {
      ...{ name, clientId: randomUUID(), objectId: randomUUID(), secret },
      ...{ secrets: new Set([secret]), federated: [] },
    };
    this.#apps.set(app.clientId, app);
    return app;
  }

  app(clientId: string): EntraApp | undefined {
    return this.#apps.get(clientId.toLowerCase());
  }

  /** Registers an application that others request tokens for. */
  expose({
    uri = 'api://nats',
    version = 2,
    isAssignmentRequired = false,
  }: Partial<EntraResource> = {}): EntraResource {
    const resource = { clientId: randomUUID(), uri, version, isAssignmentRequired, roles: new Map() };
    this.#resources.push(resource);
    return resource;
  }

  /** The `iss` of a version's tokens. */
  issuer(version: 1 | 2): string {
    return version === 1 ? `https://sts.windows.net/${this.tenantId}/` : `${this.origin}/${this.tenantId}/v2.0`;
  }

  /** Signs with a new key from now on; the key set holds only that. */
  async rotateKeys(): Promise<void> {
    this.#keys = await keyPair('RS256');
  }

  /**
   * The token that a Kubernetes cluster projects into the pods of an application's service account; the application trusts
   * that cluster from now on.
   */
  async serviceAccountToken(app: EntraApp, { lifetimeMs = 3_600_000, audience = FEDERATION_AUDIENCE } = {}) {
    const issuer = 'https://oidc.cluster.example/';
    const subject = `system:serviceaccount:bridge:${app.name}`;
    if (!app.federated.some((one) => one.issuer === issuer)) {
      app.federated.push({ issuer, subject, publicKey: this.#cluster.publicKey });
    }
    return signed(this.#cluster, { iss: issuer, sub: subject, aud: [audience] }, lifetimeMs);
  }

  /** A token for an application, valid for `lifetimeMs`; `resource` is the application id of its audience. */
  async issue(app: EntraApp, resource = AZURE_DEVOPS_RESOURCE): Promise<string> {
    const expiresAt = Date.now() + this.lifetimeMs;
    const claims = {
      // Access tokens reference: Azure DevOps accepts version 1 tokens, whose claim for the application is `appid`.
      ...{ iss: this.issuer(1), aud: resource, appid: app.clientId, appidacr: '1', ver: '1.0' },
      ...this.#claimsFor(app),
      ...this.#claimsOf(app, resource),
    };
    const token = await signed(this.#keys, claims, this.lifetimeMs);
    this.#issued.set(token, { app, resource, expiresAt });
    this.accessTokens.push(token);
    return token;
  }

  #claimsFor({ objectId }: EntraApp) {
    const uti = randomBytes(16).toString('base64url');
    return { sub: objectId, oid: objectId, idtyp: 'app', tid: this.tenantId, uti };
  }

  /** The claims that differ in a token for an application of the tenant. */
  #claimsOf({ clientId }: EntraApp, uriOrId: string) {
    const resource = this.#resource(uriOrId);
    if (resource === undefined) return {};
    const { version, roles } = resource;
    const ofVersion =
      version === 1
        ? { aud: resource.uri }
        : {
            iss: this.issuer(2),
            aud: resource.clientId,
            azp: clientId,
            azpacr: '2',
            ver: '2.0',
            appid: undefined,
            appidacr: undefined,
          };
    const given = roles.get(clientId);
    return { ...ofVersion, ...(given !== undefined && { roles: given }) };
  }

  #resource(uriOrId: string): EntraResource | undefined {
    return this.#resources.find(({ uri, clientId }) => uri === uriOrId || clientId === uriOrId);
  }

  /** When a token issued here expires, in milliseconds since 1970. */
  expiryOf(token: string): number {
    return this.#issued.get(token)!.expiresAt;
  }

  /** Revokes every token at once, without notice. */
  revokeTokens(): void {
    this.#issued.clear();
  }

  /** Whose token it is, if it was issued here for the resource and is still valid. */
  appOf(token: string, resource: string): EntraApp | undefined {
    const issued = this.#issued.get(token);
    return issued?.resource === resource && issued.expiresAt > Date.now() ? issued.app : undefined;
  }

  protected override async answer(request: RecordedRequest): Promise<Answer> {
    const [, tenant = '', ...rest] = request.path.split('/');
    const place = `${request.method} ${rest.join('/')}`;
    const correlationId = [request.headers['client-request-id'] ?? request.query.get('client-request-id')].flat()[0];
    const refuse = (code: Parameters<typeof entraError>[0], about?: string) =>
      entraError(code, about, correlationId ?? undefined);
    if (tenant.toLowerCase() !== this.tenantId) return refuse(90002, tenant);
    if (place === 'GET v2.0/.well-known/openid-configuration') return json(200, this.#metadata());
    if (place === 'GET discovery/v2.0/keys') return json(200, { keys: [await this.#publicKey()] });
    if (place !== 'POST oauth2/v2.0/token') return { status: 404 };

    const form = new URLSearchParams(request.body);
    const field = (name: string) => form.get(name) ?? '';
    if (field('grant_type') !== 'client_credentials') return refuse(70003);
    const app = this.app(field('client_id'));
    if (app === undefined) return refuse(700016, field('client_id'));
    if (field('client_assertion_type') === ASSERTION_TYPE) {
      const problem = await problemOf(field('client_assertion'), app);
      if (problem !== undefined) return refuse(problem.code, problem.about);
    } else if (!form.has('client_secret')) {
      return refuse(7000216);
    } else if (!app.secrets.has(field('client_secret'))) {
      return refuse(7000215, app.clientId);
    }
    // MSAL adds the scopes of OpenID Connect, which mean nothing without a user.
    const scopes = field('scope')
      .split(' ')
      .filter((scope) => !/^(openid|profile|offline_access)$/.test(scope));
    const resource = /^(.+)\/\.default$/.exec(scopes.join(' '))?.[1];
    if (resource === undefined) return refuse(1002012, field('scope'));
    const exposed = this.#resource(resource);
    if (exposed === undefined && resource !== AZURE_DEVOPS_RESOURCE) return refuse(500011, resource);
    if (exposed?.isAssignmentRequired === true && !exposed.roles.has(app.clientId)) return refuse(501051, app.clientId);
    const seconds = Math.round(this.lifetimeMs / 1_000);
    const token = await this.issue(app, resource);
    return json(200, { token_type: 'Bearer', expires_in: seconds, ext_expires_in: seconds, access_token: token });
  }

  #metadata() {
    const base = `${this.origin}/${this.tenantId}`;
    return {
      issuer: `${base}/v2.0`,
      authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      end_session_endpoint: `${base}/oauth2/v2.0/logout`,
      jwks_uri: `${base}/discovery/v2.0/keys`,
      token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
      response_types_supported: ['code', 'id_token', 'code id_token', 'id_token token'],
      subject_types_supported: ['pairwise'],
      id_token_signing_alg_values_supported: ['RS256'],
      tenant_region_scope: 'EU',
      cloud_instance_name: 'microsoftonline.com',
    };
  }

  async #publicKey() {
    return { ...(await exportJWK(this.#keys.publicKey)), kid: this.#keys.kid, alg: 'RS256', use: 'sig' };
  }
}

/** The first signing key of every tenant in a process, under different names: making an RSA key takes long. */
let firstKey: Promise<KeyPair> | undefined;

async function keyPair(alg: KeyPair['alg']): Promise<KeyPair> {
  return { ...(await generateKeyPair(alg)), alg, kid: newKid() };
}

function newKid(): string {
  return randomBytes(8).toString('hex');
}

function signed(
  { privateKey, alg, kid }: KeyPair,
  claims: Record<string, unknown>,
  lifetimeMs: number,
): Promise<string> {
  const now = Date.now() / 1_000;
  return new SignJWT({ ...claims, iat: Math.floor(now), nbf: Math.floor(now), exp: now + lifetimeMs / 1_000 })
    .setProtectedHeader({ typ: 'JWT', alg, kid })
    .sign(privateKey);
}

/** Why another issuer's token doesn't stand for the application; undefined: it does. */
async function problemOf(assertion: string, app: EntraApp) {
  let claims;
  try {
    claims = decodeJwt(assertion);
  } catch {
    return { code: 50027 } as const;
  }
  const { iss = '', sub = '', aud = [] } = claims;
  const ofIssuer = app.federated.filter(({ issuer }) => issuer === iss);
  if (ofIssuer.length === 0) return { code: 700211, about: iss } as const;
  const identity = ofIssuer.find(({ subject }) => subject === sub);
  if (identity === undefined) {
    const isNear = ofIssuer.some(({ subject }) => subject.toLowerCase() === sub.toLowerCase());
    return { code: isNear ? 7002138 : 700213, about: sub } as const;
  }
  const { publicKey, audience = FEDERATION_AUDIENCE } = identity;
  if (![aud].flat().includes(audience)) return { code: 700212, about: String(aud) } as const;
  try {
    await (typeof publicKey === 'function' ? jwtVerify(assertion, publicKey) : jwtVerify(assertion, publicKey));
    return undefined;
  } catch (error) {
    return { code: error instanceof errors.JWTExpired ? 700024 : 50013 } as const;
  }
}
