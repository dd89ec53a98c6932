import type { ReceivedMessage } from '../bus.ts';
import { parseTime } from './cloudEvent.ts';
import type { DecodedEvent } from './decode.ts';

/** An event as expressions, and the file of matched events, see it. */
export interface EventView {
  readonly subject: string;
  /** Integers beyond 2^53 in it are `bigint`s. */
  readonly data: unknown;
  readonly dataBase64: string | null;
  /** Values in order by lower-case name. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** The CloudEvents attributes. */
  readonly event: Readonly<Record<string, string>>;
  /** Empty for core NATS. */
  readonly stream: string;
  /** 0 for core NATS. */
  readonly sequence: number;
  /** UTC, ISO 8601 with milliseconds; see {@link publishedAt}. */
  readonly time: string | null;
  /** Whether `data` holds a `bigint`. */
  readonly hasLargeIntegers: boolean;
  /** All fields that expressions see, as members of their own. */
  toJSON(): Record<string, unknown>;
}

/** The names an expression can start with. */
export const VIEW_FIELDS = [
  'subject',
  'data',
  'dataBase64',
  'headers',
  'event',
  'stream',
  'sequence',
  'time',
] as const satisfies readonly (keyof EventView)[];

/** What expressions see of an event. What costs something is built when it is first read. */
export function eventView(message: ReceivedMessage, decoded: DecodedEvent): EventView {
  return new MessageView(message, decoded);
}

class MessageView implements EventView {
  readonly #message: ReceivedMessage;
  readonly #decoded: DecodedEvent;
  #headers: EventView['headers'] | undefined;

  constructor(message: ReceivedMessage, decoded: DecodedEvent) {
    this.#message = message;
    this.#decoded = decoded;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get data(): unknown {
    const exact = this.#decoded.exactData;
    return exact === undefined ? this.#decoded.data : exact.value;
  }

  get hasLargeIntegers(): boolean {
    return this.#decoded.exactData !== undefined;
  }

  get dataBase64(): string | null {
    return this.#decoded.dataBase64;
  }

  get headers(): EventView['headers'] {
    this.#headers ??= Object.fromEntries(this.#message.headers);
    return this.#headers;
  }

  get event(): EventView['event'] {
    return this.#decoded.attributes;
  }

  get stream(): string {
    return this.#message.stream;
  }

  get sequence(): number {
    return this.#message.sequence;
  }

  get time(): string | null {
    const ms = publishedAt(this.#message, this.#decoded);
    return ms === undefined ? null : new Date(ms).toISOString();
  }

  toJSON(): Record<string, unknown> {
    return Object.fromEntries(VIEW_FIELDS.map((name) => [name, this[name]]));
  }
}

/** When the event was published, in milliseconds since the epoch: when the stream stored it, else its CloudEvents `time`. */
export function publishedAt(message: ReceivedMessage, decoded: DecodedEvent): number | undefined {
  return message.storedAt ?? parseTime(decoded.attributes.time ?? '');
}
