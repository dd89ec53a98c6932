import { createHash } from 'node:crypto';
import type { ReceivedMessage } from '../bus.ts';
import { describeProblems, type Contract } from '../contract/contract.ts';
import { reasonOf, TaskError } from '../errors.ts';
import { ReceivedEvent, type EventView } from '../event/receivedEvent.ts';
import { equalityKey, UndecidableError } from '../text/json.ts';
import { differOnlyInCase, isTruthy } from '../expression/expression.ts';
import { interruptible, isInterruption } from '../text/interruptible.ts';
import type { Clock } from '../clock.ts';
import { quoted } from '../text/safeText.ts';
import { verifySignature } from '../signing/signature.ts';
import { askForField, hasField, misspeltField, type FieldPath } from './absentFields.ts';
import type { NamedExpression, WaitCriteria } from './criteria.ts';

/** How an event was judged. A wait ends with `negative`, `invalid` if `onInvalid` is `fail`, and `matched`, once enough have come. */
export type Decision =
  'foreign' | 'untrusted' | 'expired' | 'invalid' | 'notMatching' | 'repeated' | 'negative' | 'matched';

/** How long computations on events may take, in milliseconds: anyone who may publish chooses their input. */
export interface JudgeLimits {
  /** For one event: its envelope, the schema and all expressions together. */
  readonly eventMs: number;
  /** How many interrupted attempts at one event count as one interruption; see {@link interruptible}. */
  readonly calls: number;
  /** This many interrupted events end the wait. */
  readonly interruptions: number;
  /** Events slower than {@link SLICE_MS} each also end the wait once they took this long in total. */
  readonly slowMs: number;
}

export const STEP_LIMITS: JudgeLimits = { eventMs: 1_000, calls: 1, interruptions: 10, slowMs: 60_000 };

/** After this much work, in milliseconds, timers and signals get a turn. */
export const SLICE_MS = 50;
/** How long one interruptible call may take, in milliseconds. */
const CALL_MS = 2 * SLICE_MS;
/** Most characters of a `distinctBy` value: a wait keeps one for each event that matched, and shows it. */
const MOST_KEY = 1_000;
/** For saying why an event did not match. */
const REASON_MS = 100;
/** For finding a misspelt field of `failWhen`, in all events of a wait together. */
const MISSPELT_MS = 100;

/** An event and the decision on it. */
export class JudgedEvent {
  #reason: string | (() => string);

  constructor(
    readonly event: ReceivedEvent,
    readonly decision: Decision,
    /** The key that signed it, when signatures are checked. */
    readonly signedBy: string | undefined,
    reason: string | (() => string),
    /** What no two matching events may share; undefined when there is nothing to tell them apart by. */
    readonly key?: string,
  ) {
    this.#reason = reason;
  }

