import { Script } from 'node:vm';

/** Where the script finds the function: it sees globals only. */
const CALLED = Symbol.for('nats-event-tasks.interruptible');
const globals = globalThis as { [CALLED]?: (() => unknown) | undefined };
let script: Script | undefined;

/**
 * Calls a function and interrupts it when it takes longer, even in the middle of a regular expression.
 *
 * @param limitMs in milliseconds
 * @param calls how often it is called before an interruption counts; it then has to be a function that may be called again.
 *   A process that was suspended for a while says nothing about the function
 * @throws what the function throws; an Error for which {@link isInterruption} is true when it was interrupted
 */
export function interruptible<Value>(called: () => Value, limitMs: number, calls = 1): Value {
  script ??= new Script(`globalThis[Symbol.for('nats-event-tasks.interruptible')]()`);
  globals[CALLED] = called;
  try {
    return script.runInThisContext({ timeout: Math.max(1, Math.ceil(limitMs)) }) as Value;
  } catch (error) {
    if (calls === 1 || !isInterruption(error)) throw error;
    return interruptible(called, limitMs, calls - 1);
  } finally {
    globals[CALLED] = undefined;
  }
}

/** Whether {@link interruptible} threw this because the time was over. */
export function isInterruption(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
}
