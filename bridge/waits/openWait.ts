import type { LookBack, ReceivedMessage, StartPosition } from '../../shared/bus.ts';
import type { Contract } from '../../shared/contract/contract.ts';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { nameOf, type Seen } from '../../shared/waiting/explain.ts';
import { Judge, type Counts, type JudgedEvent, type JudgeLimits } from '../../shared/waiting/judge.ts';
import { askedOutputs, emptyOutputs, foreignOutputs, placeOutputs } from '../../shared/waiting/outputs.ts';
import { endedBy, endedByDeadline, endedByFailure, MATCHED, type Ending } from '../../shared/waiting/verdict.ts';
import { readWaitRequest, type WaitRequest } from './criteria.ts';
import type { KnownWait } from './openWaits.ts';
import { NO_COUNTS, type WaitEnding, type WaitProgress, type WaitStart } from './record.ts';

/** Keeps one tenant from stopping the others. */
export const EVENT_MS = 100;
export const WAIT_LIMITS: JudgeLimits = { eventMs: EVENT_MS, calls: 2, interruptions: 3, slowMs: 10_000 };
/** For reading the outputs from the event that decides. */
const OUTPUTS_MS = 200;
/** Notes on misspelt fields and outputs without a value in the task's log: the record has to hold them. */
const MOST_NOTES = 10;

export interface OpenWaitOptions {
  readonly contracts: Readonly<Record<string, Contract>>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called once for each expression that errors on an event, and once for a field that `failWhen` misspells. */
  readonly warn: (text: string) => void;
}

/** The outcome of an event. */
export type Step = { readonly kind: 'passed' | 'counted' } | { readonly kind: 'ended'; readonly ending: WaitEnding };

interface Compiled {
  readonly request: WaitRequest;
  readonly contract: Contract | undefined;
  readonly judge: Judge;
}

/**
 * One wait under judgement, by the code of the agent's task: criteria, contract and judge are compiled when they're first
 * needed, since most waits see one event.
 */
export class OpenWait {
  readonly subjects: readonly string[];
  readonly correlationId: string | undefined;
  /** Nothing up to this sequence is judged again. */
  position: number;
  /** Events on its subjects that the index didn't show it. */
  unseen: () => number = NONE_UNSEEN;
  #compiled: Compiled | undefined;
  #lastMiss: JudgedEvent | undefined;
  #isSlow = false;
  #isOver = false;

  constructor(
    /** As it is known now. */
    public known: KnownWait,
    private readonly options: OpenWaitOptions,
  ) {
    this.subjects = known.common.subjects;
    this.correlationId = known.correlationId;
    this.position = known.progress?.sequence ?? known.start.after;
  }

  /** Whether an event took so long that others mustn't wait for this wait. */
  get isSlow(): boolean {
    return this.#isSlow;
  }

  /** An event took too long while it was judged for this wait and others: nobody waits for this one any more. */
  becomeSlow(): void {
    this.#isSlow = true;
  }

  /** Whether it has stopped judging. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether an event lies within the wait, going by when the stream stored it. */
  hasBegun({ storedAt = Infinity }: ReceivedMessage): boolean {
    const { at } = this.known.start;
    return at === undefined || storedAt >= at;
  }

