import { createHash } from 'node:crypto';
import type { ReceivedMessage } from '../shared/bus.ts';
import { describeProblems, type Contract } from '../shared/contract.ts';
import { reasonOf } from '../shared/errors.ts';
import { decodeEvent, type DecodedEvent } from '../shared/eventDecoding.ts';
import { eventView, publishedAt, type EventView } from '../shared/eventView.ts';
import { isTruthy } from '../shared/expression.ts';
import { quoted } from '../shared/safeText.ts';
import { verifySignature } from '../shared/signature.ts';
import type { NamedExpression, WaitRequest } from './inputs.ts';

/** What an event was found to be. The first six end nothing; the others may. */
export type Decision =
  'foreign' | 'untrusted' | 'expired' | 'invalid' | 'notMatching' | 'repeated' | 'negative' | 'matched';

/** An event with what was decided on it. */
export class JudgedEvent {
  readonly #reason: string | (() => string);

  constructor(
    readonly message: ReceivedMessage,
    readonly decoded: DecodedEvent,
    readonly view: EventView,
    readonly decision: Decision,
    /** The key that signed it, where signatures are checked. */
    readonly signedBy: string | undefined,
    reason: string | (() => string),
  ) {
    this.#reason = reason;
  }

  /** Why, for all decisions but `matched`: a clause without full stop. Worked out only when it is read. */
  get reason(): string {
    return typeof this.#reason === 'string' ? this.#reason : this.#reason();
  }
}

/** How many events of each kind there were. `seen` is the sum of the others. */
export type Counts = Readonly<Record<'seen' | Decision, number>>;

/** A sender's clock may be ahead by this much before an event counts as one from the future. */
const FUTURE_TOLERANCE_MS = 60_000;

/**
 * Judges one event after the other against what a step waits for, in the fixed order: correlation, signature, age,
 * envelope and schema, `failWhen`, `match`, distinctness. Knows no clock and no connection.
 */
export class Judge {
  readonly matched: JudgedEvent[] = [];
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

  /**
   * @param warn called once for each expression that errors on an event
   */
  constructor(
    private readonly request: WaitRequest,
    private readonly contract: Contract | undefined,
    private readonly warn: (text: string) => void,
  ) {}

  get counts(): Counts {
    return this.#counts;
  }

  /** Whether all that was asked for has come. */
  get isSatisfied(): boolean {
    return this.matched.length >= this.request.count;
  }

  /** The values of `expect` that have not come yet, else how many events are missing. */
  get missing(): readonly string[] | number {
    return (
      this.request.expect?.filter((value) => !this.#keys.has(value)) ??
      Math.max(0, this.request.count - this.matched.length)
    );
  }

  /** The values of `distinctBy` that have come; none without it. */
  get distinctValues(): readonly string[] {
    return this.request.distinctBy === undefined ? [] : [...this.#keys];
  }

  judge(message: ReceivedMessage): JudgedEvent {
    const decoded = decodeEvent(message);
    const view = eventView(message, decoded);
    const judged = this.#decide(message, decoded, view);
    this.#counts.seen++;
    this.#counts[judged.decision]++;
    if (judged.decision === 'matched') this.matched.push(judged);
    return judged;
  }

  #decide(message: ReceivedMessage, decoded: DecodedEvent, view: EventView): JudgedEvent {
    const { correlationId, trustedKeys, maxEventAgeMs, failWhen, match } = this.request;
    let signedBy: string | undefined;
    const is = (decision: Decision, reason: string | (() => string) = ''): JudgedEvent =>
      new JudgedEvent(message, decoded, view, decision, signedBy, reason);
    if (correlationId !== undefined && decoded.correlationId !== correlationId) {
      const other = decoded.correlationId;
      return is('foreign', other === undefined ? 'it has no correlation id' : `its correlation id is ${quoted(other)}`);
    }
    let publishedAtMs = maxEventAgeMs === undefined ? undefined : publishedAt(message, decoded);
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
    const invalid = decoded.problem?.replace(/\.$/, '') ?? this.#contractProblem(decoded);
    if (invalid !== undefined) return is('invalid', invalid);
    if (failWhen !== undefined && this.#holds('failWhen', failWhen, view)) {
      return is('negative', `failWhen is true: ${failWhen.text}`);
    }
    if (match !== undefined && !this.#holds('match', match, view)) {
      return is('notMatching', () => nearMiss(match, view));
    }
    const { decision, reason } = this.#distinguish(message, decoded, view);
    return is(decision, reason);
  }

  #contractProblem(decoded: DecodedEvent): string | undefined {
    if (this.contract === undefined) return undefined;
    if (decoded.dataBase64 !== null) return 'its data is not JSON, which the schema demands';
    const result = this.contract.check(decoded.data);
    switch (result.outcome) {
      case 'valid':
        return undefined;
      case 'violated':
        return `its data breaks the schema: ${describeProblems(result.problems)}`;
      case 'interrupted':
        return `the check of its data was interrupted after ${String(result.afterMs)} ms`;
    }
  }

