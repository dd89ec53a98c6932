import assert from 'node:assert/strict';
import { TaskError } from '../../shared/errors.ts';
import type { Problems } from '../../shared/inputs/problems.ts';

/** The error for the collected problems; undefined if there are none. */
export function complaint(problems: Problems): TaskError | undefined {
  try {
    problems.done();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof TaskError);
    return error;
  }
}
