import { quoted } from '../../../shared/text/safeText.ts';
import { parseServerUrl } from '../http.ts';

/** Microsoft's public cloud; the clouds of the US government and of China have others. */
const PUBLIC_AUTHORITY = 'https://login.microsoftonline.com';
const GUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;
const DOMAIN = /^(?=.{4,253}$)[a-z\d](?:[a-z\d-]*[a-z\d])?(?:\.[a-z\d](?:[a-z\d-]*[a-z\d])?)+$/i;
const ALL_OF_RESOURCE = '/.default';

/** The Microsoft Entra application that a step signs in as, and the scope it asks for. None of it is secret. */
export interface EntraApplication {
  readonly tenant: string;
  readonly clientId: string;
  readonly scope: string;
  /** Where to get tokens. */
  readonly tokenUrl: URL;
}

/** Notes what is wrong with a field of the connection. */
type Note = (field: string, problem: string, remedy?: string) => void;

const NEEDED = ['entraTenantId', 'entraClientId', 'entraScope'] as const;

/**
 * Reads the fields of a service connection that begin with `entra`.
 *
 * @param data the text of a field, undefined where it is empty
 * @returns undefined when none is filled in, or, with a noted problem, when they are wrong
 */
export function readEntraApplication(
  data: (name: string) => string | undefined,
  usesOidc: boolean,
  note: Note,
): EntraApplication | undefined {
  const valueOf = (name: string) => data(name)?.trim() ?? '';
  const given = [...NEEDED, 'entraAuthority'].filter((name) => valueOf(name) !== '');
  const [first] = given;
  if (first === undefined) return undefined;
  if (!usesOidc) {
    note(
      first,
      "is filled in, and oidc isn't set",
      'Microsoft Entra gives its token for the ID token of the run: set oidc, or clear the fields that begin with "entra".',
    );
  }
  for (const name of NEEDED.filter((one) => !given.includes(one)))
    note(name, `is empty, and ${first} isn't`, 'Fill in entraTenantId, entraClientId and entraScope, or none of them.');

  const [tenant, clientId, scope] = NEEDED.map(valueOf) as [string, string, string];
  const isTenant = tenant !== '' && checkTenant(tenant, note);
  if (clientId !== '' && !GUID.test(clientId)) {
    const remedy =
      'Give the Application (client) ID, not the name or the object ID: the Overview of the application has it.';
    note('entraClientId', `is ${quoted(clientId)}, not a GUID`, remedy);
  }
  if (scope !== '') checkScope(scope, note);
  const authority = readAuthority(valueOf('entraAuthority'), note);
  if (authority === undefined || !isTenant) return undefined;
  return { tenant, clientId, scope, tokenUrl: new URL(`/${tenant}/oauth2/v2.0/token`, authority) };
}

/** Whether it is one, which can go into a URL as it is. */
function checkTenant(tenant: string, note: Note): boolean {
  if (GUID.test(tenant)) return true;
  if (/^(?:common|organizations|consumers)$/i.test(tenant)) {
    const remedy = 'A service principal signs in to its own tenant: give its Tenant ID.';
    note('entraTenantId', `is ${quoted(tenant)}, which stands for any tenant`, remedy);
  } else if (DOMAIN.test(tenant)) {
    return true;
  } else {
    const remedy =
      "Give the Tenant ID of the Microsoft Entra admin center's Overview, or a domain such as contoso.onmicrosoft.com.";
    note('entraTenantId', `is ${quoted(tenant)}, neither a GUID nor a domain`, remedy);
  }
  return false;
}

/** A service principal has app roles and can't choose scopes: it asks for everything it was granted on one application. */
function checkScope(scope: string, note: Note): void {
  const isAll = scope.endsWith(ALL_OF_RESOURCE);
  const resource = isAll ? scope.slice(0, -ALL_OF_RESOURCE.length) : scope;
  const isResource = GUID.test(resource) || /^(?:api|https):\/\/[^\s/"\\][^\s"\\]*$/.test(resource);
  if (isAll && isResource) return;
  const remedy = isResource
    ? `Write ${quoted(`${applicationOf(resource)}${ALL_OF_RESOURCE}`)}.`
    : 'Write the Application ID URI of the NATS application (its page Expose an API) and "/.default", such as "api://nats/.default".';
  const problem = isResource
    ? `is ${quoted(scope)}, without "${ALL_OF_RESOURCE}"`
    : `is ${quoted(scope)}, not one scope of an application`;
  note('entraScope', problem, remedy);
}

/** `api://nats/Events.Publish` names a scope of `api://nats`. */
function applicationOf(resource: string): string {
  return resource.replace(/^(api:\/\/[^/]+)\/[^/]*$/, '$1').replace(/\/$/, '');
}

function readAuthority(text: string, note: Note): URL | undefined {
  const url = parseServerUrl(text === '' ? PUBLIC_AUTHORITY : text);
  const example = `Write the host alone, such as ${PUBLIC_AUTHORITY}.`;
  if (url === undefined) note('entraAuthority', 'is not an https:// URL, and tokens are sent to no other', example);
  else if (url.username !== '' || url.password !== '')
    note('entraAuthority', 'holds a user name or password, and none is needed', example);
  else if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    note('entraAuthority', 'holds more than a host', `${example} The tenant goes into entraTenantId.`);
  else return url;
  return undefined;
}
