/** Headers in the order they are sent; a name may occur more than once. */
export type Headers = readonly (readonly [name: string, value: string])[];

export interface OutgoingMessage {
  readonly subject: string;
  readonly headers: Headers;
  readonly payload: Uint8Array;
}

/** What the stream answered (JetStream's PubAck). */
export interface PubAck {
  readonly stream: string;
  readonly sequence: number;
  /** True when the stream already held a message with this `Nats-Msg-Id` and stored nothing. */
  readonly duplicate: boolean;
}

/** Where a message can be found again. */
export interface Place {
  readonly stream: string;
  readonly sequence: number;
}

export interface ReceivedMessage {
  readonly subject: string;
  /** Lower-case names; the values of one name in the order they came. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly payload: Uint8Array;
  /** Where it stands; undefined for core NATS. */
  readonly place: Place | undefined;
  /** When the stream stored it, in milliseconds since the epoch; undefined for core NATS. */
  readonly storedAt: number | undefined;
  /** When it reached this step, in milliseconds since the epoch. */
  readonly receivedAt: number;
}

/** Where reading of a stream begins. */
export type StartPosition =
  | { readonly from: 'now' | 'all' | 'lastPerSubject' }
  | { readonly from: 'sequence'; /** Exclusive. */ readonly after: number }
  | {
      readonly from: 'time';
      /** Milliseconds since the epoch. */ readonly at: number;
      /** True when `at` comes from another machine's clock, so that its skew against the server is corrected. */
      readonly correctSkew: boolean;
    };

export interface StreamSource {
  readonly subjects: readonly string[];
  /** Undefined: found from the subjects. */
  readonly stream: string | undefined;
  readonly start: StartPosition;
  /** Messages arrive without their payload, but with its size in `Nats-Msg-Size`. */
  readonly headersOnly?: boolean;
}

/** Messages that have arrived but not been taken. Few are requested ahead, so that a slow reader need not buffer a fast stream. */
export interface Arrivals {
  readonly length: number;
  /** All that have arrived since the last call, in order. */
  take(): readonly ReceivedMessage[];
}

/** How a subscription notifies its reader: calls come in order, never concurrently. */
export interface SubscriptionEvents {
  /** One more message is there to take; each stream sequence comes at most once. */
  arrived(arrivals: Arrivals): void;
  /** The link to the server broke; nothing arrives until {@link linkUp}. */
  linkDown(reason: string): void;
  /** The link is back after this many milliseconds. */
  linkUp(downMs: number): void;
  /** Something the user should know, which does not end the wait. */
  notice(text: string): void;
  /** The subscription cannot go on. No further call follows; what has arrived can still be taken. */
  failed(error: Error): void;
}

/** An event in a stream, without its content. */
export interface StoredEvent {
  readonly subject: string;
  readonly place: Place;
  /** In milliseconds since the epoch; undefined when the stream doesn't say. */
  readonly storedAt: number | undefined;
}

/** What a stream holds on some subjects. */
export interface Holdings {
  /** The last event on the subjects; undefined when there is none; `unknown` when that can't be determined. */
  readonly last: StoredEvent | 'unknown' | undefined;
  /** How many events were ever stored, on any subject, and how many of them are gone. */
  readonly stored: number;
  readonly removed: number;
  /** Where there is no event on the subjects: the nearest of those on which there are events. Foreign text. */
  readonly near: readonly string[];
  /** That what is published on these subjects is stored under others: a sentence without the last full stop. */
  readonly elsewhere: string | undefined;
}

/** What a stream holds on the subjects of a subscription, wherever it began to read. */
export interface LookBack extends Holdings {
  readonly last:
    | (StoredEvent & {
        /** It was stored before the start position, so it wasn't read. */ readonly isBeforeStart: boolean;
      })
    | 'unknown'
    | undefined;
}

export interface Subscription {
  /** The stream that is read; undefined for core NATS. */
  readonly stream: string | undefined;
  /**
   * Looks up what the stream holds, with a few requests and only the permissions that reading needs; absent for core NATS.
   * Undefined when the server doesn't say. Never rejects.
   */
  lookBack?(): Promise<LookBack | undefined>;
  /**
   * The subjects with events in the stream that are nearest to those of this subscription; none where there are events on
   * these, or the server doesn't say. One request, with only the permissions that reading needs; absent for core NATS. Never
   * rejects.
   */
  nearSubjects?(): Promise<readonly string[]>;
  /** Ends the subscription and removes what it left on the server, within a second. Never rejects. */
  stop(): Promise<void>;
}

/** Messages in sending order, a few at a time. */
export type Chunks = Iterable<readonly OutgoingMessage[]> | AsyncIterable<readonly OutgoingMessage[]>;

/** What became of messages. Positions count from 1, in the order of sending. */
export interface PublishResult {
  readonly sent: number;
  /** Acknowledged by the stream, duplicates included; for core NATS, taken by the server. */
  readonly confirmed: number;
  readonly duplicates: number;
  /** The acknowledgement of the last message before the first gap. */
  readonly last: PubAck | undefined;
  /** Sent, but not known to be stored: ranges with both ends. */
  readonly unconfirmed: readonly (readonly [from: number, to: number])[];
  /** Stored ahead of a message that should have preceded them, as the acknowledged sequences show: ranges with both ends. */
  readonly outOfOrder: readonly (readonly [from: number, to: number])[];
  /** What ended it early; undefined when all was sent and confirmed. */
  readonly error: unknown;
}