  /** The judge for assessing the next event ahead of {@link take}; undefined when there's no need or `take` has to do it. Never throws. */
  judgeFor(message: ReceivedMessage): Judge | undefined {
    if (!this.#concerns(message) || this.#isTooLate(message)) return undefined;
    try {
      return this.#ready.judge;
    } catch {
      return undefined;
    }
  }

  /**
   * Judges the next event on its subjects; in the order of the stream. Never throws.
   *
   * @param assessed by {@link judgeFor}
   */
  take(message: ReceivedMessage, assessed?: JudgedEvent): Step {
    if (!this.#concerns(message)) return PASSED;
    try {
      if (this.#isTooLate(message)) return ended(this.timeOut());
      return this.#judge(message, assessed);
    } catch (error) {
      const problem = `The event ${nameOf(message)} cannot be judged: ${reasonOf(error)}`;
      return ended(this.fail(error instanceof TaskError ? error : new TaskError('Internal', problem)));
    }
  }

  /**
   * Ends it because its time is over: all events until then have been judged.
   *
   * @param lookBack what the stream holds on its subjects; undefined: nobody has looked
   */
  timeOut(lookBack?: LookBack): WaitEnding {
    try {
      const { request } = this.#ready;
      return this.#end(endedByDeadline(request.criteria, this.#seen(lookBack), undefined), undefined);
    } catch (error) {
      return this.fail(error instanceof TaskError ? error : new TaskError('Internal', reasonOf(error)));
    }
  }

  /** Ends it because it can't go on. */
  fail(error: TaskError): WaitEnding {
    const ending = failureOf(error, this.counts, this.missing);
    this.stop();
    return ending;
  }

  /** Stops judging: someone else has ended it. */
  stop(): void {
    this.#isOver = true;
    // It may be kept until its deadline, with thousands of others.
    this.#compiled = undefined;
    this.#lastMiss = undefined;
  }

  get progress(): WaitProgress {
    const keys = this.#compiled?.judge.progress.keys ?? this.known.progress?.keys ?? [];
    return { sequence: this.position, counts: this.counts, keys };
  }

  get counts(): Counts {
    const counts = this.#compiled?.judge.counts ?? this.known.progress?.counts ?? NO_COUNTS;
    const unseen = this.unseen();
    return { ...counts, seen: counts.seen + unseen, foreign: counts.foreign + unseen };
  }

  get missing(): readonly string[] | number {
    return this.#compiled?.judge.missing ?? 0;
  }

  #concerns(message: ReceivedMessage): boolean {
    return !this.#isOver && sequenceOf(message) > this.position && this.hasBegun(message);
  }

  /** By the stream's time, so that it doesn't matter when an event is read. */
  #isTooLate({ storedAt = 0 }: ReceivedMessage): boolean {
    return storedAt > this.known.deadline;
  }

  #assess(message: ReceivedMessage): JudgedEvent {
    const began = this.options.now();
    const [assessed] = this.#ready.judge.assess([message]);
    if (this.options.now() - began >= EVENT_MS) this.#isSlow = true;
    if (assessed === undefined) throw new TaskError('Internal', `The event ${nameOf(message)} was not judged`);
    return assessed;
  }

  #judge(message: ReceivedMessage, assessed = this.#assess(message)): Step {
    const { judge, request } = this.#ready;
    this.position = sequenceOf(message);
    const judged = judge.decide(assessed);
    // Only the last one is needed, and each one holds its payload.
    judge.matched.splice(0, judge.matched.length - 1);
    if (judge.exhaustion !== undefined) return ended(this.#end(endedByFailure(judge.exhaustion), judged));
    if (judged.decision === 'matched')
      return judge.isSatisfied ? ended(this.#end(MATCHED, judged)) : { kind: 'counted' };
    const ending = endedBy(judged, request.criteria);
    if (ending !== undefined) return ended(this.#end(ending, judged));
    const isNearer = judged.decision !== 'foreign' || (this.#lastMiss?.decision ?? 'foreign') === 'foreign';
    if (isNearer) this.#lastMiss = judged;
    return PASSED;
  }

  #seen(lookBack: LookBack | undefined): Seen {
    const { judge } = this.#ready;
    const { distinctValues, missing, absentFields } = judge;
    const linkBreaks = { count: 0, totalMs: 0 };
    const { start, acceptedAt, common } = this.known;
    const from = startPosition(start, common.inputs['startFrom']);
    const searched = { stream: start.stream, start: from, begunAt: acceptedAt, lookBack };
    return {
      counts: this.counts,
      missing,
      distinctValues,
      absentFields,
      lastMiss: this.#lastMiss,
      linkBreaks,
      searched,
    };
  }

  #end(ending: Ending, deciding: JudgedEvent | undefined): WaitEnding {
    const told = this.#told(ending, deciding);
    this.stop();
    return told;
  }

  #told({ verdict, error }: Ending, deciding: JudgedEvent | undefined): WaitEnding {
    const { judge, request } = this.#ready;
    const judged = deciding ?? judge.matched.at(-1);
    const { counts, missing } = this;
    const event = judged?.event;
    const place = event?.place;
    const asked = askedOutputs(request.criteria.outputs, event, OUTPUTS_MS, WAIT_LIMITS.calls);
    const isGood = verdict === 'matched' || (verdict === 'timedOut' && request.onTimeout === 'succeed');
    if ('problem' in asked && isGood) {
      const where = place === undefined ? 'the stream' : `${place.stream} ${place.sequence}`;
      const refused = new TaskError(asked.code, `outputs: ${asked.problem}`, `${asked.advice} ${where}.`);
      const failed = failureOf(refused, counts, missing);
      // Anyone looking into it needs to know which event it was.
      const outputs = { ...failed.outputs, ...placeOutputs(event), ...foreignOutputs(event, missing) };
      return { ...failed, ...eventOf(judged), outputs };
    }
    const values = 'values' in asked ? asked.values : {};
    const empty = event === undefined ? [] : emptyOutputs(request.criteria.outputs, values, event);
    const { misspelling = [] } = judge;
    const notes = [misspelling, empty.map(({ text }) => text)].flat().slice(0, MOST_NOTES);
    return {
      verdict: verdict === 'contractViolation' ? 'invalid' : isTold(verdict) ? verdict : 'error',
      reason: error === undefined ? '' : sentences(error),
      ...{ counts, missing },
      ...eventOf(judged),
      outputs: {
        ...{ verdict, count: String(counts.matched) },
        ...placeOutputs(event),
        ...values,
        ...foreignOutputs(event, missing),
      },
      ...(notes.length === 0 ? {} : { notes }),
      ...(error === undefined ? {} : { code: error.code }),
    };
  }

