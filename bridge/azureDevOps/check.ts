import { isObject } from '../../shared/text/json.ts';
import { error, warning, type Finding } from '../finding.ts';
import type { AzureDevOps } from './client.ts';

const ABOUT = 'Azure DevOps';
/** Whom Azure DevOps takes for the caller where it lets anybody in. */
const NOBODY = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa';

/** Whether the bridge can sign in to its organization. */
export async function checkAzureDevOps(azureDevOps: AzureDevOps): Promise<Finding[]> {
  const outcome = await azureDevOps.ask('_apis/connectionData?connectOptions=none&api-version=7.1-preview.1');
  switch (outcome.kind) {
    case 'ok': {
      const user = isObject(outcome.body) ? outcome.body['authenticatedUser'] : undefined;
      if (isObject(user) && typeof user['id'] === 'string' && user['id'] !== NOBODY) return [];
      return [error(ABOUT, 'it answers, but as to somebody who has not signed in', IDENTITY)];
    }
    case 'signIn':
      return [error(ABOUT, outcome.message, IDENTITY)];
    case 'refused':
      return [
        error(ABOUT, `status ${outcome.status}: ${outcome.message}`, `Check azureDevOps.organization. ${IDENTITY}`),
      ];
    case 'throttled':
      return [warning(ABOUT, `it asks for a pause: ${outcome.message}`, 'Try again later.')];
    case 'unreachable':
      return [
        error(ABOUT, `it can't be reached: ${outcome.message}`, 'Check azureDevOps.organization, proxy and caFile.'),
      ];
    case 'open':
      return [error(ABOUT, outcome.message, 'Try again later.')];
  }
}

const IDENTITY = 'Check azureDevOps.identity, and that it is a user of the organization.';
