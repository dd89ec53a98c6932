import { EventEmitter, once } from 'node:events';
import { jwtVerify } from 'jose';
import { connect, type Msg, type NatsConnection, type TlsOptions } from 'nats';
import { createAccount, decode, encodeAuthorizationResponse, encodeUser, type AuthorizationRequest } from 'nats-jwt';
import { temporaryFolder } from '../../../localAgent/vsix.ts';
import type { Entra, EntraResource } from '../azureDevOps/entra.ts';
import { createAuthority, saveCertificate, type Authority } from '../nats/certificates.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { discoveredKeys } from './discovery.ts';

/** What the access token of a client that may use `ci.>` has among its roles. */
export const ROLE = 'nats.ci';
const ADMIN = { user: 'admin', pass: 'admin-0123456789' };
const RESPONDER = { user: 'responder', pass: 'responder-0123456789' };
const WITHIN_MS = 30_000;
const ALL_OF_CI = ['ci.>', '$JS.API.>', '_INBOX.>'];

/** A client that has shown a token. */
export interface SignIn {
  readonly token: string;
  /** Why it was refused; undefined: it wasn't. */
  readonly refusal: string | undefined;
}

/**
 * A NATS server with TLS that takes access tokens of an application of Microsoft Entra: by an auth callout, whose users end
 * with their tokens. Its stream `CI` captures `ci.>`.
 */
export class EntraCallout implements AsyncDisposable {
  readonly signIns: SignIn[] = [];
  #server: NatsServer | undefined;
  #admin: NatsConnection | undefined;
  #responder: NatsConnection | undefined;
  readonly #issuer = createAccount();
  readonly #arrivals = new EventEmitter();
  readonly #verify: (token: string) => Promise<{ exp?: number; roles?: unknown; azp?: unknown }>;

  static async start(entra: Entra, ca: string, resource: EntraResource): Promise<EntraCallout> {
    const callout = new EntraCallout(entra, ca, resource, await createAuthority());
    try {
      await callout.#start();
      return callout;
    } catch (error) {
      await callout[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(
    entra: Entra,
    ca: string,
    resource: EntraResource,
    /** Vouches for the server. */
    readonly authority: Authority,
  ) {
    const keys = discoveredKeys(`${entra.origin}/${entra.tenantId}/v2.0/.well-known/openid-configuration`, ca);
    this.#verify = async (token) => {
      const expected = { issuer: entra.issuer(2), audience: resource.clientId, algorithms: ['RS256'] };
      return (await jwtVerify(token, keys, expected)).payload;
    };
  }

  /** The URL of a step's service connection. */
  get url(): string {
    return this.#server!.url.replace('nats:', 'tls:');
  }

  /** Publishes as an administrator does, whose sign-in has nothing to do with Entra. */
  async publish(subject: string, payload: string): Promise<void> {
    await this.#admin!.jetstream().publish(subject, payload);
  }

  /** Resolves once so many clients have shown a token; rejects after half a minute. */
  async signedIn(count: number): Promise<void> {
    const signal = AbortSignal.timeout(WITHIN_MS);
    while (this.signIns.length < count) await once(this.#arrivals, 'signIn', { signal });
  }

  async #start(): Promise<void> {
    const user = ({ user: name, pass }: typeof ADMIN) => `{ user: ${name}, password: ${pass} }`;
    this.#server = await startNatsServer({
      binary: natsServerBinary('2.15'),
      tls: saveCertificate(temporaryFolder('entra-nats-'), 'server', await this.authority.server()),
      config: `
        accounts {
          CI { jetstream: enabled, users: [${user(ADMIN)}] }
          AUTH { users: [${user(RESPONDER)}] }
        }
        authorization {
          timeout: 5
          auth_callout { issuer: ${this.#issuer.getPublicKey()}, account: AUTH, auth_users: [admin, responder] }
        }`,
    });
    this.#responder = await this.#connect(RESPONDER);
    this.#responder.subscribe('$SYS.REQ.USER.AUTH', { callback: (_, message) => void this.#answer(message) });
    await this.#responder.flush();
    this.#admin = await this.#connect(ADMIN);
    await (await this.#admin.jetstreamManager()).streams.add({ name: 'CI', subjects: ['ci.>'] });
  }

  #connect(user: typeof ADMIN): Promise<NatsConnection> {
    // Without `host` the client library checks the certificate of an address against the name localhost.
    const tls = { ca: this.authority.cert, host: '127.0.0.1' } as TlsOptions;
    return connect({ servers: this.#server!.url, ...user, tls });
  }

  async #answer(message: Msg): Promise<void> {
    const { nats } = decode<AuthorizationRequest>(message.string());
    const { user_nkey: user, server_id: server, connect_opts: shown } = nats as AuthorizationRequest;
    const verdict = await this.#judge(shown.auth_token ?? '', user);
    this.signIns.push({ token: shown.auth_token ?? '', refusal: 'error' in verdict ? verdict.error : undefined });
    this.#arrivals.emit('signIn');
    message.respond(
      new TextEncoder().encode(await encodeAuthorizationResponse(user, server.id, this.#issuer, verdict, {})),
    );
  }

  async #judge(token: string, user: string): Promise<{ jwt: string } | { error: string }> {
    try {
      const { exp, roles, azp } = await this.#verify(token);
      if (!Array.isArray(roles) || !roles.includes(ROLE)) return { error: 'no role' };
      const permissions = { pub: { allow: ALL_OF_CI, deny: [] }, sub: { allow: ALL_OF_CI, deny: [] } };
      return {
        jwt: await encodeUser(String(azp), user, this.#issuer, permissions, { exp: Math.floor(exp ?? 0), aud: 'CI' }),
      };
    } catch (error) {
      return { error: String(error) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin?.close();
    await this.#responder?.close();
    await this.#server?.stop();
  }
}