  /** Why, for all decisions but `matched`: a clause without full stop. Worked out when it is first read, in limited time. */
  get reason(): string {
    if (typeof this.#reason !== 'string') this.#reason = this.#reason();
    return this.#reason;
  }
}

/** How many events of each kind there were. `seen` is the sum of the others. */
export type Counts = Readonly<Record<'seen' | Decision, number>>;

/** How far a wait has come, as JSON: all it takes to continue it elsewhere. */
export interface Progress {
  readonly counts: Counts;
  /** What the events that matched are told apart by, in their order. */
  readonly keys: readonly string[];
}

/** A sender's clock may be ahead by this much before an event counts as one from the future. */
const FUTURE_TOLERANCE_MS = 60_000;

/**
 * Judges one event after the other against what a step waits for, in the fixed order: correlation, signature, age,
 * envelope and schema, `failWhen`, `match`, distinctness. Knows no connection.
 *
 * {@link assess} does all that takes time and changes nothing, so that it can be interrupted anywhere; {@link decide} counts.
 */
export class Judge {
  readonly matched: JudgedEvent[] = [];
  /**
   * How many events of a backlog are judged together: small, so that they die young in V8's heap; large where judging takes an
   * interruptible call, since each costs time.
   */
  readonly batch: number;
  readonly #counts: Record<'seen' | Decision, number> = {
    seen: 0,
    foreign: 0,
    untrusted: 0,
    expired: 0,
    invalid: 0,
    notMatching: 0,
    repeated: 0,
    negative: 0,
    matched: 0,
  };
  readonly #keys = new Set<string>();
  readonly #warned = new Set<string>();
  /** What is being computed, for the reason of an interruption. */
  #doing = '';
  readonly #warnings: string[] = [];
  /** Fields of `match` that no event has had. */
  #absent: readonly FieldPath[];
  /** Fields of `distinctBy` that no event that it was tried on has had; none before it was. */
  #absentInKey: readonly FieldPath[] | undefined;
  /** Fields of `failWhen` that no event has had; none once one was asked for. */
  #absentInFailWhen: readonly FieldPath[];
  #misspeltMs = MISSPELT_MS;
  #misspelling: string | undefined;
  /**
   * Whether judging an event can take longer than reading it. If not, it isn't made interruptible, which would cost a tenth of
   * a backlog's rate.
   */
  readonly #canBeSlow: boolean;
  /** The event before took long, and so may the next one. */
  #isSlow = false;
  #interruptions = 0;
  #slowMs = 0;
  #exhaustion: TaskError | undefined;

