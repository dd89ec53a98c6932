import type { Agent, StepResult } from './agent.ts';
import { deadlinePassed, type Clock } from '../../shared/clock.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';

/** The result of a step that didn't fail, and the sentence shown beside it. */
export interface StepEnd {
  readonly result: StepResult;
  readonly message: string;
}

/** After a cancel the body has this long to clean up; the agent kills the process 10 s after its SIGINT. */
const CANCEL_GRACE_MS = 1_500;
/** After the deadline the body has this long to clean up. */
const DEADLINE_GRACE_MS = 5_000;

/**
 * Runs one step: reads its inputs, starts one clock for everything that waits, catches once, and gives the agent
 * exactly one result. The process ends here, whatever handles a library may have left open.
 *
 * @param read reads and checks all inputs; throws `InvalidInput`
 * @param body does the work; its deadline counts from the start of the process
 */
export async function runTask<Request extends { readonly timeoutMs: number }>(
  agent: Agent,
  read: (agent: Agent) => Request,
  body: (request: Request, clock: Clock) => Promise<StepEnd>,
): Promise<void> {
  const end = await endOfStep(agent, read, body);
  agent.complete(end.result, end.message);
  // Once an empty write is done, everything before it is out: a pipe may be asynchronous.
  await new Promise<void>((written) => process.stdout.write('', () => written()));
  process.exit(0);
}

async function endOfStep<Request extends { readonly timeoutMs: number }>(
  agent: Agent,
  read: (agent: Agent) => Request,
  body: (request: Request, clock: Clock) => Promise<StepEnd>,
): Promise<StepEnd> {
  const controller = new AbortController();
  const { signal } = controller;
  const cancel = () => controller.abort(new TaskError('Cancelled', 'The agent cancelled this step'));
  // SIGBREAK is what an agent on Windows sends where others send SIGTERM.
  for (const name of ['SIGINT', 'SIGTERM', ...(process.platform === 'win32' ? (['SIGBREAK'] as const) : [])] as const) {
    process.on(name, cancel);
  }
  try {
    const request = read(agent);
    // When the process began. Node loads nine modules at the first use of `performance`, the alternative.
    const startedAt = Date.now() - process.uptime() * 1_000;
    const deadline = startedAt + request.timeoutMs;
    const endAtDeadline = () => {
      controller.abort(deadlinePassed());
    };
    const timer = setTimeout(endAtDeadline, Math.max(0, deadline - Date.now()));
    try {
      return await Promise.race([
        body(request, { signal, startedAt, deadline, now: () => agent.now() }),
        failAfterGrace(signal),
        failOnStrayError(),
      ]);
    } finally {
      clearTimeout(timer);
    }
  } catch (thrown) {
    return endOfFailure(agent, thrown);
  }
}

/** Rejects with the signal's reason once the time to clean up is over. */
function failAfterGrace(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      const reason = signal.reason as TaskError;
      setTimeout(() => reject(reason), reason.code === 'Cancelled' ? CANCEL_GRACE_MS : DEADLINE_GRACE_MS);
    });
  });
}

/** An error nobody awaited must not go unnoticed: it fails the step. */
function failOnStrayError(): Promise<never> {
  return new Promise((_, reject) => {
    for (const event of ['uncaughtException', 'unhandledRejection']) {
      process.removeAllListeners(event);
      process.on(event, reject);
    }
  });
}

function endOfFailure(agent: Agent, thrown: unknown): StepEnd {
  const remedy = 'Please report it, with the log of a run that has System.Debug set to true.';
  const error =
    thrown instanceof TaskError
      ? thrown
      : new TaskError('Internal', `Unexpected error: ${reasonOf(thrown)}`, remedy, { cause: thrown });
  for (const line of error.details) agent.info(line);
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    for (const line of (cause.stack ?? cause.message).split('\n')) agent.debug(line);
  }
  return { result: error.code === 'Cancelled' ? 'Canceled' : 'Failed', message: error.message };
}
