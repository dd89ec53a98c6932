import type { Log } from '../log.ts';
import type { Arrivals, Bus, ReceivedMessage, Subscription, SubscriptionEvents } from '../bus.ts';
import type { Contract } from '../contract/contract.ts';
import { reasonOf, TaskError } from '../errors.ts';
import { publishedAt } from '../event/receivedEvent.ts';
import { logLine } from '../../tasks/agent/outputs.ts';
import type { Clock } from '../clock.ts';
import type { WaitRequest } from '../../tasks/WaitForNatsEvent/inputs.ts';
import { Judge, SLICE_MS, type JudgedEvent } from './judge.ts';

const PROGRESS_MS = 60_000;
/** Lines about events that merely do not match. */
const MOST_LINES_NOT_MATCHING = 20;
/** Lines about events that are invalid or refused: whoever may publish garbage must not flood the log. */
const MOST_LINES_REFUSED = 1_000;

/** Distinct values listed in a summary. */
const MOST_VALUES = 20;

/** How a wait ended, as the output `verdict` says it. */
export type Verdict =
  'matched' | 'negative' | 'timedOut' | 'connectionLost' | 'contractViolation' | 'denied' | 'cancelled' | 'error';

/** Links to the server that broke while waiting. */
export interface LinkBreaks {
  readonly count: number;
  readonly totalMs: number;
}

export interface WaitOutcome {
  readonly verdict: Verdict;
  /** Why the wait failed; undefined for `matched`, and for `timedOut` where that is no failure. */
  readonly error: TaskError | undefined;
  /** The event that ended the wait, or the last one that matched. */
  readonly deciding: JudgedEvent | undefined;
  readonly judge: Judge;
  readonly stream: string;
  readonly linkBreaks: LinkBreaks;
}

type Ending = Pick<WaitOutcome, 'verdict'> & Partial<WaitOutcome>;

/**
 * Waits until what the request asks for has come, or until it is clear that it will not. Never rejects: whatever goes
 * wrong is a verdict, so that what was seen until then is reported in every case.
 */
export async function waitForEvent(
  request: WaitRequest,
  contract: Contract | undefined,
  openBus: () => Promise<Bus>,
  clock: Clock,
  log: Log,
): Promise<WaitOutcome> {
  return new Wait(request, contract, clock, log).run(openBus);
}

class Wait implements SubscriptionEvents {
  readonly #judge: Judge;
  #end: (ending: Ending) => void = () => {};
  #downSince: number | undefined;
  #downReason = '';
  #breaks = 0;
  #downMs = 0;
  #lastEventAt: number;
  #lastMiss: JudgedEvent | undefined;
  #hasEnded = false;
  /** Messages are judged from the moment on at which the log says that the step is waiting. */
  #hasBegun = false;
  #isScheduled = false;
  /** When the work of this turn of the event loop has to end, in milliseconds since the epoch. */
  #sliceEnd = 0;
  #arrivals: Arrivals | undefined;
  /** Taken, and not assessed yet. */
  #messages: readonly ReceivedMessage[] = [];
  /** Assessed, and not counted yet. */
  #assessed: readonly JudgedEvent[] = [];
  /** Where in them to go on. */
  #next = 0;
  /** Why the subscription ended; it ends the wait once all that had arrived is judged. */
  #failure: Error | undefined;

