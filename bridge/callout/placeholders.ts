/** What the `sub` of a service connection of Azure DevOps has a value for. */
const OF_CONNECTION = ['organisation', 'project', 'connection', 'projectId'] as const;
/** The same of a pipeline. */
const OF_PIPELINE = ['organisation', 'project', 'pipeline', 'projectId'] as const;
const OF_ENTRA = ['client', 'object'] as const;

/** What a placeholder of a rule can stand for. */
export type Placeholder = (typeof OF_CONNECTION)[number] | (typeof OF_PIPELINE)[number] | (typeof OF_ENTRA)[number];
const OF_AZURE_DEVOPS: readonly Placeholder[] = [...new Set([...OF_CONNECTION, ...OF_PIPELINE])];
/** All of them. */
export const PLACEHOLDERS: readonly Placeholder[] = [...OF_AZURE_DEVOPS, ...OF_ENTRA];

/** The tokens that a rule is for, and the placeholders that they can have a value for. */
export interface PlaceholderSource {
  /** Continues "tokens". */
  readonly of: string;
  readonly placeholders: readonly Placeholder[];
}

/**
 * What the tokens of an issuer that match a rule's `sub` can have values for.
 *
 * @param isTenant whether the issuer is a tenant of Microsoft Entra
 * @param sub undefined if the rule leaves it out
 */
export function placeholdersFor(isTenant: boolean, sub: string | undefined): PlaceholderSource {
  if (isTenant) return { of: 'of Microsoft Entra', placeholders: OF_ENTRA };
  if (sub === undefined) return { of: 'of Azure DevOps', placeholders: OF_AZURE_DEVOPS };
  if (sub.startsWith('sc://')) return { of: 'of service connections (sc://)', placeholders: OF_CONNECTION };
  if (sub.startsWith('p://')) return { of: 'of pipelines (p://)', placeholders: OF_PIPELINE };
  return { of: `with a sub like ${JSON.stringify(sub)}`, placeholders: [] };
}
