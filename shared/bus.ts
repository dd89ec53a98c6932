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

/** Where a message is found again. */
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
      /** True when `at` was taken from another machine's clock, so that skew against the server is corrected. */
      readonly correctSkew: boolean;
    };

export interface StreamSource {
  readonly subjects: readonly string[];
  /** Undefined: found from the subjects. */
  readonly stream: string | undefined;
  readonly start: StartPosition;
  /** Messages come without their payload, and with its size as `Nats-Msg-Size`. */
  readonly headersOnly?: boolean;
}

/** Messages that have arrived and not been taken. Few are asked for ahead, so that a slow reader need not hold a fast stream. */
export interface Arrivals {
  readonly length: number;
  /** All that have arrived since the last call, in order. */
  take(): readonly ReceivedMessage[];
}

/** What a subscription tells its reader. All are called in order, never concurrently. */
export interface SubscriptionEvents {
  /** There is one more message to take on the subjects, each stream sequence at most once. */
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

/** An event in a stream, without what it says. */
export interface StoredEvent {
  readonly subject: string;
  readonly place: Place;
  /** In milliseconds since the epoch; undefined where the stream does not tell. */
  readonly storedAt: number | undefined;
}

/** What a stream holds on the subjects of a subscription, wherever it began to read. */
export interface LookBack {
  /** The last event on the subjects; undefined where there is none; `unknown` where that cannot be told. */
  readonly last:
    (StoredEvent & { /** So that it was not read. */ readonly isBeforeStart: boolean }) | 'unknown' | undefined;
  /** How many events were ever stored, on any subject, and how many of them are there no more. */
  readonly stored: number;
  readonly removed: number;
  /** Where there is no event on the subjects: the nearest of those on which there are events. Foreign text. */
  readonly near: readonly string[];
  /** That what is published on these subjects is stored under others: a sentence without the last full stop. */
  readonly elsewhere: string | undefined;
}

export interface Subscription {
  /** The stream that is read; undefined for core NATS. */
  readonly stream: string | undefined;
  /**
   * Looks at what the stream holds, with a few requests and no other permissions than reading has; absent for core NATS.
   * Undefined where the server does not tell. Never rejects.
   */
  lookBack?(): Promise<LookBack | undefined>;
  /** Ends the subscription and removes what it left on the server, within a second. Never rejects. */
  stop(): Promise<void>;
}

/** Messages in the order of sending, some at a time. */
export type Chunks = Iterable<readonly OutgoingMessage[]> | AsyncIterable<readonly OutgoingMessage[]>;

/** What became of messages. Positions count from 1, in the order of sending. */
export interface PublishResult {
  readonly sent: number;
  /** Acknowledged by the stream, duplicates included; for core NATS, taken by the server. */
  readonly confirmed: number;
  readonly duplicates: number;
  /** The acknowledgement of the last message that has none missing before it. */
  readonly last: PubAck | undefined;
  /** Sent, but not known to be stored: ranges with both ends. */
  readonly unconfirmed: readonly (readonly [from: number, to: number])[];
  /** Stored before a message that was to come before them, as the acknowledged sequences show: ranges with both ends. */
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
   * sent again, with the same message ids, until the signal. Never rejects for what happens to messages.
   */
  publishToStream(
    messages: Chunks,
    expectedStream: string | undefined,
    onProgress: (confirmed: number) => void,
    signal: AbortSignal,
  ): Promise<PublishResult>;
  /**
   * Publishes to core NATS and returns once the server has taken all messages, which proves nothing about receivers.
   * What was under way when a link broke is sent again, so it may arrive twice. Never rejects for what happens to messages.
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
   * @throws TaskError `NoStream`, `Denied`, `TooLarge`, `StreamRefused`; `Timeout` or `ConnectionLost` where it isn't known
   *   whether the message was stored, so that it is sent again with the same `Nats-Msg-Id`
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
  /** @returns the revision; undefined where the key has a value already */
  create(key: string, value: Uint8Array): Promise<number | undefined>;
  /** @returns the new revision; undefined where another one than this is the last */
  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined>;
  /** @param revision leaves the key alone where another one is the last; undefined: whichever is */
  delete(key: string, revision?: number): Promise<void>;
}

/** Reads single messages of streams without a consumer. Every method fails with a `TaskError`. */
export interface StreamLookup {
  /** Undefined where the stream has no message with this sequence, or no more. */
  message(stream: string, sequence: number): Promise<ReceivedMessage | undefined>;
  /** The first message at or after a sequence whose subject is in the pattern; undefined where there is none. */
  next(stream: string, sequence: number, pattern: string): Promise<ReceivedMessage | undefined>;
}

/** A message of a durable consumer. None of its methods fails: what the server doesn't hear, it delivers again. */
export interface QueuedMessage {
  readonly message: ReceivedMessage;
  /** How often it was delivered, this time included. */
  readonly deliveries: number;
  /** It is done. */
  ack(): void;
  /** It is being worked on: the time until it is delivered again begins anew. */
  working(): void;
  /** Has it delivered again after so many milliseconds. */
  retry(afterMs: number): void;
  /** It is never delivered again, although nothing came of it. */
  term(): void;
}

/** What a work queue tells its reader. */
export interface WorkQueueEvents {
  arrived(message: QueuedMessage): void;
  /** Nothing comes until {@link up}; it is tried again and again. */
  down(problem: Error): void;
  up(): void;
}

/** A durable consumer, from which several processes take messages, each of which is acknowledged. */
export interface WorkQueue {
  /** Lets so many messages come: what was let and hasn't come counts. Of 0, what is under way may still come. */
  want(count: number): void;
  /** Takes nothing more. What has come can still be acknowledged. */
  stop(): void;
}

/** A request to a service. */
export interface ReceivedRequest extends ReceivedReply {
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
}

/** What a service tells its owner. */
export interface ServiceEvents {
  /** Nothing comes until {@link up}: there is no link. */
  down(reason: string): void;
  up(): void;
  /** The service may not subscribe. It tries again and again. */
  denied(problem: Error): void;
}

/** Answers requests on one subject, which it shares with the others of its queue group. */
export interface Service {
  /** Takes no request more, and lets those under way be answered until the signal aborts. Never rejects. */
  stop(drained: AbortSignal): Promise<void>;
}
