import { TaskError } from '../errors.ts';
import { describeMs } from '../text/duration.ts';
import type { WaitCriteria } from './criteria.ts';
import { adviceFor, describeAbsence, describeSearch, describeSeen, nameOf, type Seen } from './explain.ts';
import type { JudgedEvent } from './judge.ts';

/** How a wait ended, as the output `verdict` says it. */
export type Verdict =
  'matched' | 'negative' | 'timedOut' | 'connectionLost' | 'contractViolation' | 'denied' | 'cancelled' | 'error';

/** Why a wait is over. */
export interface Ending {
  readonly verdict: Verdict;
  /** Undefined for `matched`. */
  readonly error: TaskError | undefined;
  /** The event that ended it without a match. */
  readonly deciding?: JudgedEvent;
}

export const MATCHED: Ending = { verdict: 'matched', error: undefined };

/** The verdict if this event ends the wait; undefined when the wait goes on. */
export function endedBy(judged: JudgedEvent, { onInvalid }: WaitCriteria): Ending | undefined {
  // Read the reason only below: working it out for every event of a backlog would take longer than judging them.
  const { event, decision } = judged;
  if (decision === 'negative') {
    const error = new TaskError(
      'Negative',
      `The event ${nameOf(event)} ${judged.reason}`,
      'See the line "negative" in the log for what it holds.',
    );
    return { verdict: 'negative', deciding: judged, error };
  }
  if (decision === 'invalid' && onInvalid === 'fail') {
    const error = new TaskError(
      'ContractViolation',
      `The event ${nameOf(event)} breaks its contract: ${judged.reason}`,
      'Tell its owner, or set onInvalid to skip.',
    );
    return { verdict: 'contractViolation', deciding: judged, error };
  }
  return undefined;
}

/** The deadline passed. @param downReason why the link was down at that time; undefined: it was up */
export function endedByDeadline(criteria: WaitCriteria, seen: Seen, downReason: string | undefined): Ending {
  const told = describeSeen(criteria, seen);
  if (downReason !== undefined) {
    const error = new TaskError(
      'ConnectionLost',
      `The deadline passed while the link to the server was down (${downReason}). ${told}`,
      "What came in the meantime isn't known. Check that the server is reachable, and run the step again.",
    );
    return { verdict: 'connectionLost', error };
  }
  const problem = `${describeAbsence(criteria)} within ${describeMs(criteria.timeoutMs)}. ${told}${describeSearch(seen)}`;
  return { verdict: 'timedOut', error: new TaskError('Timeout', problem, adviceFor(criteria, seen)) };
}

/** @param idleTimeoutMs how long no event at all came */
export function endedByIdleness(criteria: WaitCriteria, seen: Seen, idleTimeoutMs: number): Ending {
  const idle = `The wait was idle: no event at all came for ${describeMs(idleTimeoutMs)} (idleTimeout)`;
  const told = `${describeSeen(criteria, seen)}${describeSearch(seen)}`;
  const error = new TaskError('Timeout', `${idle}. ${told}`, 'Check that the sender is running.');
  return { verdict: 'timedOut', error };
}

/** The deadline passed with the link up, but before the wait could receive events. */
export function neverBegun(): Ending {
  const error = new TaskError(
    'Timeout',
    "The deadline passed before the wait could begin: the server accepted the connection, but didn't answer in time",
    'Check whether the server is slow or its JetStream has no leader, or raise the timeout.',
  );
  return { verdict: 'timedOut', error };
}

/** The wait failed with this error. Rethrows errors that aren't ours. */
export function endedByFailure(error: unknown): Ending {
  if (!(error instanceof TaskError)) throw error;
  return { verdict: VERDICT_OF_CODE[error.code] ?? 'error', error };
}

const VERDICT_OF_CODE: Readonly<Partial<Record<TaskError['code'], Verdict>>> = {
  Cancelled: 'cancelled',
  Denied: 'denied',
  ConnectionLost: 'connectionLost',
};
