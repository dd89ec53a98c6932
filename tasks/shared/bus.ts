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

export interface ReceivedMessage {
  readonly subject: string;
  /** Lower-case names; the values of one name in the order they came. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly payload: Uint8Array;
  /** Empty for core NATS. */
  readonly stream: string;
  /** The stream sequence; 0 for core NATS. */
  readonly sequence: number;
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
}

/** What a subscription tells its reader. All are called in order, never concurrently. */
export interface SubscriptionEvents {
  /** A message on one of the subjects, each stream sequence at most once. */
  message(message: ReceivedMessage): void;
  /** The link to the server broke; nothing arrives until {@link linkUp}. */
  linkDown(reason: string): void;
  /** The link is back after this many milliseconds. */
  linkUp(downMs: number): void;
  /** Something the user should know, which does not end the wait. */
  notice(text: string): void;
  /** The subscription cannot go on. No further call follows. */
  failed(error: Error): void;
}

export interface Subscription {
  /** The stream that is read; empty for core NATS. */
  readonly stream: string;
  /** Ends the subscription and removes what it left on the server, within a second. Never rejects. */
  stop(): Promise<void>;
}

/** What the tasks need from the messaging system. Every method fails with a `TaskError`, or with the signal's reason. */
export interface Bus {
  /** Publishes to the stream that captures the subject and waits for its acknowledgement; retried with the same message id until the signal. */
  publishToStream(message: OutgoingMessage, expectedStream: string | undefined, signal: AbortSignal): Promise<PubAck>;
  /** Publishes and returns once the server has taken the message. It proves nothing about receivers. */
  publishCore(message: OutgoingMessage, signal: AbortSignal): Promise<void>;
  /** Reads a stream with a consumer of its own. Resolves once reading has begun. */
  readStream(source: StreamSource, events: SubscriptionEvents, signal: AbortSignal): Promise<Subscription>;
  /** Subscribes to core NATS subjects. Resolves once the server knows the subscription. */
  subscribeCore(subjects: readonly string[], events: SubscriptionEvents, signal: AbortSignal): Promise<Subscription>;
  /** Closes the link at once. Never rejects. */
  close(): Promise<void>;
}
