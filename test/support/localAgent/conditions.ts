import type { Result } from './step.ts';

export const CONDITIONS = ['succeeded()', 'succeededOrFailed()', 'failed()', 'canceled()', 'always()'] as const;
export type Condition = (typeof CONDITIONS)[number];

/** Whether a step or job with this condition runs after what came before it ended like this. */
export function conditionHolds(condition: Condition, status: Result): boolean {
  const succeeded = status === 'Succeeded' || status === 'SucceededWithIssues';
  switch (condition) {
    case 'succeeded()':
      return succeeded;
    case 'succeededOrFailed()':
      return succeeded || status === 'Failed';
    case 'failed()':
      return status === 'Failed';
    case 'canceled()':
      return status === 'Canceled';
    case 'always()':
      return true;
  }
}
