import type { ReceivedMessage } from './bus.ts';
import { parseTime } from './event.ts';
import type { DecodedEvent } from './eventDecoding.ts';

/** An event as expressions, and the file of matched events, see it. Every field is enumerable. */
export interface EventView {
  readonly subject: string;
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
}

/** The names an expression can start with. */
export const VIEW_FIELDS: readonly string[] = [
  'subject',
  'data',
  'dataBase64',
  'headers',
  'event',
  'stream',
  'sequence',
  'time',
] satisfies (keyof EventView)[];

/** What expressions see of an event. What costs something is built when it is first read. */
export function eventView(message: ReceivedMessage, decoded: DecodedEvent): EventView {
  let headers: EventView['headers'] | undefined;
  return {
    subject: message.subject,
    get data() {
      return decoded.data;
    },
    get dataBase64() {
      return decoded.dataBase64;
    },
    get headers() {
      return (headers ??= Object.fromEntries(message.headers));
    },
    event: decoded.attributes,
    stream: message.stream,
    sequence: message.sequence,
    get time() {
      const ms = publishedAt(message, decoded);
      return ms === undefined ? null : new Date(ms).toISOString();
    },
  };
}

/** When the event was published, in milliseconds since the epoch: when the stream stored it, else its CloudEvents `time`. */
export function publishedAt(message: ReceivedMessage, decoded: DecodedEvent): number | undefined {
  return message.storedAt ?? parseTime(decoded.attributes.time ?? '');
}
