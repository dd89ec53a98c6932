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
