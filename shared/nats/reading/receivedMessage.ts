import type { Msg } from 'nats';
import type { Place, ReceivedMessage } from '../../bus.ts';
import { lowerCasedHeaders, NONE, numberAt, rawReply } from '../link/rawMessage.ts';

/** A message of core NATS. */
export function coreMessage(message: Msg): ReceivedMessage {
  return new NatsMessage(message, '', 0);
}

/** Tokens of a reply subject: without a domain, with one, and with one and a last token that says nothing. */
const SHORT_FORM = 9;
const LONG_FORMS = [11, 12];

/**
 * How the reply subjects of a consumer's messages begin, up to where they say which message it is:
 * `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.` (NATS ADR-15); undefined where this message is not one of that
 * consumer. Anyone who may use JetStream can have a consumer of their own deliver to any inbox, but not under this name.
 */
export function replyPrefix({ reply = '' }: Msg, stream: string, consumer: string): Uint8Array | undefined {
  const tokens = reply.split('.');
  const isLong = LONG_FORMS.includes(tokens.length);
  if (!isLong && tokens.length !== SHORT_FORM) return undefined;
  const domain = isLong ? tokens.slice(2, 4) : [];
  const prefix = ['$JS', 'ACK', ...domain, stream, consumer, ''].join('.');
  return reply.startsWith(prefix) ? Buffer.from(prefix) : undefined;
}

/**
 * A message of a stream. Its place there is written in its reply subject, after the {@link replyPrefix}:
 * `<deliveries>.<stream sequence>.<consumer sequence>.<nanoseconds>.<pending>[.<token>]`. It is read as bytes: a backlog
 * has hundreds of thousands of these a second.
 *
 * @returns undefined when the reply subject begins differently: the message comes from another consumer
 */
export function streamMessage(
  message: Msg,
  stream: string,
  prefix: Uint8Array,
): { readonly message: NatsMessage; readonly deliverySequence: number } | undefined {
  const reply = rawReply(message);
  for (let index = 0; index < prefix.length; index++) if (reply[index] !== prefix[index]) return undefined;
  const sequenceStart = dotAfter(reply, prefix.length) + 1;
  const deliveryStart = dotAfter(reply, sequenceStart) + 1;
  const timeStart = dotAfter(reply, deliveryStart) + 1;
  return {
    message: new NatsMessage(
      message,
      stream,
      numberAt(reply, sequenceStart, deliveryStart - 1),
      reply,
      timeStart,
      dotAfter(reply, timeStart),
    ),
    deliverySequence: numberAt(reply, deliveryStart, timeStart - 1),
  };
}

const DOT = 0x2e;

function dotAfter(bytes: Uint8Array, start: number): number {
  let index = start;
  while (index < bytes.length && bytes[index] !== DOT) index++;
  return index;
}

/** How many more digits a time in nanoseconds has than one in milliseconds. */
const NANOSECOND_DIGITS = 6;
/** What a `Date` can hold. */
const LATEST_TIME = 8.64e15;

class NatsMessage implements ReceivedMessage {
  readonly receivedAt = Date.now();
  #headers: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(
    private readonly message: Msg,
    readonly stream: string,
    readonly sequence: number,
    private readonly reply: Uint8Array = NONE,
    private readonly timeStart = 0,
    private readonly timeEnd = 0,
  ) {}

  get storedAt(): number | undefined {
    const ms = numberAt(this.reply, this.timeStart, this.timeEnd - NANOSECOND_DIGITS);
    return this.timeEnd > 0 && ms <= LATEST_TIME ? ms : undefined;
  }

  get place(): Place | undefined {
    return this.stream === '' ? undefined : { stream: this.stream, sequence: this.sequence };
  }

  get subject(): string {
    return this.message.subject;
  }

  get payload(): Uint8Array {
    return this.message.data;
  }

  /** Read when first asked for: a backlog that is matched by subject alone needs none. */
  get headers(): ReadonlyMap<string, readonly string[]> {
    this.#headers ??= lowerCasedHeaders(this.message);
    return this.#headers;
  }
}
