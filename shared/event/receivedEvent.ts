import type { ReceivedMessage } from '../bus.ts';
import { parseTime, type Attributes } from './cloudEvent.ts';
import { DecodedEvent } from './decode.ts';

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

/** A message that arrived, and what it says as an event. */
export class ReceivedEvent extends DecodedEvent {
  #view: EventView | undefined;

  get subject(): string {
    return this.message.subject;
  }

  /** Where it can be found again; undefined for core NATS. */
  get place(): ReceivedMessage['place'] {
    return this.message.place;
  }

  /** What expressions see of it. */
  get view(): EventView {
    this.#view ??= new EventView(this);
    return this.#view;
  }

  /** When it was published, in milliseconds since the epoch: when the stream stored it, otherwise its CloudEvents `time`. */
  get publishedAt(): number | undefined {
    return this.message.storedAt ?? parseTime(this.attributes.time ?? '');
  }

  /** From its publication to its receipt, in milliseconds; negative where the clocks differ. */
  get latencyMs(): number | undefined {
    const { publishedAt } = this;
    return publishedAt === undefined ? undefined : this.message.receivedAt - publishedAt;
  }

  /** The CloudEvents `id`, otherwise `Nats-Msg-Id`; empty when it has neither. */
  get messageId(): string {
    return this.attributes.id ?? this.message.headers.get('nats-msg-id')?.[0] ?? '';
  }
}

/** An event as expressions, and the file of matched events, see it. */
export class EventView {
  readonly #event: ReceivedEvent;
  readonly #isRounded: boolean;
  #headers: Readonly<Record<string, readonly string[]>> | undefined;

  constructor(event: ReceivedEvent, isRounded = false) {
    this.#event = event;
    this.#isRounded = isRounded;
  }

  get subject(): string {
    return this.#event.subject;
  }

  /** Integers beyond 2^53 in it are `bigint`s. */
  get data(): unknown {
    const exact = this.#isRounded ? undefined : this.#event.exactData;
    return exact === undefined ? this.#event.data : exact.value;
  }

  /** The same with such integers rounded, as JavaScript has them, which saves looking for them. */
  get rounded(): EventView {
    return new EventView(this.#event, true);
  }

  /** Whether `data` holds a `bigint`. */
  get hasLargeIntegers(): boolean {
    return this.#event.exactData !== undefined;
  }

  get dataBase64(): string | null {
    return this.#event.dataBase64;
  }

  /** Values in order by lower-case name. */
  get headers(): Readonly<Record<string, readonly string[]>> {
    this.#headers ??= Object.fromEntries(this.#event.message.headers);
    return this.#headers;
  }

  /** The CloudEvents attributes. */
  get event(): Attributes {
    return this.#event.attributes;
  }

  /** Empty for core NATS. */
  get stream(): string {
    return this.#event.place?.stream ?? '';
  }

  /** 0 for core NATS. */
  get sequence(): number {
    return this.#event.place?.sequence ?? 0;
  }

  /** UTC, ISO 8601 with milliseconds; see {@link ReceivedEvent.publishedAt}. */
  get time(): string | null {
    const ms = this.#event.publishedAt;
    return ms === undefined ? null : new Date(ms).toISOString();
  }

  /** All fields that expressions see, as members of their own. */
  toJSON(): Record<string, unknown> {
    return Object.fromEntries(VIEW_FIELDS.map((name) => [name, this[name]]));
  }
}
