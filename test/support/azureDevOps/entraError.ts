import { randomUUID } from 'node:crypto';
import { json, type Answer } from './standInServer.ts';

/** From Microsoft's list of AADSTS codes: the HTTP status, the OAuth error and the sentence. */
const CODES = {
  50013: [401, 'invalid_client', 'Assertion failed signature validation.'],
  50027: [400, 'invalid_request', 'JWT token is invalid or malformed.'],
  70003: [400, 'unsupported_grant_type', 'The app requested an unsupported grant type.'],
  90002: [400, 'invalid_request', "Tenant '{}' not found. Check to make sure you have the correct tenant ID."],
  500011: [400, 'invalid_resource', 'The resource principal named {} was not found in the tenant.'],
  501051: [400, 'invalid_grant', "Application '{}' is not assigned to a role for the application."],
  65001: [400, 'invalid_grant', "The user or administrator has not consented to use the application with ID '{}'."],
  700016: [400, 'unauthorized_client', "Application with identifier '{}' was not found in the directory."],
  700024: [401, 'invalid_client', 'Client assertion is not within its valid time range.'],
  700211: [401, 'invalid_client', "No matching federated identity record found for presented assertion issuer '{}'."],
  700212: [401, 'invalid_client', "No matching federated identity record found for presented assertion audience '{}'."],
  700213: [401, 'invalid_client', "No matching federated identity record found for presented assertion subject '{}'."],
  7002138: [
    401,
    'invalid_client',
    "No matching federated identity record found for presented assertion subject '{}'. The subject matches with " +
      'case-insensitive comparison, but not with case-sensitive comparison.',
  ],
  1002012: [400, 'invalid_scope', 'The provided value for scope {} is not valid. It must end in /.default.'],
  7000215: [
    401,
    'invalid_client',
    'Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the ' +
      "client secret ID, for a secret added to app '{}'.",
  ],
  7000216: [401, 'invalid_client', "'client_assertion', 'client_secret' or 'request' is required."],
} as const;

export type EntraCode = keyof typeof CODES;

/** An error as the token endpoint writes it (OAuth 2.0 client credentials page, "Error response"). */
export function entraError(code: EntraCode, about = '', correlationId: string = randomUUID()): Answer {
  const [status, error, sentence] = CODES[code];
  const traceId = randomUUID();
  const timestamp = `${new Date().toISOString().slice(0, 19).replace('T', ' ')}Z`;
  return json(status, {
    error,
    error_description:
      `AADSTS${code}: ${sentence.replace('{}', about)} Trace ID: ${traceId} Correlation ID: ${correlationId} ` +
      `Timestamp: ${timestamp}`,
    error_codes: [code],
    ...{ timestamp, trace_id: traceId, correlation_id: correlationId },
    error_uri: `https://login.microsoftonline.com/error?code=${code}`,
  });
}