  #holds(name: string, expression: NamedExpression, view: EventView): boolean {
    return isTruthy(this.#evaluate(name, expression, view));
  }

  /** An expression that errors on an event is null for it; the first time is a warning. */
  #evaluate(name: string, expression: NamedExpression, view: EventView): unknown {
    try {
      return expression.evaluate(view);
    } catch (error) {
      if (!this.#warned.has(name))
        this.warn(
          `${name} fails on the event ${view.stream} ${String(view.sequence)} and counts as false for it: ${reasonOf(error)}. Further ones are not reported.`,
        );
      this.#warned.add(name);
      return null;
    }
  }

  #distinguish(message: ReceivedMessage, decoded: DecodedEvent, view: EventView): Distinction {
    const { distinctBy, expect } = this.request;
    if (distinctBy === undefined)
      return this.#once(identityOf(message, decoded, this.#counts.seen), 'an event with the same id has come before');
    const value = this.#evaluate('distinctBy', distinctBy, view);
    const key = textOf(value);
    if (key === undefined)
      return { decision: 'notMatching', reason: `it has no value for distinctBy (${distinctBy.text})` };
    if (expect !== undefined && !expect.includes(key))
      return { decision: 'notMatching', reason: `distinctBy is ${quoted(key)}, which is not expected` };
    return this.#once(key, `an event with distinctBy ${quoted(key)} has come before`);
  }

  #once(key: string, repetition: string): Distinction {
    if (this.#keys.has(key)) return { decision: 'repeated', reason: repetition };
    this.#keys.add(key);
    return { decision: 'matched' };
  }
}

/** What makes two deliveries the same event: `source` and `id`, else `Nats-Msg-Id`, else the place in the stream. */
function identityOf(message: ReceivedMessage, { attributes }: DecodedEvent, arrival: number): string {
  const { source, id } = attributes;
  if (source !== undefined && id !== undefined)
    return createHash('sha256')
      .update(JSON.stringify([source, id]))
      .digest('base64');
  const messageId = message.headers.get('nats-msg-id')?.[0];
  if (messageId !== undefined) return `id:${messageId}`;
  return message.sequence > 0 ? `sequence:${String(message.sequence)}` : `arrival:${String(arrival)}`;
}

/** A value as text: a string as it is, else JSON; undefined for null and for what is nested too deeply to be written. */
function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  try {
    return typeof value === 'string' ? value : JSON.stringify(value);
  } catch {
    return undefined;
  }
}

/** Whether an event that matches is one more, and why not. */
interface Distinction {
  readonly decision: Decision;
  readonly reason?: string;
}

function ageProblem(message: ReceivedMessage, publishedAtMs: number | undefined, maxAgeMs: number): string | undefined {
  if (publishedAtMs === undefined) return 'it does not say when it was published';
  const age = message.receivedAt - publishedAtMs;
  if (age > maxAgeMs) return `it is ${String(age)} ms old`;
  if (age < -FUTURE_TOLERANCE_MS) return `it comes ${String(-age)} ms from the future`;
  return undefined;
}

function nearMiss(match: NamedExpression, view: EventView): string {
  try {
    return match.nearMiss(view) ?? `${match.text} was false`;
  } catch (error) {
    return reasonOf(error);
  }
}
