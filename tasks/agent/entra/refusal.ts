import type { Problem } from '../../../shared/errors.ts';
import { quoted, safeText } from '../../../shared/text/safeText.ts';
import type { HttpAnswer } from '../http.ts';
import type { IdTokenClaims } from '../oidc.ts';
import { JWT } from '../secrets.ts';
import type { EntraApplication } from './application.ts';

/** Longest text from Microsoft Entra that is shown. */
const MAX_TEXT = 500;

/** Who asked, and what the ID token that was presented said. */
type Asked = EntraApplication & IdTokenClaims;

/**
 * What an answer without a token means, to follow the responder's name, and what to do about it on which page.
 *
 * @returns `Unreachable` where asking again later may help
 */
export function refusalOf(
  { status, retryAfterMs }: Pick<HttpAnswer, 'status' | 'retryAfterMs'>,
  body: Readonly<Record<string, unknown>> | undefined,
  application: EntraApplication,
  claims: IdTokenClaims,
): Required<Problem> {
  const reason = reasonIn(body);
  const said = reason === undefined ? `answered with HTTP status ${status}` : `said: ${reason}`;
  if (status === 429 || status === 408 || status >= 500 || body?.['error'] === 'temporarily_unavailable') {
    const seconds = Math.ceil((retryAfterMs ?? 0) / 1_000);
    const remedy =
      seconds === 0 ? 'Run the step again.' : `It asked for a pause of ${seconds} s. Run the step again then.`;
    return { code: 'Unreachable', problem: said, remedy };
  }
  if (reason !== undefined)
    return { code: 'Denied', problem: said, remedy: remedyFor(codeIn(body), { ...application, ...claims }) };
  if (status >= 300 && status < 400) {
    const remedy = 'Redirects are not followed. Check entraAuthority in the connection, and the proxy.';
    return { code: 'Unsupported', problem: said, remedy };
  }
  if (status === 200) {
    const remedy = 'Something between this agent and Microsoft Entra may have answered in its place: check the proxy.';
    return { code: 'Unreachable', problem: 'answered with something other than JSON', remedy };
  }
  return { code: 'Unsupported', problem: said, remedy: 'Check entraAuthority and entraTenantId in the connection.' };
}

/** Microsoft Entra's code and text, made harmless; undefined when there are none. */
function reasonIn(body: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const { error, error_description: description } = body ?? {};
  const text = [description, error].find((one) => typeof one === 'string' && one.trim() !== '');
  if (typeof text !== 'string') return undefined;
  // It ends with a full stop, which the message adds itself.
  const line = text.replace(JWT, '***').replace(/\s+/g, ' ').trim().replace(/\.$/, '');
  return safeText(line, MAX_TEXT);
}

function codeIn(body: Readonly<Record<string, unknown>> | undefined): number | undefined {
  const { error_description: description, error_codes: codes } = body ?? {};
  const told = typeof description === 'string' ? /\bAADSTS(\d{4,9})\b/.exec(description)?.[1] : undefined;
  const [listed] = Array.isArray(codes) ? (codes as unknown[]) : [];
  return told === undefined ? (typeof listed === 'number' ? listed : undefined) : Number(told);
}

const OPEN = 'In the Microsoft Entra admin center, open';

/** Sends the person to a page of the application that the step signs in as. */
function pageOf({ clientId }: Asked, page: string): string {
  return `${OPEN} App registrations, the application ${clientId}, ${page}`;
}

const FEDERATED = 'Certificates & secrets, Federated credentials';

function shown(claim: string | undefined): string {
  return claim === undefined ? 'what the line idToken of this log has' : quoted(safeText(claim));
}

const NEW_CREDENTIAL = 'A new credential takes some minutes to work.';

/** What to do, by the codes of Microsoft Entra that call for it. */
const REMEDIES: readonly (readonly [codes: readonly number[], remedy: (asked: Asked) => string])[] = [
  [
    [700213, 7002137, 7002138],
    (asked) =>
      `${pageOf(asked, FEDERATED)}, and set Subject identifier to ${shown(asked.subject)}, upper and lower case as here. The subject changes when the organization, the project or the service connection is renamed. ${NEW_CREDENTIAL}`,
  ],
  [[700212], (asked) => `${pageOf(asked, FEDERATED)}, and set Audience to ${shown(asked.audience)}. ${NEW_CREDENTIAL}`],
  [[700211], (asked) => `${pageOf(asked, FEDERATED)}, and set Issuer to ${shown(asked.issuer)}. ${NEW_CREDENTIAL}`],
  [
    [70021],
    (asked) =>
      `${pageOf(asked, FEDERATED)}, and add one with the issuer ${shown(asked.issuer)}, the subject identifier ${shown(asked.subject)} and the audience ${shown(asked.audience)}, upper and lower case as here. ${NEW_CREDENTIAL}`,
  ],
  [
    [501051, 50105],
    (asked) =>
      `${pageOf(asked, 'API permissions')}, add an application permission (app role) of the NATS application, and grant admin consent. A managed identity gets the role by Microsoft Graph or PowerShell (appRoleAssignments).`,
  ],
  [
    [65001, 650056, 650057],
    (asked) =>
      `${pageOf(asked, 'API permissions')}, add the NATS application of entraScope (${quoted(asked.scope)}) if it isn't listed, and choose Grant admin consent.`,
  ],
  [
    [500011, 650052],
    ({ scope, tenant }) =>
      `Compare entraScope (${quoted(scope)}) with the Application ID URI of the NATS application (App registrations, the NATS application, Expose an API). That application must be in the tenant ${tenant}: see Enterprise applications, and have an administrator of the tenant consent to it where it belongs to another one.`,
  ],
  [
    [90002, 900021, 900023],
    () =>
      `${OPEN} Overview, and copy its Tenant ID to entraTenantId. In the cloud of the US government or of China, set entraAuthority as well.`,
  ],
  [
    [700016, 7000229],
    ({ tenant }) =>
      `${OPEN} App registrations, the application, Overview, and copy its Application (client) ID, not its object ID, to entraClientId. It must be in the tenant of entraTenantId (${tenant}).`,
  ],
  [
    [7000112],
    ({ clientId }) =>
      `${OPEN} Enterprise applications, the application ${clientId}, Properties, and set "Enabled for users to sign in" to Yes.`,
  ],
  [
    [70011, 1002012],
    () =>
      'Set entraScope to the Application ID URI of the NATS application (App registrations, the NATS application, Expose an API) and "/.default".',
  ],
  [
    [50013, 700027],
    (asked) => `${pageOf(asked, FEDERATED)}, check that Issuer is ${shown(asked.issuer)}, and run the step again.`,
  ],
  [[700024], () => 'Run the step again: the ID token of the run had expired before it arrived.'],
  [
    [7000215, 7000216, 7000218],
    () =>
      'The request did not arrive as this step sent it, with an assertion and without a secret: check the proxy, and entraAuthority in the connection.',
  ],
  [
    [53003],
    () =>
      `${OPEN} Conditional Access, Policies, and let this agent's addresses in where a policy for workload identities is about the application.`,
  ],
];

function remedyFor(code: number | undefined, asked: Asked): string {
  const remedy = REMEDIES.find(([codes]) => code !== undefined && codes.includes(code))?.[1];
  if (remedy !== undefined) return remedy(asked);
  const log = `${OPEN} Enterprise applications, Sign-in logs, Service principal sign-ins, and see why.`;
  return code === undefined
    ? log
    : `${log} The code is explained at https://login.microsoftonline.com/error?code=${code}.`;
}
