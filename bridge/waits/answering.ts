import { reasonOf, TaskError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { Decisions } from '../audit/decisions.ts';
import { FloodLimit } from '../audit/floodLimit.ts';
import { fromPeer, type HttpAnswer } from '../http/route.ts';
import type { WaitsFor } from './caller.ts';
import { callerText, tracesOf, type ClaimedCall, type ProvenCall } from './entry.ts';
import { Refusal, Unavailable, unavailableAnswer } from './refusal.ts';
import { UnreadableWait } from './waitStore.ts';

/** Azure DevOps is answered within 3 s, whatever it and NATS do. */
const ANSWER_MS = 2_500;
/** Refusals in the audit stream per minute, for one bearer token and for callers without one. */
const MOST_REFUSALS = 120;
const MOST_SIGN_INS = 10;

export interface AnsweringOptions {
  readonly decisions: Pick<Decisions, 'note'>;
  readonly log: Log;
  /** Counts an outcome: `accepted`, `refused`, … */
  readonly count: (outcome: string) => void;
  /** Counts a record that doesn't open. */
  readonly unreadable: () => void;
  readonly now: () => number;
  /** For tests: how long an answer may take, in milliseconds. */
  readonly answerMs?: number;
}

/** The outcome of a call: the answer, and what to note. */
export interface Done {
  readonly answer: HttpAnswer;
  /** One word. */
  readonly outcome: string;
  /** Of the decision: `rule-0`. */
  readonly name: string;
  readonly reason?: string;
}

/** Answers tasks' calls in time, and notes the decisions. */
export class Answering {
  readonly #limits: Readonly<Record<'call' | 'signIn', FloodLimit>>;
  #untold = 0;

  constructor(private readonly options: AnsweringOptions) {
    const now = () => options.now();
    this.#limits = { call: new FloodLimit(MOST_REFUSALS, now), signIn: new FloodLimit(MOST_SIGN_INS, now) };
  }

  /**
   * @param token the name of the bearer token
   * @param work gets a signal that aborts when the time is over. It says whose call it is as soon as it knows, and
   *   what it is waiting for.
   */
  async answer(
    token: string,
    work: (signal: AbortSignal, isOf: (claim: ClaimedCall | ProvenCall) => void, waitsFor: WaitsFor) => Promise<Done>,
  ): Promise<HttpAnswer> {
    const { now, count, log } = this.options;
    const receivedAt = now();
    let claim: ClaimedCall | ProvenCall | undefined;
    try {
      const { answer, outcome, name, reason } = await this.#inTime((signal, waitsFor) =>
        work(signal, (of) => (claim = of), waitsFor),
      );
      count(outcome);
      this.#note(outcome, name, claim, receivedAt, reason);
      return answer;
    } catch (error) {
      const jobToken = claim?.call.token ?? '';
      if (error instanceof Refusal) {
        count('refused');
        this.#refused('call', token, error.shown(jobToken), claim, receivedAt);
        return error.answer(jobToken);
      }
      count('unavailable');
      if (error instanceof UnreadableWait) this.options.unreadable();
      const reason = error instanceof TaskError ? error.problem : reasonOf(error);
      const unavailable = new Unavailable(jobToken === '' ? reason : reason.replaceAll(jobToken, '***'));
      log.warning(`A task's call was not answered, so its job fails: ${safeText(unavailable.message)}`);
      return unavailableAnswer(unavailable);
    }
  }

  /**
   * Notes a caller without a valid token.
   *
   * @param peer the address that it came from
   */
  refusedSignIn(path: string, peer?: string): void {
    this.options.count('unauthorized');
    this.#refused('signIn', '', `A sign-in to ${path}${fromPeer(peer)} was refused`, undefined, this.options.now());
  }

  async #inTime<Value>(work: (signal: AbortSignal, waitsFor: WaitsFor) => Promise<Value>): Promise<Value> {
    const { answerMs = ANSWER_MS } = this.options;
    let whom = 'The bridge';
    const over = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new Unavailable(`${whom} did not answer within ${answerMs} ms`);
        over.abort(error);
        reject(error);
      }, answerMs);
    });
    try {
      // What is wrong with the call may be found at once.
      return await Promise.race([(async () => work(over.signal, (it) => (whom = it)))(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #refused(
    kind: 'call' | 'signIn',
    source: string,
    reason: string,
    claim: ClaimedCall | ProvenCall | undefined,
    receivedAt: number,
  ): void {
    if (this.#limits[kind].take(source) === undefined) {
      this.#untold++;
      return;
    }
    const others = this.#untold === 0 ? '' : ` (and ${this.#untold} more since the last one that was logged)`;
    this.#untold = 0;
    const caller = claim === undefined ? '' : ` ${callerText(claim)}`;
    this.options.log.warning(`Refused: ${reason}${caller}${others}`);
    this.#note('refused', kind === 'signIn' ? 'sign-in' : 'none', claim, receivedAt, `${reason}${others}`);
  }

  #note(
    decision: string,
    name: string,
    claim: ClaimedCall | undefined,
    receivedAt: number,
    reason: string | undefined,
  ): void {
    void this.options.decisions.note({
      ...{ function: 'waits', name, decision, receivedAt },
      ...(reason === undefined ? {} : { reason }),
      ...(claim === undefined ? {} : { followed: tracesOf(claim) }),
    });
  }
}
