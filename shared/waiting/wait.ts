import type { Arrivals, ReceivedMessage, StartPosition, Subscription, SubscriptionEvents } from '../bus.ts';
import type { Clock } from '../clock.ts';
import type { Contract } from '../contract/contract.ts';
import { reasonOf, TaskError } from '../errors.ts';
import type { Log } from '../log.ts';
import { logLine } from '../text/logLine.ts';
import { askForField } from './absentFields.ts';
import type { WaitCriteria } from './criteria.ts';
import { describeEarly, describeProgress, eventLine, nameOf, type Searched, type Seen } from './explain.ts';
import { Judge, SLICE_MS, type JudgedEvent } from './judge.ts';
import { startText } from './start.ts';
import {
  endedBy,
  endedByDeadline,
  endedByFailure,
  endedByIdleness,
  MATCHED,
  neverBegun,
  type Ending,
} from './verdict.ts';

const PROGRESS_MS = 60_000;
/**
 * A wait that saw nothing asks what the stream holds this long before its end, or after three quarters of its time if that is
 * later.
 */
const LOOK_BACK_MS = 2_000;
/** A wait that has seen nothing for so long asks once whether its subject may be misspelt. */
const EARLY_LOOK_MS = 20_000;
/** Most log lines about events that simply don't match. */
const MOST_LINES_NOT_MATCHING = 20;
/** Most log lines about invalid or refused events: anyone publishing garbage must not be able to flood the log. */
const MOST_LINES_REFUSED = 1_000;

/** Where the events of a wait come from. Every method fails with a `TaskError`. */
export interface EventSource {
  /** Where reading begins. */
  readonly start: StartPosition;
  connect(): Promise<unknown>;
  /** Begins to read, once connected. */
  read(events: SubscriptionEvents): Promise<Subscription>;
  /** Never rejects. */
  close(): Promise<void>;
}

/** How a wait ended, and what it saw. */
export interface WaitOutcome
  extends Pick<Ending, 'verdict' | 'error'>, Pick<Seen, 'counts' | 'missing' | 'linkBreaks'> {
  /** The event that ended the wait, or the last one that matched. */
  readonly deciding: JudgedEvent | undefined;
  readonly matched: readonly JudgedEvent[];
  /** The stream that was read; undefined for core NATS, and where none was found. */
  readonly stream: string | undefined;
  /** Digest of the contract that events were held to. */
  readonly schemaDigest: string | undefined;
}

/**
 * Waits until what the criteria ask for has come, or until it is clear that it will not. Never rejects: whatever goes
 * wrong is a verdict, so that what was seen until then is reported in every case.
 */
export async function waitForEvent(
  criteria: WaitCriteria,
  contract: Contract | undefined,
  source: EventSource,
  clock: Clock,
  log: Log,
): Promise<WaitOutcome> {
  return new Wait(criteria, contract, clock, log).run(source);
}

class Wait implements SubscriptionEvents {
  readonly #judge: Judge;
  #end: (ending: Ending) => void = () => {};
  #downSince: number | undefined;
  #downReason = '';
  #breaks = 0;
  #downMs = 0;
  #lastEventAt: number;
  #seenWhenIdle = 0;
  #lastMiss: JudgedEvent | undefined;
  #hasEnded = false;
  /** Whether a line has asked for the field that was probably meant. */
  #hasAsked = false;
  /** Messages are judged only once the log says that the step is waiting. */
  #hasBegun = false;
  #isScheduled = false;
  /** When the work of this turn of the event loop has to end, in milliseconds since the epoch. */
  #sliceEnd = 0;
  #arrivals: Arrivals | undefined;
  /** Taken, and not assessed yet. */
  #messages: readonly ReceivedMessage[] = [];
  /** Assessed, and not counted yet. */
  #assessed: readonly JudgedEvent[] = [];
  /** Index of the next one in `#assessed`. */
  #next = 0;
  #searched: Searched | undefined;
  /** Why the subscription ended; it ends the wait once all that had arrived is judged. */
  #failure: Error | undefined;

  constructor(
    private readonly criteria: WaitCriteria,
    private readonly contract: Contract | undefined,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.#judge = new Judge(criteria, contract, clock, (text) => log.warning(text));
    this.#lastEventAt = clock.now();
  }

