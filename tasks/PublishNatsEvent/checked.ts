import { interruptedCheck, type Contract, type SchemaProblem } from '../../shared/contract/contract.ts';
import { deadlinePassed, type Pace } from '../../shared/clock.ts';
import { parseLargeIntegers } from '../../shared/text/json.ts';

/**
 * Checks the value of a JSON text in the time that is left.
 *
 * @returns what is wrong with it; undefined when it is valid
 * @throws TaskError InvalidSchema when the check takes longer than one may; Timeout or Cancelled when the step is over
 */
export async function checked(
  contract: Contract,
  value: unknown,
  text: string | undefined,
  pace: Pace,
): Promise<readonly SchemaProblem[] | undefined> {
  const left = await pace.timeLeft();
  const result = contract.check(value, left, () => parseLargeIntegers(text ?? ''));
  if (result.outcome === 'interrupted')
    throw result.afterMs === left ? deadlinePassed() : interruptedCheck(contract, result.afterMs);
  return result.outcome === 'valid' ? undefined : result.problems;
}
