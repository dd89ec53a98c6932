/** What the `sub` of a service connection of Azure DevOps has a value for. */
const OF_CONNECTION = ['organisation', 'project', 'connection', 'projectId'] as const;
/** The same of a pipeline. */
const OF_PIPELINE = ['organisation', 'project', 'pipeline', 'projectId'] as const;
const OF_ENTRA = ['client', 'object'] as const;

/** What a placeholder of a rule can stand for. */
export const PLACEHOLDERS = [
  'organisation',
  'project',
  'connection',
  'pipeline',
  'projectId',
  'client',
  'object',
] as const;
export type Placeholder = (typeof PLACEHOLDERS)[number];

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
 * @param sub undefined where the rule leaves it out
 */
export function placeholdersFor(isTenant: boolean, sub: string | undefined): PlaceholderSource {
  if (isTenant) return { of: 'of Microsoft Entra', placeholders: OF_ENTRA };
  if (sub === undefined)
    return { of: 'of Azure DevOps', placeholders: [...new Set<Placeholder>([...OF_CONNECTION, ...OF_PIPELINE])] };
  if (sub.startsWith('sc://')) return { of: 'of service connections (sc://)', placeholders: OF_CONNECTION };
  if (sub.startsWith('p://')) return { of: 'of pipelines (p://)', placeholders: OF_PIPELINE };
  return { of: `with a sub like ${JSON.stringify(sub)}`, placeholders: [] };
}