  /** @param warn called once for each expression that errors on an event, and once for a field that `failWhen` misspells */
  constructor(
    private readonly criteria: WaitCriteria,
    private readonly contract: Contract | undefined,
    private readonly clock: Pick<Clock, 'now' | 'deadline'>,
    private readonly warn: (text: string) => void,
    private readonly limits = STEP_LIMITS,
  ) {
    const { match, failWhen, distinctBy } = criteria;
    this.#canBeSlow = contract !== undefined || [match, failWhen, distinctBy].some((it) => it?.isPlain === false);
    this.#absent = match?.dataFields ?? [];
    this.#absentInFailWhen = failWhen?.dataFields ?? [];
    this.batch = this.#canBeSlow ? 1_024 : 128;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** How far it has come. The events themselves are not part of it. */
  get progress(): Progress {
    return { counts: { ...this.#counts }, keys: [...this.#keys] };
  }

  /** Continues where another judge of the same criteria stopped. */
  resume({ counts, keys }: Progress): void {
    Object.assign(this.#counts, counts);
    // The other one may have seen events that had them.
    if (counts.seen > 0) this.#absent = this.#absentInFailWhen = this.#absentInKey = [];
    for (const key of keys) this.#keys.add(key);
  }

  /** Whether everything that was asked for has come. */
  get isSatisfied(): boolean {
    return this.#counts.matched >= this.criteria.count;
  }

  /** The values of `expect` that haven't come yet, otherwise how many events are missing. */
  get missing(): readonly string[] | number {
    const { expect, count } = this.criteria;
    return expect?.filter((value) => !this.#keys.has(value)) ?? Math.max(0, count - this.#counts.matched);
  }

  /** The fields below `data` that `match` or `distinctBy` reads and none of the events it was tried on has had. */
  get absentFields(): readonly FieldPath[] {
    return [...this.#absent, ...(this.#absentInKey ?? [])];
  }

  /** Those of `match`. */
  get absentInMatch(): readonly FieldPath[] {
    return this.#absent;
  }

  /** A sentence on the field that `failWhen` probably misspells, once an event has shown it. */
  get misspelling(): string | undefined {
    return this.#misspelling;
  }

  /** The values of `distinctBy` that have come; none without it. */
  get distinctValues(): readonly string[] {
    return this.criteria.distinctBy === undefined ? [] : [...this.#keys];
  }

  /** Set once computing from events has taken more than a wait may spend on it. */
  get exhaustion(): TaskError | undefined {
    return this.#exhaustion;
  }

  /**
   * Assesses each of the first messages on its own, as many as fit a time slice; none once the deadline has passed. An
   * event that takes longer than one may is invalid.
   */
  assess(messages: readonly ReceivedMessage[]): readonly JudgedEvent[] {
    const [first] = messages;
    const { deadline } = this.clock;
    const began = this.clock.now();
    if (first === undefined || began >= deadline) return [];
    if (this.#isSlow) return this.#assessSlow(first);
    const assessed: JudgedEvent[] = [];
    const assessSlice = () => {
      for (const message of messages) {
        assessed.push(this.assessUnlimited(new ReceivedEvent(message)));
        const now = this.clock.now();
        if (now - began >= SLICE_MS || now >= deadline) break;
      }
    };
    try {
      if (this.#canBeSlow) interruptible(assessSlice, Math.min(CALL_MS, deadline - began));
      else assessSlice();
    } catch (error) {
      if (!isInterruption(error)) {
        if (assessed.length === 0) throw error;
      } else {
        this.#isSlow = true;
        if (assessed.length === 0) return this.#assessSlow(first);
      }
    } finally {
      this.tellWarnings();
    }
    return assessed;
  }

  /** Retries alone an event that was interrupted together with others; nothing when the deadline passes meanwhile. */
  #assessSlow(message: ReceivedMessage): readonly JudgedEvent[] {
    const { deadline } = this.clock;
    const { eventMs, calls } = this.limits;
    const began = this.clock.now();
    try {
      return [
        interruptible(
          () => this.assessUnlimited(new ReceivedEvent(message)),
          Math.min(eventMs, deadline - began),
          calls,
        ),
      ];
    } catch (error) {
      if (!isInterruption(error)) throw error;
      if (this.clock.now() >= deadline) return [];
      this.#interruptions++;
      const reason = `${this.#doing} was interrupted after ${eventMs} ms`;
      return [new JudgedEvent(new ReceivedEvent(message), 'invalid', undefined, reason)];
    } finally {
      const ms = this.clock.now() - began;
      this.#isSlow = ms >= SLICE_MS;
      if (this.#isSlow) this.#slowMs += ms;
      this.#checkBudget();
      this.tellWarnings();
    }
  }

  /** Call it outside interruptible code: an interrupted write would never end. */
  tellWarnings(): void {
    for (const warning of this.#warnings.splice(0)) this.warn(warning);
  }

  #checkBudget(): void {
    const { interruptions, slowMs } = this.limits;
    if (this.#interruptions < interruptions && this.#slowMs < slowMs) return;
    const isSchema = this.#doing === CHECK_OF_DATA;
    this.#exhaustion ??= new TaskError(
      isSchema ? 'InvalidSchema' : 'InvalidInput',
      `Events on ${this.criteria.subjects.join(', ')} take too long to judge: ${this.#interruptions} were interrupted, the last one during ${this.#doing}`,
      isSchema
        ? 'Look for a regular expression with nested repetition in the schema, and limit lengths (maxLength, maxItems) before it.'
        : `Simplify ${this.#doing}, such as a filter within a filter, and see who may publish to the subject.`,
    );
  }

  /** Counts an assessed event, and finds out whether a matching one has come before. Called in the order of the stream. */
  decide(assessed: JudgedEvent): JudgedEvent {
    const judged = assessed.decision === 'matched' ? this.#distinguish(assessed) : assessed;
    this.#counts.seen++;
    this.#counts[judged.decision]++;
    if (AFTER_FAIL_WHEN.has(judged.decision)) this.#checkFailWhen(judged.event);
    if (judged.decision === 'matched') this.matched.push(judged);
    // It may be kept for long, with many others.
    judged.event.forget();
    return judged;
  }

  /** A condition on a misspelt field never holds, so an event that had to fail the step would pass unnoticed. */
  #checkFailWhen(event: ReceivedEvent): void {
    const fields = this.#absentInFailWhen;
    if (fields.length === 0) return;
    const began = this.clock.now();
    try {
      const named = this.criteria.failWhen?.dataFields ?? [];
      const misspelt = interruptible(() => misspeltField(fields, event, named), this.#misspeltMs);
      if (misspelt !== undefined) {
        this.#misspelling = `failWhen: the event has no ${misspelt.absent}. Did you mean ${misspelt.meant}?`;
      }
    } catch (error) {
      if (!isInterruption(error)) throw error;
      this.#misspeltMs = 0;
    }
    this.#misspeltMs -= this.clock.now() - began;
    if (this.#misspelling === undefined && this.#misspeltMs > 0) return;
    this.#absentInFailWhen = [];
    if (this.#misspelling !== undefined) this.warn(this.#misspelling);
  }

  #distinguish(judged: JudgedEvent): JudgedEvent {
    const { event, signedBy, key = `arrival:${this.#counts.seen}` } = judged;
    if (!this.#keys.has(key)) {
      this.#keys.add(key);
      return judged;
    }
    const shared = this.criteria.distinctBy === undefined ? 'the same id' : `distinctBy ${quoted(key)}`;
    return new JudgedEvent(event, 'repeated', signedBy, `an event with ${shared} has come before`);
  }

  /** {@link assess} for one event, from within what is interrupted; {@link tellWarnings} has to follow it. */
  assessUnlimited(event: ReceivedEvent): JudgedEvent {
    this.#doing = 'reading the event';
    const { message } = event;
    const { correlationId, trustedKeys, maxEventAgeMs, failWhen, match, distinctBy, expect } = this.criteria;
    let signedBy: string | undefined;
    const is = (decision: Decision, reason: string | (() => string) = '', key?: string): JudgedEvent =>
      new JudgedEvent(event, decision, signedBy, reason, key);
    if (correlationId !== undefined && event.correlationId !== correlationId) {
      const other = event.correlationId;
      return is('foreign', other === undefined ? 'it has no correlation id' : `its correlation id is ${quoted(other)}`);
    }
    let publishedAtMs = maxEventAgeMs === undefined ? undefined : event.publishedAt;
    if (trustedKeys !== undefined) {
      const signature = verifySignature(message, trustedKeys);
      if (!signature.ok) return is('untrusted', signature.reason);
      signedBy = signature.kid;
      publishedAtMs = signature.signedAt;
    }
    if (maxEventAgeMs !== undefined) {
      const problem = ageProblem(message, publishedAtMs, maxEventAgeMs);
      if (problem !== undefined) return is('expired', problem);
    }
    const invalid = event.problem ?? this.#contractProblem(event);
    if (invalid !== undefined) return is('invalid', invalid);
    if (failWhen !== undefined) {
      try {
        if (this.#holds('failWhen', failWhen, event.view)) return is('negative', `met failWhen: ${failWhen.text}`);
      } catch (error) {
        // A sender must not be able to switch the condition off.
        if (!(error instanceof UndecidableError)) throw error;
        return is('invalid', `failWhen cannot be decided: ${error.message}`);
      }
    }
    if (this.#absentInFailWhen.length > 0) {
      this.#absentInFailWhen = this.#absentInFailWhen.filter((path) => !hasField(event.data, path));
    }
    if (this.#absent.length > 0) this.#absent = this.#absent.filter((path) => !hasField(event.data, path));
    if (match !== undefined && !this.#holds('match', match, event.view)) {
      return is('notMatching', () => nearMiss(match, event.view));
    }
    if (distinctBy === undefined) return is('matched', '', identityOf(event));
    const key = textOf(this.#evaluate('distinctBy', distinctBy, event.view));
    this.#absentInKey ??= distinctBy.dataFields;
    if (this.#absentInKey.length > 0)
      this.#absentInKey = this.#absentInKey.filter((path) => !hasField(event.data, path));
    if (key === undefined) return is('notMatching', () => noValue(distinctBy, event));
    if (key.length > MOST_KEY) return is('notMatching', `distinctBy is longer than ${MOST_KEY} characters`);
    if (expect !== undefined && !expect.includes(key)) return is('notMatching', () => unexpected(key, expect));
    return is('matched', '', key);
  }

  #contractProblem(event: ReceivedEvent): string | undefined {
    if (this.contract === undefined) return undefined;
    this.#doing = CHECK_OF_DATA;
    if (event.dataBase64 !== null) return 'its data is not JSON, which the schema demands';
    const result = this.contract.checkUnlimited(event.data, () => event.exactData);
    return result.outcome === 'violated'
      ? `its data breaks the schema: ${describeProblems(result.problems)}`
      : undefined;
  }

  #holds(name: string, expression: NamedExpression, view: EventView): boolean {
    return isTruthy(this.#evaluate(name, expression, view));
  }

  /**
   * An expression that errors on an event is null for it; the first time is a warning. But a `failWhen` that can't be decided
   * throws an `UndecidableError`.
   */
  #evaluate(name: string, expression: NamedExpression, view: EventView): unknown {
    this.#doing = name;
    try {
      return expression.evaluate(view);
    } catch (error) {
      if (name === 'failWhen' && error instanceof UndecidableError) throw error;
      if (!this.#warned.has(name)) {
        this.#warned.add(name);
        this.#warnings.push(
          `${name} fails on the event ${view.stream} ${view.sequence} and counts as false for it: ${reasonOf(error)}. Further ones are not reported.`,
        );
      }
      return null;
    }
  }
}

const CHECK_OF_DATA = 'the check of its data';
/** Events that `failWhen` was tried on. */
const AFTER_FAIL_WHEN: ReadonlySet<Decision> = new Set(['negative', 'notMatching', 'repeated', 'matched']);

/** What makes two deliveries the same event: `source` and `id`, otherwise `Nats-Msg-Id`, otherwise the place in the stream. */
function identityOf({ message, attributes, place }: ReceivedEvent): string | undefined {
  const { source, id } = attributes;
  if (source !== undefined && id !== undefined)
    return createHash('sha256')
      .update(JSON.stringify([source, id]))
      .digest('base64');
  const messageId = message.headers.get('nats-msg-id')?.[0];
  if (messageId !== undefined) return `id:${messageId}`;
  return place && `sequence:${place.sequence}`;
}

/** A value as text: a string as it is, otherwise JSON; undefined for null and for what is nested too deeply to be written. */
function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  try {
    return typeof value === 'string' ? value : equalityKey(value);
  } catch {
    return undefined;
  }
}

function ageProblem(message: ReceivedMessage, publishedAtMs: number | undefined, maxAgeMs: number): string | undefined {
  if (publishedAtMs === undefined) return 'it does not say when it was published';
  const age = message.receivedAt - publishedAtMs;
  if (age > maxAgeMs) return `it is ${age} ms old`;
  if (age < -FUTURE_TOLERANCE_MS) return `its time is ${-age} ms in the future`;
  return undefined;
}

function noValue({ text, dataFields }: NamedExpression, event: ReceivedEvent): string {
  const question = askForField(dataFields, event);
  return `it has no value for distinctBy (${text}${question === '' ? '' : `; ${question}`})`;
}

function unexpected(key: string, expect: readonly string[]): string {
  const meant = expect.find((value) => differOnlyInCase(value, key));
  const hint = meant === undefined ? '' : `: ${quoted(meant)} differs only in case`;
  return `distinctBy is ${quoted(key)}, which is not expected${hint}`;
}

function nearMiss(match: NamedExpression, view: EventView): string {
  try {
    return interruptible(() => match.nearMiss(view), REASON_MS) ?? `${match.text} was false`;
  } catch (error) {
    return isInterruption(error) ? `${match.text} was false` : reasonOf(error);
  }
}
