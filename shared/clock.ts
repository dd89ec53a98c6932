import { setTimeout as delay } from 'node:timers/promises';
import { TaskError } from './errors.ts';

/** How much time a piece of work has. */
export interface Clock {
  /** Aborts with `Timeout` at the deadline and with `Cancelled` when the work is called off. */
  readonly signal: AbortSignal;
  /** When the work began, in milliseconds since the epoch. */
  readonly startedAt: number;
  /** The absolute deadline, in milliseconds since the epoch. */
  readonly deadline: number;
  /** Milliseconds since the epoch. */
  now(): number;
}

/** The error of work that ran out of time. */
export function deadlinePassed(): TaskError {
  return new TaskError('Timeout', 'The deadline of this step has passed');
}

/** Waits; rejects with the signal's reason when it aborts first. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** The promise's outcome, or the signal's reason if it aborts first. */
export async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** After so much work in one go the event loop has its turn, in milliseconds. */
const MOST_WORK_MS = 50;

/** Keeps a compute-heavy step within its deadline and responsive to a cancel: it asks before each piece of work. */
export class Pace {
  readonly #clock: Clock;
  #workingSince: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#workingSince = clock.now();
  }

  /**
   * Gives the event loop a turn when it hasn't had one for a while.
   *
   * @returns how long the next piece of work may take, in whole milliseconds above 0
   * @throws TaskError Timeout or Cancelled when the step is over
   */
  async timeLeft(): Promise<number> {
    if (this.#clock.now() - this.#workingSince > MOST_WORK_MS) {
      // The first one may come before signals and timers are looked at, the second one comes after that.
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
      this.#workingSince = this.#clock.now();
    }
    this.#clock.signal.throwIfAborted();
    const left = Math.ceil(this.#clock.deadline - this.#clock.now());
    if (left <= 0) throw deadlinePassed();
    return left;
  }
}
