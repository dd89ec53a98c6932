import type { Headers, OutgoingMessage } from './bus.ts';
import { TaskError } from './errors.ts';
import {
  ATTRIBUTE_NAME,
  cleanAttribute,
  encodeAttribute,
  parseJson,
  REQUIRED_ATTRIBUTES,
  utf8Text,
  type Attributes,
  type Envelope,
} from './event.ts';

export interface EventToSend {
  readonly subject: string;
  readonly envelope: Envelope;
  /** Without `specversion`, `correlationid` and `traceparent`, which are added. An empty value counts as absent. */
  readonly attributes: Attributes;
  readonly payload: Uint8Array;
  /** The user's own headers. They may hold a `Content-Type`, which gives way to that of a structured event, but nothing else set here. */
  readonly headers: Headers;
  /** Becomes `Nats-Msg-Id`, by which the stream recognises a repetition. */
  readonly messageId: string;
  readonly correlationId: string;
  readonly traceparent: string;
}

/**
 * The NATS message of an event (CloudEvents 1.0, NATS protocol binding).
 * Attribute values are cleaned; a missing or misnamed attribute is a fault of the caller and throws `Internal`.
 */
export function encodeEvent(event: EventToSend): OutgoingMessage {
  const { subject, payload } = event;
  const messageId = ['Nats-Msg-Id', event.messageId] as const;
  const traceparent = ['traceparent', event.traceparent] as const;
  switch (event.envelope) {
    case 'binary': {
      const attributes = contextOf(event).map(attributeHeader);
      return { subject, headers: [messageId, ...attributes, traceparent, ...event.headers], payload };
    }
    case 'structured': {
      const contentType = ['Content-Type', 'application/cloudevents+json'] as const;
      const members = contextOf(event).map(([name, value]) => `"${name}":${JSON.stringify(value)}`);
      return {
        subject,
        headers: [
          messageId,
          contentType,
          traceparent,
          ...event.headers.filter(([name]) => !/^content-type$/i.test(name)),
        ],
        payload: Buffer.from(`{${[...members, dataMember(payload)].join(',')}}`),
      };
    }
    case 'none': {
      const correlationId = ['Correlation-Id', cleanAttribute(event.correlationId)] as const;
      return { subject, headers: [messageId, correlationId, traceparent, ...event.headers], payload };
    }
  }
}

type Attribute = readonly [name: string, value: string];

/** The header each attribute had last: in a batch most attributes are the same for every event. */
const lastHeaders = new Map<string, { readonly value: string; readonly header: Attribute }>();

function attributeHeader([name, value]: Attribute): Attribute {
  const last = lastHeaders.get(name);
  if (last?.value === value) return last.header;
  const header = [`ce-${name}`, encodeAttribute(value)] as const;
  lastHeaders.set(name, { value, header });
  return header;
}

/** Names and cleaned values of all attributes, `specversion` first. */
function contextOf(event: EventToSend): Attribute[] {
  const { correlationId: correlationid, traceparent } = event;
  const attributes = { specversion: '1.0', ...event.attributes, correlationid, traceparent };
  const context: Attribute[] = [];
  for (const [name, text] of Object.entries(attributes)) {
    const value = cleanAttribute(text);
    if (value === '') continue;
    if (!ATTRIBUTE_NAME.test(name)) throw faultyAttribute(name);
    context.push([name, value]);
  }
  for (const name of REQUIRED_ATTRIBUTES) {
    if (!event.attributes[name]) throw faultyAttribute(name);
  }
  return context;
}

function faultyAttribute(name: string): TaskError {
  return new TaskError('Internal', `An event was to be sent with a missing or misnamed attribute "${name}".`);
}

/**
 * JSON goes in as the text it is, unparsed: numbers such as 1.10 or 12345678901234567890 would not survive JSON.parse.
 * UTF-8 is decoded without loss, so the bytes stay what they were, except for a byte order mark, which JSON may not have.
 */
function dataMember(payload: Uint8Array): string {
  const text = utf8Text(payload);
  if (text === undefined) return `"data_base64":"${Buffer.from(payload).toString('base64')}"`;
  return `"data":${parseJson(text) === undefined ? JSON.stringify(text) : text}`;
}
