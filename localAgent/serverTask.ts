import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../shared/errors.ts';
import { isObject, parseJson } from '../shared/text/json.ts';
import { safeText } from '../shared/text/safeText.ts';
import type { PlanTask } from './planService.ts';
import { renderCall } from './serverTemplate.ts';
import type { CallTemplate, HttpRequestHandler, RenderedCall, TemplateScope } from './serverTemplate.ts';
import type { Step } from './step.ts';

export interface ServerTaskOptions {
  readonly handler: HttpRequestHandler;
  readonly scope: TemplateScope;
  /** What the service connection signs in with. */
  readonly authentication: Readonly<Record<string, string>>;
  readonly task: PlanTask;
  /** Of the step, or of its job. Its reason is a `TimeoutError` where the job's time is over. */
  readonly cancel: AbortSignal;
}

/** How long Azure DevOps waits for the first answer. */
const ANSWER_MS = 20_000;
/** For the end of a task that was cancelled. */
const CANCELLED_MS = 60_000;
const MOST_ANSWER = 1_000;

/**
 * Runs a server task as Azure DevOps does: sends Execute, and waits for the service to report completion. The step
 * gets the log, the outputs and the result. When the step is cancelled or the task's time is over, Cancel is sent.
 * @throws Error when a template can't be rendered
 */
export async function runServerTask(step: Step, options: ServerTaskOptions): Promise<void> {
  const { handler, task, cancel } = options;
  const { Timeout: timeout } = handler.Events?.TaskCompleted ?? {};
  if (!(await call(step, options, handler.Execute))) {
    step.result = 'Failed';
    return;
  }
  const stop = new AbortController();
  const over = await Promise.race([
    task.completed.then(() => undefined),
    aborted(cancel).then(() => 'cancelled' as const),
    ...(timeout === undefined
      ? []
      : [delay(readTimeout(timeout), 'late' as const, { signal: stop.signal }).catch(() => undefined)]),
  ]);
  stop.abort();
  if (over !== undefined) {
    if (over === 'late') step.error(`Nobody has completed the task within ${timeout ?? ''}.`);
    else if ((cancel.reason as Error | undefined)?.name === 'TimeoutError')
      step.error('The time of the job is over: raise its timeoutInMinutes above the timeout of the task.');
    step.result = 'Failed';
    if (!handler.Cancel || !(await call(step, options, handler.Cancel))) return;
    const isEnded = await Promise.race([task.completed, delay(CANCELLED_MS, undefined, { ref: false })]);
    if (isEnded === undefined) {
      step.error('Nobody has completed the task after it was cancelled.');
      return;
    }
  }
  for (const line of task.log.split(/\r?\n/).filter(Boolean)) step.write(safeText(line));
  for (const [name, { value, secret }] of Object.entries(task.variables)) step.setOutput(name, value, secret);
  if (task.result === 'failed') {
    step.error('The task was completed with the result failed. Its log says why.');
    step.result = 'Failed';
  }
}

/** @returns whether the answer is a success; otherwise the step says why not */
async function call(
  step: Step,
  { scope, authentication }: ServerTaskOptions,
  template: CallTemplate,
): Promise<boolean> {
  const request = renderCall(template, scope);
  step.write(safeText(`${request.method} ${request.url}`));
  try {
    const { ok, status, text } = await send(request, authentication);
    if (ok) step.write(safeText(`Answer ${status}: ${shortened(text)}`));
    else step.error(safeText(`The answer is ${status}: ${messageIn(text) ?? (shortened(text) || 'without a text')}`));
    return ok;
  } catch (error) {
    step.error(safeText(`There's no answer: ${whyNot(error)}`));
    return false;
  }
}

async function send({ url, method, headers, body }: RenderedCall, authentication: Readonly<Record<string, string>>) {
  const response = await fetch(url, {
    ...{ method, headers: { ...headers, ...authentication }, redirect: 'manual' },
    signal: AbortSignal.timeout(ANSWER_MS),
    ...(body !== '' && { body }),
  });
  return { ok: response.ok, status: response.status, text: await response.text() };
}

/** What the bridge says is wrong, where the answer is one of the bridge. */
function messageIn(text: string): string | undefined {
  const answer = parseJson(text)?.value;
  const error = isObject(answer) ? answer['error'] : undefined;
  const message = isObject(error) ? error['message'] : undefined;
  return typeof message === 'string' ? message : undefined;
}

/** fetch says only that it failed; the reason is the cause. */
function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return reasonOf(error);
  if (error.name === 'TimeoutError') return `none came within ${ANSWER_MS / 1000} seconds`;
  const cause = error.cause instanceof Error ? error.cause : error;
  return ('code' in cause && typeof cause.code === 'string' ? cause.code : '') || reasonOf(cause);
}

function shortened(text: string): string {
  return text.length > MOST_ANSWER ? `${text.slice(0, MOST_ANSWER)}…` : text;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
}

/** In milliseconds. Throws an Error for what is no time of a task.json. */
function readTimeout(text: string): number {
  const [, days = '0', hours = '', minutes = '', seconds = ''] = /^(?:(\d+)\.)?(\d\d):(\d\d):(\d\d)$/.exec(text) ?? [];
  if (hours === '') throw new Error(`Events.TaskCompleted.Timeout: "${text}" is not d.hh:mm:ss.`);
  return (((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
}