  constructor(
    private readonly request: WaitRequest,
    contract: Contract | undefined,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.#judge = new Judge(request, contract, clock, (text) => {
      log.warning(text);
    });
    this.#lastEventAt = clock.now();
  }

  async run(openBus: () => Promise<Bus>): Promise<WaitOutcome> {
    const ended = new Promise<Ending>((resolve) => {
      this.#end = (ending) => {
        this.#hasEnded = true;
        resolve(ending);
      };
    });
    let bus: Bus | undefined;
    let subscription: Subscription | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      bus = await openBus();
      subscription = await this.#subscribe(bus);
      this.log.info(
        logLine('waiting', {
          subject: this.request.subjects.join(' '),
          stream: subscription.stream || undefined,
          startFrom: describeStart(this.request),
          deadline: new Date(this.clock.deadline).toISOString(),
        }),
      );
      timers.push(
        setInterval(() => {
          this.log.info(this.#progress());
        }, PROGRESS_MS),
      );
      if (this.request.idleTimeoutMs !== undefined) timers.push(this.#watchIdleness(this.request.idleTimeoutMs));
      this.clock.signal.addEventListener('abort', () => {
        this.#onAbort();
      });
      if (this.clock.signal.aborted) this.#onAbort();
      this.#hasBegun = true;
      this.#schedule();
      return this.#outcome(await ended, subscription.stream);
    } catch (error) {
      const isLate = bus !== undefined && error instanceof TaskError && error.code === 'Timeout';
      return this.#outcome(isLate ? NOT_BEGUN : failure(error), subscription?.stream ?? '');
    } finally {
      for (const timer of timers) clearInterval(timer);
      await subscription?.stop();
      await bus?.close();
    }
  }

  #subscribe(bus: Bus): Promise<Subscription> {
    const { delivery, subjects, stream, start } = this.request;
    if (delivery === 'core') return bus.subscribeCore(subjects, this, this.clock.signal);
    return bus.readStream({ subjects, stream, start }, this, this.clock.signal);
  }

  arrived(arrivals: Arrivals): void {
    this.#arrivals = arrivals;
    this.#schedule();
    // A backlog is judged as it comes: thousands of events that wait for their turn halve the rate.
    if (arrivals.length >= this.#judge.batch && this.#hasBegun) this.#judgeArrivals();
  }

  /** Judges when timers, signals and the socket have had their turn. */
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
      const event = message === undefined ? '' : `${nameOf({ message })} `;
      const problem = `The event ${event}cannot be judged: ${reasonOf(error)}.`;
      this.#end(failure(new TaskError('Internal', problem, '', { cause: error })));
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
      if (exhaustion !== undefined) this.#end(failure(exhaustion));
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
    // The deadline passed while the next one was being assessed.
    if (this.#messages.length > 0) return;
    this.#lastEventAt = this.clock.now();
    if (this.#failure !== undefined) this.#end(failure(this.#failure));
  }

  #take(judged: JudgedEvent): void {
    this.#logEvent(judged);
    switch (judged.decision) {
      case 'negative':
        this.#end({
          verdict: 'negative',
          deciding: judged,
          error: new TaskError(
            'Negative',
            `The event ${nameOf(judged)} says no: ${judged.reason}`,
            'See the line "negative" in the log for what it holds.',
          ),
        });
        break;
      case 'matched':
        if (this.#judge.isSatisfied) this.#end({ verdict: 'matched' });
        break;
      case 'invalid':
        if (this.request.onInvalid === 'fail') {
          this.#end({
            verdict: 'contractViolation',
            deciding: judged,
            error: new TaskError(
              'ContractViolation',
              `The event ${nameOf(judged)} breaks its contract: ${judged.reason}`,
              'Tell its owner, or set onInvalid to skip.',
            ),
          });
        }
        this.#noteMiss(judged);
        break;
      default:
        this.#noteMiss(judged);
    }
  }

  /** The nearest miss is the last one, but an event of somebody else's correlation is not even near. */
  #noteMiss(judged: JudgedEvent): void {
    const isNearer = judged.decision !== 'foreign' || (this.#lastMiss?.decision ?? 'foreign') === 'foreign';
    if (isNearer) this.#lastMiss = judged;
  }

  #logEvent(judged: JudgedEvent): void {
    const { decision } = judged;
    const counts = this.#judge.counts;
    if (decision === 'foreign') return;
    const mere = decision === 'notMatching' || decision === 'repeated';
    const number = mere ? counts.notMatching + counts.repeated : counts.invalid + counts.untrusted + counts.expired;
    const most = mere ? MOST_LINES_NOT_MATCHING : MOST_LINES_REFUSED;
    const decides = decision === 'matched' || decision === 'negative';
    if (!decides && number > most) return;
    const line = eventLine(judged);
    if (decision === 'invalid' && this.request.onInvalid === 'skip') this.log.warning(line);
    else this.log.info(line);
    if (!decides && number === most) this.log.info(`Further events of this kind are counted, not listed.`);
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
    if (reason.code === 'Cancelled') {
      this.#end(failure(reason));
    } else if (this.#downSince !== undefined) {
      this.#end({
        verdict: 'connectionLost',
        error: new TaskError(
          'ConnectionLost',
          `The deadline passed while the link to the server was down (${this.#downReason}). ${this.#summary()}`,
          'What came meanwhile is not known: see whether the server is reachable, and run the step again.',
        ),
      });
    } else {
      this.#end({
        verdict: 'timedOut',
        error: new TaskError(
          'Timeout',
          `${this.#notCome()} within ${describeMs(this.request.timeoutMs)}. ${this.#summary()}`,
          this.#advice(),
        ),
      });
    }
  }

  #watchIdleness(idleTimeoutMs: number): NodeJS.Timeout {
    // Connecting is not idleness.
    this.#lastEventAt = this.clock.now();
    return setInterval(
      () => {
        const isBusy = this.#isScheduled || this.#downSince !== undefined;
        if (isBusy || this.clock.now() - this.#lastEventAt < idleTimeoutMs) return;
        this.#end({
          verdict: 'timedOut',
          error: new TaskError(
            'Timeout',
            `The wait was idle: no event at all came for ${describeMs(idleTimeoutMs)} (idleTimeout). ${this.#summary()}`,
            'Check that the sender is running.',
          ),
        });
      },
      Math.min(1_000, Math.max(10, idleTimeoutMs / 10)),
    );
  }

  #outcome(ending: Ending, stream: string): WaitOutcome {
    const downMs = this.#downMs + (this.#downSince === undefined ? 0 : this.clock.now() - this.#downSince);
    return {
      error: undefined,
      deciding: this.#judge.matched.at(-1),
      judge: this.#judge,
      stream,
      linkBreaks: { count: this.#breaks, totalMs: downMs },
      ...ending,
    };
  }

  #notCome(): string {
    const { expect, count, subjects } = this.request;
    const on = `on ${subjects.join(', ')}`;
    if (expect !== undefined) return `Not all of ${expect.join(', ')} came ${on}`;
    return `${count === 1 ? 'A matching event' : `${String(count)} matching events`} ${on} did not come`;
  }

  /** What to look at first when the time was over. */
  #advice(): string {
    if (this.#judge.counts.seen === 0) {
      return this.request.delivery === 'core'
        ? 'Check that the sender ran and published to this subject while this step waited: core NATS keeps no events.'
        : 'Check that the sender ran and published to this subject.';
    }
    return this.#lastMiss === undefined
      ? 'All that came counted: check that every sender ran.'
      : 'Compare what the sender published with the conditions of this step.';
  }

  /** What was seen so far, in sentences without the last full stop. */
  #summary(): string {
    const { seen, matched, ...others } = this.#judge.counts;
    const parts = Object.entries({ matched, ...others })
      .filter(([, number]) => number > 0)
      .map(([name, number]) => `${String(number)} ${LABELS[name as keyof typeof LABELS]}`);
    const { missing, distinctValues: values } = this.#judge;
    return [
      seen === 0 ? 'No event came at all' : `Seen ${String(seen)}: ${parts.join(', ')}`,
      values.length === 0
        ? ''
        : `Came: ${values.slice(0, MOST_VALUES).join(', ')}${values.length > MOST_VALUES ? ', …' : ''}`,
      typeof missing === 'number'
        ? this.request.count > 1
          ? `Missing: ${String(missing)}`
          : ''
        : `Missing: ${missing.join(', ')}`,
      this.#lastMiss === undefined
        ? ''
        : `The last one that did not count (${nameOf(this.#lastMiss)}): ${this.#lastMiss.reason}`,
      this.#breaks === 0 ? '' : `The link broke ${String(this.#breaks)} times`,
    ]
      .filter(Boolean)
      .join('. ');
  }

  #progress(): string {
    const left = Math.max(0, this.clock.deadline - this.clock.now());
    return `Still waiting, ${describeMs(roundedMs(left))} left. ${this.#summary()}.`;
  }
}