  async run(source: EventSource): Promise<WaitOutcome> {
    const ended = new Promise<Ending>((resolve) => {
      this.#end = (ending) => {
        this.#hasEnded = true;
        resolve(ending);
      };
    });
    let isConnected = false;
    let subscription: Subscription | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      await source.connect();
      isConnected = true;
      const reading = (subscription = await source.read(this));
      this.log.info(
        logLine('waiting', {
          subject: this.criteria.subjects.join(' '),
          stream: reading.stream,
          startFrom: startText(source.start),
          deadline: new Date(this.clock.deadline).toISOString(),
        }),
      );
      timers.push(setInterval(() => this.#logProgress(), PROGRESS_MS));
      const { stream } = reading;
      const begunAt = this.clock.now();
      if (stream !== undefined) this.#searched = { stream, start: source.start, begunAt, lookBack: undefined };
      const leftMs = this.clock.deadline - begunAt;
      timers.push(setTimeout(() => void this.#lookBack(reading), leftMs - leadFor(leftMs)));
      timers.push(setTimeout(() => void this.#lookEarly(reading), EARLY_LOOK_MS));
      if (this.criteria.idleTimeoutMs !== undefined)
        timers.push(this.#watchIdleness(this.criteria.idleTimeoutMs, reading));
      this.clock.signal.addEventListener('abort', () => this.#onAbort());
      if (this.clock.signal.aborted) this.#onAbort();
      this.#hasBegun = true;
      this.#schedule();
      return this.#outcome(await ended, stream);
    } catch (error) {
      const isLate = isConnected && error instanceof TaskError && error.code === 'Timeout';
      return this.#outcome(isLate ? neverBegun() : endedByFailure(error), subscription?.stream);
    } finally {
      for (const timer of timers) clearInterval(timer);
      await subscription?.stop();
      await source.close();
    }
  }

  arrived(arrivals: Arrivals): void {
    this.#arrivals = arrivals;
    this.#schedule();
    // A backlog is judged as it comes: thousands of events that wait for their turn halve the rate.
    if (arrivals.length >= this.#judge.batch && this.#hasBegun) this.#judgeArrivals();
  }

  /** Judges once timers, signals and the socket have had a turn. */
  #schedule(): void {
    if (this.#isScheduled || !this.#hasBegun) return;
    this.#isScheduled = true;
    this.#sliceEnd = this.clock.now() + SLICE_MS;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#sliceEnd = this.clock.now() + SLICE_MS;
      this.#judgeArrivals();
    });
  }

  #judgeArrivals(): void {
    try {
      this.#judgeSlice();
    } catch (error) {
      const [message] = this.#messages;
      const event = message === undefined ? '' : `${nameOf(message)} `;
      const problem = `The event ${event}cannot be judged: ${reasonOf(error)}`;
      this.#end(endedByFailure(new TaskError('Internal', problem, '', { cause: error })));
    }
  }

  /** One slice of work on what has arrived. The clock is looked at before each event: what is judged too late doesn't count. */
  #judgeSlice(): void {
    for (let now = this.clock.now(); now < this.#sliceEnd; now = this.clock.now()) {
      if (this.#hasEnded || now >= this.clock.deadline) return;
      const assessed = this.#nextAssessed();
      if (assessed === undefined) {
        this.#onAllJudged();
        return;
      }
      this.#take(this.#judge.decide(assessed));
      const { exhaustion } = this.#judge;
      if (exhaustion !== undefined) this.#end(endedByFailure(exhaustion));
    }
    this.#schedule();
  }

  #nextAssessed(): JudgedEvent | undefined {
    if (this.#next === this.#assessed.length) {
      if (this.#messages.length === 0) this.#messages = this.#arrivals?.take() ?? [];
      this.#assessed = this.#judge.assess(this.#messages);
      this.#messages = this.#messages.slice(this.#assessed.length);
      this.#next = 0;
    }
    return this.#assessed[this.#next++];
  }

  #onAllJudged(): void {
    this.#next = this.#assessed.length;
    // Messages remain: none could be assessed before the deadline.
    if (this.#messages.length > 0) return;
    // Idle time counts from the end of judging.
    if (this.#judge.counts.seen > this.#seenWhenIdle) this.#lastEventAt = this.clock.now();
    this.#seenWhenIdle = this.#judge.counts.seen;
    if (this.#failure !== undefined) this.#end(endedByFailure(this.#failure));
  }

  #take(judged: JudgedEvent): void {
    this.#logEvent(judged);
    if (judged.decision === 'matched') {
      if (this.#judge.isSatisfied) this.#end(MATCHED);
      return;
    }
    const ending = endedBy(judged, this.criteria);
    if (ending !== undefined) this.#end(ending);
    // Report the most recent miss, but prefer any to one with another correlation id.
    const isNearer = judged.decision !== 'foreign' || (this.#lastMiss?.decision ?? 'foreign') === 'foreign';
    if (judged.decision !== 'negative' && isNearer) this.#lastMiss = judged;
  }

  #logProgress(): void {
    this.log.info(describeProgress(this.criteria, this.#seen, this.clock.deadline - this.clock.now()));
  }

  #logEvent(judged: JudgedEvent): void {
    const { decision } = judged;
    const { counts } = this.#judge;
    if (decision === 'foreign') return;
    const mere = decision === 'notMatching' || decision === 'repeated';
    const number = mere ? counts.notMatching + counts.repeated : counts.invalid + counts.untrusted + counts.expired;
    const most = mere ? MOST_LINES_NOT_MATCHING : MOST_LINES_REFUSED;
    const decides = decision === 'matched' || decision === 'negative';
    if (!decides && number > most) return;
    const line = eventLine(judged, this.#questionOn(judged));
    if (decision === 'invalid' && this.criteria.onInvalid === 'skip') this.log.warning(line);
    else this.log.info(line);
    if (!decides && number === most) this.log.info(`Further events of this kind are counted, not listed.`);
  }

  /** Asks once, long before the end, for the field that `match` probably means. */
  #questionOn({ decision, event }: JudgedEvent): string {
    if (decision !== 'notMatching' || this.#hasAsked) return '';
    const question = askForField(this.#judge.absentInMatch, event, this.criteria.match?.dataFields);
    this.#hasAsked = question !== '';
    return question;
  }

  linkDown(reason: string): void {
    this.#downSince = this.clock.now();
    this.#downReason = reason;
    this.#breaks++;
    this.log.info(logLine('linkDown', { reason }));
  }

  linkUp(downMs: number): void {
    this.#downSince = undefined;
    this.#downMs += downMs;
    this.#lastEventAt = this.clock.now();
    this.log.info(logLine('linkUp', { downMs }));
  }

  notice(text: string): void {
    this.log.warning(text);
  }

  failed(error: Error): void {
    this.#failure = error;
    this.#schedule();
  }

  #onAbort(): void {
    const reason = this.clock.signal.reason as TaskError;
    const downReason = this.#downSince === undefined ? undefined : this.#downReason;
    if (reason.code === 'Cancelled') this.#end(endedByFailure(reason));
    else this.#end(endedByDeadline(this.criteria, this.#seen, downReason));
  }

  #watchIdleness(idleTimeoutMs: number, subscription: Subscription): NodeJS.Timeout {
    // Connecting is not idleness.
    this.#lastEventAt = this.clock.now();
    let lookedBackAt = 0;
    const check = () => {
      const isBusy = this.#isScheduled || this.#downSince !== undefined;
      const idleMs = this.clock.now() - this.#lastEventAt;
      if (!isBusy && lookedBackAt !== this.#lastEventAt && idleMs >= idleTimeoutMs - leadFor(idleTimeoutMs)) {
        lookedBackAt = this.#lastEventAt;
        void this.#lookBack(subscription);
      }
      if (isBusy || idleMs < idleTimeoutMs) return;
      this.#end(endedByIdleness(this.criteria, this.#seen, idleTimeoutMs));
    };
    return setInterval(check, Math.min(1_000, Math.max(10, idleTimeoutMs / 10)));
  }

  /** Asks what the stream holds shortly before the end, and never delays the end for the answer. */
  async #lookBack(subscription: Subscription): Promise<void> {
    const searched = this.#searched;
    if (searched === undefined || this.#judge.counts.seen > 0 || this.#downSince !== undefined) return;
    this.#searched = { ...searched, lookBack: await subscription.lookBack?.() };
  }

  /** Names the subject that may be meant long before the end does. Not a warning: the event may still come. */
  async #lookEarly(subscription: Subscription): Promise<void> {
    const { stream } = subscription;
    if (stream === undefined || this.#judge.counts.seen > 0 || this.#downSince !== undefined) return;
    const near = (await subscription.nearSubjects?.()) ?? [];
    // An event may have come meanwhile.
    if (near.length === 0 || this.#judge.counts.seen > 0 || this.#hasEnded) return;
    this.log.info(describeEarly(near, stream));
  }

  get #seen(): Seen {
    const { counts, missing, distinctValues, absentFields } = this.#judge;
    const totalMs = this.#downMs + (this.#downSince === undefined ? 0 : this.clock.now() - this.#downSince);
    const linkBreaks = { count: this.#breaks, totalMs };
    return {
      counts,
      missing,
      distinctValues,
      absentFields,
      lastMiss: this.#lastMiss,
      linkBreaks,
      searched: this.#searched,
    };
  }

  #outcome({ verdict, error, deciding }: Ending, stream: string | undefined): WaitOutcome {
    const { matched, counts, missing } = this.#judge;
    return {
      verdict,
      error,
      deciding: deciding ?? matched.at(-1),
      matched,
      counts,
      missing,
      stream,
      linkBreaks: this.#seen.linkBreaks,
      schemaDigest: this.contract?.digest,
    };
  }
}

function leadFor(timeMs: number): number {
  return Math.min(LOOK_BACK_MS, timeMs / 4);
}
