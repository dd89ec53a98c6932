import type { Agent } from './agent.ts';
import { formsOf, knownSecrets } from '../../shared/text/masker.ts';

/**
 * Has the agent hide a secret in every form in which it may come back: whole, by line and by word (the agent itself
 * masks a multi-line value only as a whole), base64, URL-encoded and JSON-escaped. The step itself knows it from then on.
 * @param name what people call it, such as `the token of the job`
 */
export function maskSecret(agent: Pick<Agent, 'maskSecret'>, secret: string, name = 'a secret of this step'): void {
  knownSecrets.add(secret, name);
  for (const form of formsOf(secret)) if (!/[\r\n]/.test(form)) agent.maskSecret(form);
}
