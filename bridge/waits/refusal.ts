import { TaskError } from '../../shared/errors.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { HttpAnswer } from '../http/route.ts';

const CODES = { 400: 'BadRequest', 401: 'Unauthorized', 403: 'Forbidden', 409: 'Conflict' } as const;
const RETRY_AFTER_S = '2';
const MOST_MESSAGE = 4_000;

/** A call that is refused. Azure DevOps shows the message to the author of the pipeline. */
export class Refusal extends Error {
  /**
   * @param problem names the input or header and the cause; without the last full stop
   * @param remedy what to do about it, in sentences
   */
  constructor(
    readonly status: keyof typeof CODES,
    problem: string,
    remedy = '',
  ) {
    super([`${problem}.`, remedy].filter(Boolean).join(' '));
  }

  /** @param token the job's, which is never shown */
  answer(token: string): HttpAnswer {
    return { status: this.status, body: { error: { code: CODES[this.status], message: this.shown(token) } } };
  }

  shown(token: string): string {
    return safeText(token === '' ? this.message : this.message.replaceAll(token, '***'), MOST_MESSAGE);
  }
}

/** NATS or Azure DevOps can't do it now. */
export class Unavailable extends Error {}

export function unavailableAnswer(error: Unavailable): HttpAnswer {
  const message = `The bridge can't do this now: ${safeText(error.message, MOST_MESSAGE)}. Run the job again later.`;
  return { status: 503, headers: { 'retry-after': RETRY_AFTER_S }, body: { error: { code: 'Unavailable', message } } };
}

/** The value read, or everything wrong with it as a 400. */
export function orBadRequest<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    throw new Refusal(400, error.problem, error.remedy);
  }
}
