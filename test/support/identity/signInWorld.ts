import { randomUUID } from 'node:crypto';
import { decodeJwt } from 'jose';
import { LocalAgent, type LocalAgentOptions } from '../../../localAgent/index.ts';
import { Entra, type EntraApp, type EntraResource, type FederatedIdentity } from '../azureDevOps/entra.ts';
import type { Feeling, Mood } from '../azureDevOps/standInServer.ts';
import type { LogLine } from '../bridge/bridgeProcess.ts';
import { examplePolicy } from '../bridge/calloutBridge.ts';
import { discoveredKeys } from './discovery.ts';
import type { SignInServer } from './signInServer.ts';
import { startTokenIssuer, type TokenIssuer } from './tokenIssuer.ts';

/** The app roles in the example's policy. */
export const PUBLISH = 'nats.publish.ci.shop';
export const READ = 'nats.read.ci.shop';

/** Deviations from the usual set-up. */
export interface SignInMistakes {
  /** Parts of the application's federated credential. */
  readonly credential?: Partial<FederatedIdentity>;
  /** The roles assigned to the application; undefined: none, not even an empty list. */
  readonly roles?: readonly string[] | undefined;
  readonly isAssignmentRequired?: boolean;
}

/**
 * Everything a step needs to sign in to NATS over TLS: Azure DevOps, which issues ID tokens; Microsoft Entra, where an
 * application trusts them; and a server whose callout accepts the tokens of both, by the example's policy.
 */
export class SignInWorld implements AsyncDisposable {
  static async start(nats: SignInServer, mistakes: SignInMistakes = {}): Promise<SignInWorld> {
    const { authority } = nats;
    const connections = { shop: randomUUID(), bank: randomUUID() };
    const azure = await startTokenIssuer({
      serviceConnections: {
        [connections.shop]: 'sc://my-organisation/shop/nats',
        [connections.bank]: 'sc://my-organisation/bank/nats',
      },
      certificate: await authority.server(),
      pair: nats.pair,
    });
    const entra = await Entra.start(authority);
    const app = entra.register('pipelines');
    app.federated.push({
      issuer: azure.issuers.azureDevOps,
      subject: 'sc://my-organisation/shop/nats',
      publicKey: discoveredKeys(`${azure.issuers.azureDevOps}/.well-known/openid-configuration`, authority.cert),
      ...mistakes.credential,
    });
    const resource = entra.expose({ isAssignmentRequired: mistakes.isAssignmentRequired ?? false });
    const roles = 'roles' in mistakes ? mistakes.roles : [PUBLISH, READ];
    if (roles !== undefined) resource.roles.set(app.clientId, roles);
    const world = new SignInWorld(nats, connections, azure, entra, app, resource);
    const [ofAzureDevOps, ofEntra] = examplePolicy();
    await nats.trust([
      { ...ofAzureDevOps!, issuer: azure.issuers.azureDevOps },
      { ...ofEntra!, issuer: entra.issuer(2), audience: resource.clientId },
    ]);
    return world;
  }

  private constructor(
    readonly nats: SignInServer,
    private readonly connections: Readonly<Record<'shop' | 'bank', string>>,
    readonly azure: TokenIssuer,
    readonly entra: Entra,
    /** The application that the steps sign in as. */
    readonly app: EntraApp,
    /** The tenant's application for NATS. */
    readonly resource: EntraResource,
  ) {}

  /** An agent with a job of the run, whose service connection has these fields; an empty one is left out. */
  agent(changes: Readonly<Record<string, string>> = {}, options: LocalAgentOptions = {}): LocalAgent {
    const fields = {
      inboxPrefix: `_INBOX.${this.app.clientId}`,
      entraTenantId: this.entra.tenantId,
      entraClientId: this.app.clientId,
      entraScope: `${this.resource.uri}/.default`,
      entraAuthority: this.entra.authorityHost,
      ...changes,
    };
    return this.#agent(this.connections.shop, fields, options);
  }

  /** An agent of a project, whose steps sign in with the token of Azure DevOps itself. */
  projectAgent(project: 'shop' | 'bank', options: LocalAgentOptions = {}): LocalAgent {
    return this.#agent(this.connections[project], { inboxPrefix: `_INBOX.${project}` }, options);
  }

  #agent(id: string, fields: Readonly<Record<string, string>>, options: LocalAgentOptions): LocalAgent {
    const given = Object.entries({ oidc: 'true', caCertificate: this.nats.callout.ca, ...fields });
    const data = Object.fromEntries(given.filter(([, text]) => text !== ''));
    return new LocalAgent({
      debug: true,
      ...options,
      variables: {
        'System.OidcRequestUri': this.azure.requestUri,
        'Agent.CAInfo': this.nats.caFile,
        ...options.variables,
      },
      secrets: { 'System.AccessToken': this.azure.accessToken, ...options.secrets },
      connections: { nats: { id, url: this.nats.url, scheme: 'None', data } },
    });
  }

  /** Puts Entra into a mood for token exchanges; the bridge still gets its keys. */
  feel(mood: Mood, feeling: Pick<Feeling, 'times'> = {}): void {
    this.entra.feel(mood, { ...feeling, when: ({ method }) => method === 'POST' });
  }

  /** The bridge's log lines about sign-ins with tokens from this world's Entra. */
  get signIns(): LogLine[] {
    const issuer = this.entra.issuer(2);
    return this.nats.callout.responder.lines.filter(
      (line) => line.event === 'signIn' && [line['issuer'], line['claimedIssuer']].includes(issuer),
    );
  }

  /** The sign-ins, once there are this many. */
  signedIn(count: number): Promise<LogLine[]> {
    return this.nats.callout.responder.until(`${count} sign-ins`, () =>
      this.signIns.length >= count ? this.signIns : undefined,
    );
  }

  /** When each access token expires, from the sign-in's log line. */
  get tokenEnds(): string[] {
    return this.entra.accessTokens.map((token) =>
      new Date(Math.floor(decodeJwt(token).exp ?? 0) * 1_000).toISOString(),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.entra.stop();
    await this.azure.stop();
  }
}
