import { holdsCertificates } from '../../shared/connection/certificate.ts';
import { shown } from './shown.ts';
import type { AzureDevOpsSettings, IdentitySettings } from '../settings.ts';
import { readPemFile } from './pemFile.ts';
import { readSecretFile } from './secrets.ts';
import type { Section } from './section.ts';
import { holdsSecret, readUrl } from './urls.ts';

const AUTHORITY_HOST = 'https://login.microsoftonline.com';

type Kind = IdentitySettings['kind'];

/** The keys that each kind of identity knows. */
const KEYS: Readonly<Record<Kind, readonly string[]>> = {
  pat: ['patFile', 'patEnv'],
  clientSecret: ['tenantId', 'clientId', 'clientSecretFile', 'clientSecretEnv', 'authorityHost'],
  workloadIdentity: ['tenantId', 'clientId', 'tokenFile', 'authorityHost'],
  managedIdentity: ['clientId'],
};

/** Reads `azureDevOps`. */
export function readAzureDevOps(section: Section): AzureDevOpsSettings {
  const organization = readOrganization(section);
  return {
    ...organization,
    identity: readIdentity(section.section('identity')) ?? { kind: 'managedIdentity', clientId: undefined },
    proxy: readProxy(section),
    ca: readPemFile(section, 'caFile', holdsCertificates),
  };
}

function readOrganization(section: Section): { organization: string; organizationName: string } {
  const url = readUrl(section, 'organization');
  // An empty string counts as missing, which the schema doesn't see.
  if (section.keys.includes('organization') && !section.has('organization'))
    section.note('organization', 'is required');
  const organization = url && organizationOf(url);
  if (url !== undefined && organization === undefined)
    section.note(
      'organization',
      `${shown(section.text('organization') ?? '')} ${NO_ORGANIZATION[0]}`,
      NO_ORGANIZATION[1],
    );
  return organization ?? { organization: '', organizationName: '' };
}

/** The problem with a URL that {@link organizationOf} doesn't recognise, and what to do. */
export const NO_ORGANIZATION = [
  'is not the URL of an organization',
  'Write it like https://dev.azure.com/contoso/.',
] as const;

/** The organization that a URL names, with closing slash; undefined where it names none. */
export function organizationOf(url: URL): { organization: string; organizationName: string } | undefined {
  const parts = url.pathname.split('/').filter(Boolean);
  const [name = /^([\w-]+)\.visualstudio\.com$/i.exec(url.hostname)?.[1]] = parts;
  if (parts.length > 1 || name === undefined || url.search !== '' || url.hash !== '') return undefined;
  const pathname = parts.map((part) => `/${part}`).join('') + '/';
  return { organization: new URL(pathname, url).href, organizationName: decodeURIComponent(name) };
}

/** Reads `proxy` of a section; empty for none. */
export function readProxy(section: Section): string {
  const text = section.text('proxy');
  if (text === undefined) return '';
  // The proxy only relays traffic encrypted for Azure DevOps, so the connection to it may be unencrypted.
  if (holdsSecret(section, 'proxy', text)) return '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url.href;
  section.note('proxy', `${shown(text)} is not a URL of a proxy`, 'Write it like http://proxy.example.com:3128.');
  return '';
}

/** Reads an identity; undefined, with a noted problem, when its kind is unknown or something is missing. */
export function readIdentity(section: Section): IdentitySettings | undefined {
  const kind = section.text('kind') as Kind | undefined;
  if (kind === undefined || !Object.hasOwn(KEYS, kind)) {
    if (!section.isEmpty && section.path[0] !== 'azureDevOps') section.note('kind', 'is required');
    return undefined;
  }
  for (const key of section.keys) {
    if (key === 'kind' || KEYS[kind].includes(key) || !section.has(key)) continue;
    if (Object.values(KEYS).flat().includes(key)) section.note(key, `does not belong to kind ${kind}`, 'Remove it.');
  }
  const { env, isOffline } = section.surroundings;
  /** A required text, from the configuration or, if a variable is named, the environment. */
  const needed = (key: string, variable?: string): string => {
    const text = section.text(key) ?? (variable === undefined ? undefined : env[variable]);
    if (text) return text;
    if (isOffline && variable !== undefined) {
      section.warn(key, `${variable} isn't set here, so it wasn't checked`);
      return '';
    }
    section.note(
      key,
      `is required for kind ${kind}`,
      variable === undefined ? '' : `Otherwise, the environment variable ${variable} gives it.`,
    );
    return '';
  };
  switch (kind) {
    case 'pat': {
      const pat = section.secret('pat');
      if (pat === undefined && !section.has('patFile') && !section.has('patEnv')) needed('patFile');
      return pat && { kind, pat };
    }
    case 'clientSecret': {
      const clientSecret = section.secret('clientSecret');
      if (clientSecret === undefined && !section.has('clientSecretFile') && !section.has('clientSecretEnv'))
        needed('clientSecretFile');
      const [tenantId, clientId] = [needed('tenantId'), needed('clientId')];
      const authorityHost = readAuthorityHost(section, undefined);
      return clientSecret && { kind, tenantId, clientId, clientSecret, authorityHost };
    }
    case 'workloadIdentity': {
      const [tenantId, clientId] = [needed('tenantId', 'AZURE_TENANT_ID'), needed('clientId', 'AZURE_CLIENT_ID')];
      const tokenFile = section.file('tokenFile') ?? needed('tokenFile', 'AZURE_FEDERATED_TOKEN_FILE');
      const isHere = tokenFile !== '' && !section.isElsewhere(['tokenFile'], tokenFile, tokenFile);
      const token = isHere ? readSecretFile(tokenFile) : '';
      if (typeof token !== 'string') section.note('tokenFile', `${shown(tokenFile)} ${token.problem}`, token.remedy);
      return {
        kind,
        tenantId,
        clientId,
        tokenFile,
        authorityHost: readAuthorityHost(section, env['AZURE_AUTHORITY_HOST']),
      };
    }
    case 'managedIdentity':
      return { kind, clientId: section.text('clientId') };
  }
}

function readAuthorityHost(section: Section, otherwise: string | undefined): string {
  const text = section.text('authorityHost') ?? (otherwise || AUTHORITY_HOST);
  if (holdsSecret(section, 'authorityHost', text)) return AUTHORITY_HOST;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' && url.pathname === '/' && url.search === '') return url.origin;
  section.note(
    'authorityHost',
    `${shown(text)} is not an https:// URL without a path`,
    `Write it like ${AUTHORITY_HOST}.`,
  );
  return AUTHORITY_HOST;
}