  /** @throws TaskError when it can no longer be read, as after a contract was removed */
  get #ready(): Compiled {
    if (this.#compiled !== undefined) return this.#compiled;
    const { contracts, now, warn } = this.options;
    const { common, correlationId, acceptedAt, deadline, progress } = this.known;
    const inputs = correlationId === undefined ? common.inputs : { ...common.inputs, correlationId };
    const contractNames = Object.keys(contracts);
    // Where it starts is settled.
    const options = { contracts: contractNames, maxWaitMs: Infinity, runStart: 0, ownStreams: [] };
    const read = readWaitRequest(inputs, options);
    const request = { ...read, criteria: { ...read.criteria, timeoutMs: deadline - acceptedAt } };
    const contract = request.contract === undefined ? undefined : contracts[request.contract];
    const judge = new Judge(request.criteria, contract, { now, deadline: Infinity }, warn, WAIT_LIMITS);
    if (progress !== undefined) judge.resume(progress);
    return (this.#compiled = { request, contract, judge });
  }
}

const NONE_UNSEEN = () => 0;
const PASSED: Step = { kind: 'passed' };

/** Where a wait began, as its author wrote it. */
function startPosition({ after, at }: WaitStart, startFrom: string | undefined): StartPosition {
  if (at !== undefined) return { from: 'time', at, correctSkew: false };
  if (startFrom === 'sequence') return { from: 'sequence', after };
  return { from: startFrom === 'all' ? 'all' : 'now' };
}

function sequenceOf({ place }: ReceivedMessage): number {
  return place?.sequence ?? 0;
}

function ended(ending: WaitEnding): Step {
  return { kind: 'ended', ending };
}

/** The event that decided, as an ending has it. */
function eventOf(judged: JudgedEvent | undefined): Pick<WaitEnding, 'event'> {
  const place = judged?.event.place;
  if (judged === undefined || place === undefined) return {};
  const { event, signedBy } = judged;
  return {
    event: {
      ...{ subject: event.subject, stream: place.stream, sequence: place.sequence },
      id: event.messageId,
      source: event.attributes.source ?? '',
      ...(signedBy === undefined ? {} : { signedBy }),
      storedAt: event.message.storedAt ?? 0,
    },
  };
}

function failureOf(error: TaskError, counts: Counts, missing: WaitEnding['missing']): WaitEnding {
  const outputs = { verdict: 'error', count: String(counts.matched) };
  return { verdict: 'error', reason: sentences(error), counts, missing, outputs, code: error.code };
}

function sentences({ problem, remedy, code }: TaskError): string {
  // Its advice is to read the log of a step.
  return code === 'Negative' ? `${problem}.` : [`${problem}.`, remedy].filter(Boolean).join(' ');
}

function isTold(verdict: Ending['verdict']): verdict is 'matched' | 'negative' | 'timedOut' | 'cancelled' | 'error' {
  return ['matched', 'negative', 'timedOut', 'cancelled', 'error'].includes(verdict);
}
