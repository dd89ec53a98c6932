import { Script } from 'node:vm';

/** Where the script finds the function: it sees what is global only. */
const CALLED = Symbol.for('nats-event-tasks.interruptible');
const globals = globalThis as { [CALLED]?: (() => unknown) | undefined };
let script: Script | undefined;

/**
 * Calls a function and interrupts it when it takes longer, even in the middle of a regular expression.
 *
 * @param limitMs in milliseconds
 * @throws what the function throws; an Error for which {@link isInterruption} is true when it was interrupted
 */
export function interruptible<Value>(called: () => Value, limitMs: number): Value {
  script ??= new Script(`globalThis[Symbol.for('nats-event-tasks.interruptible')]()`);
  globals[CALLED] = called;
  try {
    return script.runInThisContext({ timeout: Math.max(1, Math.ceil(limitMs)) }) as Value;
  } finally {
    globals[CALLED] = undefined;
  }
}

/** Whether {@link interruptible} threw this because the time was over. */
export function isInterruption(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
}