const LABELS = {
  matched: 'matched',
  foreign: 'foreign',
  untrusted: 'untrusted',
  expired: 'expired',
  invalid: 'invalid',
  notMatching: 'not matching',
  repeated: 'repeated',
  negative: 'negative',
};

/** The deadline passed with the link up, but before there was anything to hear of events. */
const NOT_BEGUN: Ending = {
  verdict: 'timedOut',
  error: new TaskError(
    'Timeout',
    'The deadline passed before the wait could begin: the server took the connection, but did not answer in time',
    'See whether the server and JetStream on it are slow or without a leader, or raise the timeout.',
  ),
};

function failure(error: unknown): Pick<WaitOutcome, 'verdict' | 'error'> {
  if (!(error instanceof TaskError)) throw error;
  return { verdict: VERDICT_OF_CODE[error.code] ?? 'error', error };
}

const VERDICT_OF_CODE: Readonly<Partial<Record<TaskError['code'], Verdict>>> = {
  Cancelled: 'cancelled',
  Denied: 'denied',
  ConnectionLost: 'connectionLost',
};

/** One structured line: what was decided on which event, with its latency from publication to receipt. */
function eventLine(judged: JudgedEvent): string {
  const { message, decoded } = judged;
  const published = publishedAt(message, decoded);
  return logLine(judged.decision, {
    subject: message.subject,
    messageId: messageIdOf(judged),
    stream: message.stream || undefined,
    sequence: message.sequence || undefined,
    latencyMs: published === undefined ? undefined : message.receivedAt - published,
    correlationId: decoded.correlationId,
    source: decoded.attributes.source,
    signedBy: judged.signedBy,
    reason: judged.reason || undefined,
  });
}