/** The one reply to a request. */
export interface ReceivedReply {
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly payload: Uint8Array;
}

/** What the tasks need from the messaging system. Every method fails with a `TaskError`, or with the signal's reason. */
export interface Bus {
  /**
   * Publishes to the stream that captures the subject, in order and each message stored once: what stays unconfirmed is
   * sent again, with the same message ids, until the signal. Doesn't reject when messages fail.
   */
  publishToStream(
    messages: Chunks,
    expectedStream: string | undefined,
    onProgress: (confirmed: number) => void,
    signal: AbortSignal,
  ): Promise<PublishResult>;
  /**
   * Publishes to core NATS and returns once the server has taken all messages, which proves nothing about receivers.
   * Messages in flight when a link broke are sent again, so they may arrive twice. Doesn't reject when messages fail.
   */
  publishCore(messages: Chunks, onProgress: (confirmed: number) => void, signal: AbortSignal): Promise<PublishResult>;
  /** Publishes a request and waits for one reply. It is never sent twice, since the receiver might act twice. */
  request(message: OutgoingMessage, signal: AbortSignal): Promise<ReceivedReply>;
  /** Throws `TooLarge` when the server does not take a message of this size. */
  checkSize(message: OutgoingMessage): void;
  /** Reads a stream with a consumer of its own. Resolves once reading has begun. */
  readStream(source: StreamSource, events: SubscriptionEvents, signal: AbortSignal): Promise<Subscription>;
  /** Subscribes to core NATS subjects. Resolves once the server knows the subscription. */
  subscribeCore(subjects: readonly string[], events: SubscriptionEvents, signal: AbortSignal): Promise<Subscription>;
  /** Closes the link at once. Never rejects. */
  close(): Promise<void>;
}

/** Publishes single messages side by side, each acknowledged by the stream that captures its subject. */
export interface StreamPublisher {
  /**
   * @param withinMs how long to wait for the acknowledgement
   * @throws TaskError `NoStream`, `Denied`, `TooLarge`, `StreamRefused`; `Timeout` or `ConnectionLost` when it isn't known
   *   whether the message was stored: send it again with the same `Nats-Msg-Id`
   */
  publish(message: OutgoingMessage, withinMs: number): Promise<PubAck>;
}

export interface KeyValueEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
}

/** One bucket of JetStream's key-value store. Every method fails with a `TaskError`. */
export interface KeyValue {
  /** Undefined where the key has no value. */
  get(key: string): Promise<KeyValueEntry | undefined>;
  /** @returns the revision; undefined when the key already has a value */
  create(key: string, value: Uint8Array): Promise<number | undefined>;
  /** @returns the new revision; undefined when this is no longer the last revision */
  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined>;
  /** @param revision leaves the key alone unless this is its last revision; undefined: any revision */
  delete(key: string, revision?: number): Promise<void>;
}

/** Reads single messages of streams without a consumer. Unless it says otherwise, a method fails with a `TaskError`. */
export interface StreamLookup {
  /** Undefined when the stream has no message with this sequence, or no longer has it. */
  message(stream: string, sequence: number): Promise<ReceivedMessage | undefined>;
  /** The first message at or after a sequence whose subject is in the pattern; undefined where there is none. */
  next(stream: string, sequence: number, pattern: string): Promise<ReceivedMessage | undefined>;
  /** Looks up what a stream holds on some subjects, with a few requests. Undefined when the server doesn't say. Never rejects. */
  holdings(stream: string, subjects: readonly string[]): Promise<Holdings | undefined>;
}

/** A message of a durable consumer. None of its methods fails: if the server misses one, it delivers the message again. */
export interface QueuedMessage {
  readonly message: ReceivedMessage;
  /** How often it was delivered, including this time. */
  readonly deliveries: number;
  /** It is done. */
  ack(): void;
  /** It's being worked on: restarts the time until redelivery. */
  working(): void;
  /** Has it delivered again after this many milliseconds. */
  retry(afterMs: number): void;
  /** Gives up on it: it's never delivered again. */
  term(): void;
}

/** How a work queue notifies its reader. */
export interface WorkQueueEvents {
  arrived(message: QueuedMessage): void;
  /** Nothing arrives until {@link up}; the queue keeps trying. */
  down(problem: Error): void;
  up(): void;
}

/** A durable consumer, from which several processes take messages, each of which is acknowledged. */
export interface WorkQueue {
  /** Allows this many messages to be in flight, including those already requested. With 0, requested ones may still arrive. */
  want(count: number): void;
  /** Stops taking messages. Those that have arrived can still be acknowledged. */
  stop(): void;
}

/** A request to a service. */
export interface ReceivedRequest extends ReceivedReply {
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
}

/** How a service notifies its owner. */
export interface ServiceEvents {
  /** No requests arrive until {@link up}: there is no link. */
  down(reason: string): void;
  up(): void;
  /** The service may not subscribe. It tries again and again. */
  denied(problem: Error): void;
}

/** Answers requests on one subject, which it shares with the others of its queue group. */
export interface Service {
  /** Takes no more requests, and lets those in progress be answered until the signal aborts. Never rejects. */
  stop(drained: AbortSignal): Promise<void>;
}
