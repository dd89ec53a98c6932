import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Connection } from './connections.ts';
import { renderTemplate, type TemplateScope } from './serverTemplate.ts';

export interface Field {
  readonly id: string;
  /** `textarea` for texts of several lines. */
  readonly inputMode?: string;
}

/** A way to sign in, in the form of a connection type. */
export interface AuthenticationScheme {
  /** `ms.vss-endpoint.endpoint-auth-scheme-token` and the like. */
  readonly type: string;
  readonly inputDescriptors: readonly Field[];
  /** Templates of the headers that server tasks sign in by. */
  readonly headers?: readonly { readonly name: string; readonly value: string }[];
}

/** What is read of the manifest's contribution of a connection type. */
export interface ConnectionType {
  readonly name: string;
  readonly inputDescriptors: readonly Field[];
  readonly authenticationSchemes: readonly AuthenticationScheme[];
}

/** What the agent calls the kinds of authentication, by the name of the scheme in the manifest. */
const SCHEMES: Readonly<Record<string, string>> = {
  none: 'None',
  token: 'Token',
  basic: 'UsernamePassword',
  cert: 'Certificate',
};

/** The manifest of this repository, which has the forms of the connections. */
export const OWN_MANIFEST = path.join(import.meta.dirname, '../vss-extension.json');

/** The manifest in the folder of an unpacked package. */
export function packedManifest(extension: string): string {
  return path.join(extension, 'extension.vsomanifest');
}

/** A connection type of a manifest. Throws an Error when it has none of this name. */
export function connectionType(manifest: string, name: string): ConnectionType {
  const { contributions } = JSON.parse(readFileSync(manifest, 'utf8')) as {
    contributions: readonly { readonly type: string; readonly properties: unknown }[];
  };
  const found = contributions
    .filter(({ type }) => type === 'ms.vss-endpoint.service-endpoint-type')
    .map(({ properties }) => properties as ConnectionType)
    .find((type) => type.name === name);
  if (!found) throw new Error(`${manifest} has no connection type ${name}.`);
  return found;
}

/** The name of a scheme as the agent has it. */
export function schemeName({ type }: AuthenticationScheme): string {
  return SCHEMES[type.slice(type.lastIndexOf('-') + 1)] ?? type;
}

/**
 * The headers that server tasks sign in with through a connection.
 * @param manifest the file that has the connection's type
 */
export function authenticationHeaders(
  manifest: string,
  { type = 'NatsServer', scheme }: Connection,
  scope: TemplateScope,
): Record<string, string> {
  const { authenticationSchemes } = connectionType(manifest, type);
  const { headers = [] } = authenticationSchemes.find((one) => schemeName(one) === scheme) ?? {};
  return Object.fromEntries(headers.map(({ name, value }) => [name, renderTemplate(value, scope)]));
}
