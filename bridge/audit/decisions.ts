import { randomUUID } from 'node:crypto';
import type { OutgoingMessage, Place, StreamPublisher } from '../../shared/bus.ts';
import { reasonOf } from '../../shared/errors.ts';
import { eventEncoder } from '../../shared/event/encode.ts';
import { childOf } from '../../shared/event/traceContext.ts';
import type { Log } from '../../shared/log.ts';
import type { SigningKey } from '../../shared/nkey.ts';
import { signMessage } from '../../shared/signing/signature.ts';
import { safeText } from '../../shared/text/safeText.ts';

/** What was decided, about what, and why. Never holds a payload, a token or a header; foreign text is made safe. */
export interface Decision {
  readonly function: 'hooks' | 'runs' | 'waits' | 'callout' | 'orders';
  /** The route, rule or order; the last part of the subject. */
  readonly name: string;
  /** One word: `deadLetter`, `refused`, `started`. */
  readonly decision: string;
  /** Why, in words. */
  readonly reason?: string;
  readonly event?: DecidedEvent;
  /** For a sign-in: who asks, and what the token says about its bearer. */
  readonly signIn?: Readonly<Record<string, string>>;
  /** The result: the id and URL of a run, the key of a wait, the number of a dead letter. */
  readonly followed?: Readonly<Record<string, string | number>>;
  readonly schemaDigest?: string;
  /** The person who ordered it, if one did. */
  readonly user?: string;
  /** When it came, in milliseconds since the epoch. */
  readonly receivedAt?: number;
}

/** The event that a decision is about, as far as it is known. */
export interface DecidedEvent {
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly place?: Place;
  /** Organization, project, pipeline, run and requester. */
  readonly owner?: string;
  /** The public NKey that signed it. */
  readonly signer?: string;
}

export interface DecisionsOptions {
  readonly publisher: StreamPublisher;
  /** `bridge.decisions`. */
  readonly subjectPrefix: string;
  /** `BRIDGE_AUDIT`. */
  readonly stream: string;
  /** The bridge's version, and what tells this replica from others. */
  readonly version: string;
  readonly replica: string;
  /** Undefined: unsigned. */
  readonly signingKey: () => SigningKey | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly log: Log;
}

const WITHIN_MS = 5_000;

/** Writes the audit stream: one event for each decision. */
export class Decisions {
  constructor(private readonly options: DecisionsOptions) {}

  /**
   * Notes a decision that stands even if it can't be noted, which the log then says. Never rejects.
   *
   * @param id see {@link order}
   */
  async note(decision: Decision, id?: string): Promise<void> {
    try {
      await this.order(decision, id);
    } catch (error) {
      const { function: place, name, decision: what } = decision;
      this.options.log.warning(
        `The decision "${what}" of ${place} ${safeText(name, 100)} is not in the audit stream: ${safeText(reasonOf(error))}`,
      );
    }
  }

  /**
   * Notes a decision that must not be acted on unless it is noted, such as the order of a person.
   *
   * @param id the same when a decision is noted again: the stream keeps it once within its duplicate window
   * @throws TaskError as {@link StreamPublisher.publish} does
   */
  async order(decision: Decision, id: string = randomUUID()): Promise<void> {
    await this.options.publisher.publish(this.#message(decision, id), WITHIN_MS);
  }

  #message(decision: Decision, id: string): OutgoingMessage {
    const { subjectPrefix, stream, version, replica, signingKey } = this.options;
    const now = new Date(this.options.now());
    const { receivedAt, ...others } = decision;
    const data = safeValues({
      ...others,
      bridge: { version, replica },
      ...(receivedAt === undefined ? {} : { receivedAt: new Date(receivedAt).toISOString() }),
      decidedAt: now.toISOString(),
    });
    const encode = eventEncoder({
      subject: `${subjectPrefix}.${decision.function}.${partOf(decision.name)}`,
      envelope: 'binary',
      attributes: {
        id,
        source: 'nats-event-bridge',
        type: 'bridge.decision.v1',
        time: now.toISOString(),
        datacontenttype: 'application/json',
      },
      headers: [['Nats-Expected-Stream', stream]],
      correlationId: '',
      traceparent: childOf(undefined),
    });
    const message = encode({ attributes: {}, payload: Buffer.from(JSON.stringify(data)), messageId: id });
    const key = signingKey();
    return key === undefined ? message : signMessage(message, key, now);
  }
}

/** A name as the last part of a subject. */
export function partOf(name: string): string {
  return name.slice(0, 128).replace(/[^A-Za-z0-9_-]/gu, '-') || '-';
}

function safeValues(value: unknown): unknown {
  if (typeof value === 'string') return safeText(value);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, safeValues(member)]));
}
