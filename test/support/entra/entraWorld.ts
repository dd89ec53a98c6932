import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { LocalAgent, temporaryFolder, type LocalAgentOptions } from '../../../localAgent/index.ts';
import { startOidcIssuer, type OidcIssuer } from '../agent/oidcIssuer.ts';
import { Entra, type EntraApp, type EntraResource, type FederatedIdentity } from '../azureDevOps/entra.ts';
import { createAuthority } from '../nats/certificates.ts';
import { discoveredKeys } from './discovery.ts';
import { EntraCallout, ROLE } from './entraCallout.ts';

/** What of the usual set-up is different. */
export interface EntraMistakes {
  /** Parts of the application's federated credential. */
  readonly credential?: Partial<FederatedIdentity>;
  /** The roles that the application was given; undefined: none, not even an empty list. */
  readonly roles?: readonly string[] | undefined;
  readonly isAssignmentRequired?: boolean;
}

/**
 * All that a step needs to sign in to NATS as a service principal, over TLS: Azure DevOps, which issues the run's ID tokens;
 * Microsoft Entra, where an application trusts them; and a NATS server that takes the access tokens.
 */
export class EntraWorld implements AsyncDisposable {
  static async start(mistakes: EntraMistakes = {}): Promise<EntraWorld> {
    const authority = await createAuthority();
    const connectionId = randomUUID();
    const azure = await startOidcIssuer({
      serviceConnections: { [connectionId]: 'nats' },
      certificate: await authority.server(),
    });
    const entra = await Entra.start(authority);
    const app = entra.register('pipelines');
    app.federated.push({
      issuer: azure.url,
      subject: azure.subject('nats'),
      publicKey: discoveredKeys(`${azure.url}/.well-known/openid-configuration`, authority.cert),
      ...mistakes.credential,
    });
    const resource = entra.expose({ isAssignmentRequired: mistakes.isAssignmentRequired ?? false });
    const roles = 'roles' in mistakes ? mistakes.roles : [ROLE];
    if (roles !== undefined) resource.roles.set(app.clientId, roles);
    const nats = await EntraCallout.start(entra, authority.cert, resource).catch(async (error: unknown) => {
      await Promise.all([entra.stop(), azure.stop()]);
      throw error;
    });
    return new EntraWorld(authority.cert, connectionId, azure, entra, app, resource, nats);
  }

  readonly #caFile = path.join(temporaryFolder('entra-world-'), 'ca.pem');

  private constructor(
    ca: string,
    private readonly connectionId: string,
    readonly azure: OidcIssuer,
    readonly entra: Entra,
    /** What the steps sign in as. */
    readonly app: EntraApp,
    /** What NATS is in the tenant. */
    readonly resource: EntraResource,
    readonly nats: EntraCallout,
  ) {
    writeFileSync(this.#caFile, ca);
  }

  /** The fields of the service connection; an empty one is left out. */
  fields(changes: Readonly<Record<string, string>> = {}): Record<string, string> {
    const fields = {
      oidc: 'true',
      caCertificate: this.nats.authority.cert,
      entraTenantId: this.entra.tenantId,
      entraClientId: this.app.clientId,
      entraScope: `${this.resource.uri}/.default`,
      entraAuthority: this.entra.authorityHost,
      ...changes,
    };
    return Object.fromEntries(Object.entries(fields).filter(([, text]) => text !== ''));
  }

  /** An agent with a job of the run. */
  agent(changes: Readonly<Record<string, string>> = {}, options: LocalAgentOptions = {}): LocalAgent {
    return new LocalAgent({
      debug: true,
      ...options,
      variables: {
        'System.OidcRequestUri': this.azure.requestUri,
        'Agent.CAInfo': this.#caFile,
        ...options.variables,
      },
      secrets: { 'System.AccessToken': this.azure.accessToken, ...options.secrets },
      connections: {
        nats: { id: this.connectionId, url: this.nats.url, scheme: 'None', data: this.fields(changes) },
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nats[Symbol.asyncDispose]();
    await this.entra.stop();
    await this.azure.stop();
  }
}
