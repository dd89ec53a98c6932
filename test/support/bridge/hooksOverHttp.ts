import { createHmac } from 'node:crypto';
import type { AzureDevOps } from '../azureDevOps/azureDevOps.ts';
import type { BridgeOptions } from './bridgeProcess.ts';

/** The secret from which the passwords of projects are derived. */
export const SECRET = 'the-secret-of-the-hooks';

/** The password of a project's subscriptions. */
export function passwordOf(projectId: string): string {
  return createHmac('sha256', SECRET).update(projectId).digest('base64url');
}

/** The configuration of a bridge that accepts these events of the stand-in. */
export function hooksConfiguration(
  nats: string,
  azure: AzureDevOps,
  events: readonly { readonly eventType: string }[],
  listen = '127.0.0.1:0',
): string {
  const names = [...new Set(events.map(({ eventType }) => eventType))];
  return `
nats: { servers: ["${nats}"] }
azureDevOps: { organization: "${azure.url}", identity: { kind: pat, patFile: pat } }
http: { listen: "${listen}", admin: "127.0.0.1:0" }
hooks: { passwordFiles: [secret], events: [${names.map((event) => `{ event: ${event} }`).join(', ')}] }
`;
}

/** The files that {@link hooksConfiguration} names. */
export function hooksFiles(azure: AzureDevOps): BridgeOptions {
  return { files: { pat: azure.pat, secret: SECRET } };
}
