import { isObject } from '../../shared/text/json.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { error, warning, type Finding } from '../finding.ts';
import type { HookEventSettings } from '../settings.ts';
import type { AzureDevOps } from './client.ts';

/** What the findings about the sign-in are about. */
export const AZURE_DEVOPS = 'Azure DevOps';
/** Who Azure DevOps says the caller is when it lets anyone in. */
const NOBODY = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa';

/** Whether the bridge can sign in to its organization, and sees the projects whose hooks it takes. */
export async function checkAzureDevOps(
  azureDevOps: AzureDevOps,
  events: readonly Pick<HookEventSettings, 'project'>[],
): Promise<Finding[]> {
  const findings = await checkSignIn(azureDevOps);
  return findings.length > 0 ? findings : checkProjects(azureDevOps, events);
}

async function checkSignIn(azureDevOps: AzureDevOps): Promise<Finding[]> {
  const outcome = await azureDevOps.ask('_apis/connectionData?connectOptions=none&api-version=7.1-preview.1');
  switch (outcome.kind) {
    case 'ok': {
      const user = isObject(outcome.body) ? outcome.body['authenticatedUser'] : undefined;
      if (isObject(user) && typeof user['id'] === 'string' && user['id'] !== NOBODY) return [];
      azureDevOps.noteTrouble('Azure DevOps answers, but as to somebody who has not signed in');
      return [error(AZURE_DEVOPS, 'it answers, but as to somebody who has not signed in', IDENTITY)];
    }
    case 'signIn':
      return [error(AZURE_DEVOPS, outcome.message, `${IDENTITY} Its credentials may have expired.`)];
    case 'refused':
      azureDevOps.noteTrouble(`Azure DevOps answers with status ${outcome.status}: ${outcome.message}`);
      return [
        error(
          AZURE_DEVOPS,
          outcome.message.includes(`${outcome.status}`)
            ? outcome.message
            : `status ${outcome.status}: ${outcome.message}`,
          `Check azureDevOps.organization. ${IDENTITY}`,
        ),
      ];
    case 'throttled':
      return [warning(AZURE_DEVOPS, `it asks for a pause: ${outcome.message}`, 'Try again later.')];
    case 'unreachable':
      return [
        error(
          AZURE_DEVOPS,
          `it can't be reached: ${outcome.message}`,
          'Check azureDevOps.organization, proxy and caFile.',
        ),
      ];
    case 'open':
      return [error(AZURE_DEVOPS, outcome.message, 'Try again later.')];
  }
}

/** One after the other: Azure DevOps throttles anyone who asks for much at once. */
async function checkProjects(
  azureDevOps: AzureDevOps,
  events: readonly Pick<HookEventSettings, 'project'>[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const seen = new Set(['*']);
  for (const [index, { project }] of events.entries()) {
    if (seen.has(project)) continue;
    seen.add(project);
    const outcome = await azureDevOps.ask(`_apis/projects/${encodeURIComponent(project)}?api-version=7.1`);
    if (outcome.kind === 'ok') continue;
    const about = `hooks.events[${index}].project`;
    if (outcome.kind === 'refused' && outcome.status === 404) {
      const problem = `there is no project ${quoted(project)}, or the bridge's identity may not see it`;
      findings.push(error(about, problem, 'Correct the name, or make the identity a reader of the project.'));
      continue;
    }
    const problem = `can't find out whether there is a project ${quoted(project)}: ${outcome.message}`;
    const remedy = 'Let the identity read projects; a personal access token needs the scope Project and Team (Read).';
    findings.push(warning(about, problem, remedy));
    break;
  }
  return findings;
}

const IDENTITY = 'Check azureDevOps.identity, and that it is a user of the organization.';