/** The CloudEvents `id`, else `Nats-Msg-Id`; empty when it has neither. */
export function messageIdOf({ message, decoded }: JudgedEvent): string {
  return decoded.attributes.id ?? message.headers.get('nats-msg-id')?.[0] ?? '';
}

/** How messages name an event: where it is found again. */
function nameOf({ message }: Pick<JudgedEvent, 'message'>): string {
  return message.stream === ''
    ? `on "${message.subject}"`
    : `${message.stream} ${String(message.sequence)} on "${message.subject}"`;
}

function describeStart({ delivery, start }: WaitRequest): string {
  if (delivery === 'core' || start.from === 'now') return 'now';
  if (start.from === 'sequence') return `after sequence ${String(start.after)}`;
  return start.from === 'time' ? new Date(start.at).toISOString() : start.from;
}

/** Milliseconds as inputs write durations: `1h30m`, `1s500ms`. */
export function describeMs(ms: number): string {
  const parts = [
    [Math.floor(ms / 3_600_000), 'h'],
    [Math.floor(ms / 60_000) % 60, 'm'],
    [Math.floor(ms / 1_000) % 60, 's'],
    [ms % 1_000, 'ms'],
  ] as const;
  const described = parts.filter(([number]) => number > 0).map(([number, unit]) => `${String(number)}${unit}`);
  return described.join('') || '0ms';
}

/** Rounded to seconds, where there is at least one. */
export function roundedMs(ms: number): number {
  return ms < 1_000 ? Math.round(ms) : Math.round(ms / 1_000) * 1_000;
}
