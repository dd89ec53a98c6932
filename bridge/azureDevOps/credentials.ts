import {
  ClientSecretCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
  type AccessToken,
  type TokenCredential as Credential,
  type TokenCredentialOptions,
} from '@azure/identity';
import type { Connection, IdentitySettings } from '../settings.ts';

export type { AccessToken, Credential };

/** What gets tokens. */
export type TokenIdentity = Exclude<IdentitySettings, { kind: 'pat' }>;

/** A second look for what changes nothing would help. */
const RETRIES = 1;

/** @param secret of the client, where it has one */
export function newCredential(identity: TokenIdentity, secret: string, connection: Connection): Credential {
  switch (identity.kind) {
    case 'clientSecret': {
      const { tenantId, clientId, authorityHost } = identity;
      return new ClientSecretCredential(tenantId, clientId, secret, optionsOf(connection, authorityHost));
    }
    case 'workloadIdentity': {
      const { tenantId, clientId, tokenFile: tokenFilePath, authorityHost } = identity;
      return new WorkloadIdentityCredential({
        ...optionsOf(connection, authorityHost),
        tenantId,
        clientId,
        tokenFilePath,
      });
    }
    case 'managedIdentity': {
      // The endpoint is on this machine: no proxy stands before it.
      const { clientId } = identity;
      const retryOptions = { maxRetries: RETRIES };
      return new ManagedIdentityCredential({ ...(clientId === undefined ? {} : { clientId }), retryOptions });
    }
  }
}

function optionsOf(
  { proxy, ca }: Connection,
  authorityHost: string,
): TokenCredentialOptions & { disableInstanceDiscovery: boolean } {
  const { protocol, hostname, port } = new URL(proxy || 'http://none');
  return {
    authorityHost,
    // Whoever writes the configuration vouches for the authority, so nobody else has to be asked about it.
    disableInstanceDiscovery: true,
    retryOptions: { maxRetries: RETRIES },
    ...(ca === undefined ? {} : { tlsOptions: { ca } }),
    ...(proxy === ''
      ? {}
      : {
          proxyOptions: {
            host: `${protocol}//${hostname}`,
            port: Number(port || (protocol === 'https:' ? 443 : 80)),
          },
        }),
  };
}
