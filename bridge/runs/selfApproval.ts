import { isObject } from '../../shared/text/json.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { AzureDevOps } from '../azureDevOps/client.ts';
import { yamlValue } from '../config/yamlFile.ts';
import { warning, type Finding } from '../finding.ts';

/** Environments of one pipeline that are looked at. */
const MOST_ENVIRONMENTS = 20;

/**
 * Environments whose approval relies on who requested the run: that is the bridge, so the author of an event may approve
 * the run it starts. What the identity may not see is left out.
 *
 * @param yaml the pipeline as a preview has it
 */
export async function selfApprovalFindings(
  about: string,
  project: string,
  yaml: string,
  azureDevOps: Pick<AzureDevOps, 'call'>,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const name of environmentsIn(yaml).slice(0, MOST_ENVIRONMENTS)) {
    if (!(await forbidsRequester(project, name, azureDevOps))) continue;
    findings.push(
      warning(
        about,
        `the environment ${quoted(name)} has an approval that the requester of a run may not give, but the requester is the bridge's identity, not the author of the event`,
        "Have people approve who can't publish on the route's subject, or show them the event's requester: see Approvals in docs/bridge/security.md.",
      ),
    );
  }
  return findings;
}

async function forbidsRequester(
  project: string,
  name: string,
  azureDevOps: Pick<AzureDevOps, 'call'>,
): Promise<boolean> {
  const base = `${encodeURIComponent(project)}/_apis/pipelines`;
  const list = async (path: string): Promise<readonly Record<string, unknown>[]> => {
    const outcome = await azureDevOps.call({ method: 'GET', path: `${base}/${path}` });
    const value = outcome.kind === 'ok' && isObject(outcome.body) ? outcome.body['value'] : undefined;
    return Array.isArray(value) ? value.filter(isObject) : [];
  };
  const environments = await list(`environments?name=${encodeURIComponent(name)}&api-version=7.1`);
  // Nothing says whether the filter takes whole names only.
  const id = environments.find((one) => String(one['name']).toLowerCase() === name.toLowerCase())?.['id'];
  if (typeof id !== 'number') return false;
  const checks = await list(
    `checks/configurations?resourceType=environment&resourceId=${id}&$expand=settings&api-version=7.1-preview.1`,
  );
  return checks.some(({ settings }) => isObject(settings) && settings['requesterCannotBeApprover'] === true);
}

/** The environments that the jobs of a pipeline deploy to; none where the text can't be read. */
export function environmentsIn(yaml: string): string[] {
  const names = membersOf(yamlValue(yaml), 'stages')
    .flatMap((stage) => membersOf(stage, 'jobs'))
    .flatMap((job) => {
      const environment = isObject(job) ? job['environment'] : undefined;
      const name = isObject(environment) ? environment['name'] : environment;
      // A resource of the environment follows the dot.
      return typeof name === 'string' && name !== '' ? [name.replace(/\..*$/s, '')] : [];
    });
  return [...new Set(names)];
}

function membersOf(value: unknown, name: string): readonly unknown[] {
  const members = isObject(value) ? value[name] : undefined;
  return Array.isArray(members) ? members : [];
}
