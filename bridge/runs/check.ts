import type { AzureDevOps } from '../azureDevOps/client.ts';
import { error, warning, type Finding } from '../finding.ts';
import type { BridgeSettings } from '../settings.ts';
import { eventIdSupport } from './eventId.ts';
import { Pipelines } from './pipelines.ts';
import { selfApprovalFindings } from './selfApproval.ts';

/** Whether routes' pipelines can be started, going by previews, which start nothing. */
export async function checkPipelines(
  { runs }: BridgeSettings,
  azureDevOps: Pick<AzureDevOps, 'call' | 'ask'>,
  now: () => number,
): Promise<Finding[]> {
  const gate = { trouble: () => undefined, success: () => undefined };
  const pipelines = new Pipelines({ azureDevOps, gate, now });
  const findings: Finding[] = [];
  for (const route of runs.filter(({ mode }) => mode !== 'off')) {
    const about = `route ${route.name}`;
    const { project, id } = route.pipeline;
    const support = await eventIdSupport(route, pipelines);
    if ('yaml' in support) findings.push(...(await selfApprovalFindings(about, project, support.yaml, azureDevOps)));
    switch (support.kind) {
      case 'declared':
        break;
      case 'undeclared': {
        const problem = `the pipeline ${id} of ${project} has no parameter natsEventId, so an event can start it twice`;
        const remedy = 'Add it to the parameters of the YAML file: { name: natsEventId, type: string, default: "" }.';
        // An unknown parameter would fail each of its runs, so it isn't passed.
        findings.push(warning(about, problem, remedy));
        break;
      }
      case 'unknown': {
        if (support.isOfValues) {
          const problem = `whether Azure DevOps would run the pipeline ${id} of ${project} depends on the values of an event: ${support.message}`;
          findings.push(
            warning(
              about,
              problem,
              "Check that what the route passes has each parameter's type and is one of its allowed values.",
            ),
          );
          break;
        }
        const problem = `Azure DevOps would not run the pipeline ${id} of ${project}: ${support.message}`;
        findings.push(
          error(about, problem, 'Check runs[].pipeline, parameters, and the rights of azureDevOps.identity.'),
        );
        break;
      }
      case 'postponed':
        findings.push(warning(about, `its pipeline can't be previewed now: ${support.message}`, 'Try again later.'));
    }
  }
  return findings;
}
