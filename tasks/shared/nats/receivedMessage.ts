import type { Msg } from 'nats';
import type { ReceivedMessage } from '../bus.ts';

/** A message of core NATS. */
export function coreMessage(message: Msg): ReceivedMessage {
  return new NatsMessage(message, '', 0, undefined);
}

/**
 * A message of a stream. Where it stands there is written in its reply subject:
 * `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<nanoseconds>.<pending>…`
 * (NATS ADR-15).
 */
export function streamMessage(message: Msg): { readonly message: ReceivedMessage; readonly deliverySequence: number } {
  const tokens = (message.reply ?? '').split('.');
  const start = tokens.length > 9 ? 4 : 2;
  const [stream = '', , , streamSequence, deliverySequence, nanoseconds = ''] = tokens.slice(start);
  const storedAt = Number(nanoseconds.slice(0, -6));
  return {
    message: new NatsMessage(message, stream, Number(streamSequence), storedAt),
    deliverySequence: Number(deliverySequence),
  };
}

class NatsMessage implements ReceivedMessage {
  readonly receivedAt = Date.now();
  readonly #message: Msg;
  #headers: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(
    message: Msg,
    readonly stream: string,
    readonly sequence: number,
    readonly storedAt: number | undefined,
  ) {
    this.#message = message;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get payload(): Uint8Array {
    return this.#message.data;
  }

  /** Read when first asked for: a backlog that is matched by subject alone needs none. */
  get headers(): ReadonlyMap<string, readonly string[]> {
    this.#headers ??= lowerCasedHeaders(this.#message);
    return this.#headers;
  }
}

/** A message's headers by lower-case name. */
export function lowerCasedHeaders(message: Msg): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  for (const [name, values] of message.headers ?? []) {
    const key = name.toLowerCase();
    headers.set(key, [...(headers.get(key) ?? []), ...values]);
  }
  return headers;
}
