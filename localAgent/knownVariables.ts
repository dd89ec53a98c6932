import { THIS_MACHINE } from './machine.ts';
import type { Job } from './pipelineSyntax.ts';
import { predefinedVariables } from './predefinedVariables.ts';
import { SecretMasker } from './secretMasker.ts';
import { Variables } from './variables.ts';

/**
 * The variables of a job that are known before it runs.
 * @param given the variables that come with the run
 */
export function knownVariables(
  job: Pick<Job, 'variables'>,
  given: Readonly<Record<string, string | undefined>> = {},
): Variables {
  const variables = new Variables(new SecretMasker());
  const all = {
    ...predefinedVariables({ work: '', sources: '', temp: '', tools: '' }, '', THIS_MACHINE),
    ...job.variables,
    ...given,
  };
  for (const [name, value] of Object.entries(all)) if (typeof value === 'string') variables.set(name, value);
  variables.expandAll();
  return variables;
}
