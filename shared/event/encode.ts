import type { Headers, OutgoingMessage } from '../bus.ts';
import { TaskError } from '../errors.ts';
import {
  ATTRIBUTE_NAME,
  cleanAttribute,
  encodeAttribute,
  REQUIRED_ATTRIBUTES,
  utf8Text,
  type Attributes,
  type Envelope,
} from './cloudEvent.ts';
import { parseJson } from '../text/json.ts';

/** What the events of one step have in common. */
export interface CommonParts {
  readonly subject: string;
  readonly envelope: Envelope;
  /** Without `specversion`, `correlationid` and `traceparent`, which are added. An empty value counts as absent. */
  readonly attributes: Attributes;
  /** The user's own headers. They may hold a `Content-Type`, which gives way to that of a structured event, but nothing else set here. */
  readonly headers: Headers;
  readonly correlationId: string;
  readonly traceparent: string;
}

/** What is different from event to event. */
export interface OwnParts {
  /** Only those that differ between events. */
  readonly attributes: Attributes;
  readonly payload: Uint8Array;
  /** Becomes `Nats-Msg-Id`, by which the stream recognises a duplicate. */
  readonly messageId: string;
}

/**
 * Turns events into NATS messages (CloudEvents 1.0, NATS protocol binding). What they share is encoded once:
 * it is most of a small event.
 * Attribute values are cleaned; a missing or misnamed attribute is the caller's fault and throws `Internal`.
 */
export function eventEncoder(common: CommonParts): (own: OwnParts) => OutgoingMessage {
  const { subject, envelope } = common;
  const traceparent = ['traceparent', common.traceparent] as const;
  const { correlationId, attributes: given } = common;
  const attributes = { ...given, correlationid: correlationId, traceparent: common.traceparent };
  switch (envelope) {
    case 'binary': {
      const tail = [...contextOf(attributes).map(attributeHeader), traceparent, ...common.headers];
      return (own) => {
        requireAttributes(common, own);
        const context = contextOf(own.attributes).map(attributeHeader);
        return { subject, headers: [idHeader(own), SPECVERSION, ...context, ...tail], payload: own.payload };
      };
    }
    case 'structured': {
      const headers = [
        ['Content-Type', 'application/cloudevents+json'] as const,
        traceparent,
        ...common.headers.filter(([name]) => !/^content-type$/i.test(name)),
      ];
      const members = contextOf(attributes).map(member);
      return (own) => {
        requireAttributes(common, own);
        const all = ['"specversion":"1.0"', ...contextOf(own.attributes).map(member), ...members];
        return {
          subject,
          headers: [idHeader(own), ...headers],
          payload: Buffer.from(`{${all.join(',')},${dataMember(own.payload)}}`),
        };
      };
    }
    case 'none': {
      const headers = [['Correlation-Id', cleanAttribute(correlationId)] as const, traceparent, ...common.headers];
      return (own) => ({ subject, headers: [idHeader(own), ...headers], payload: own.payload });
    }
  }
}

type Attribute = readonly [name: string, value: string];

const SPECVERSION: Attribute = ['ce-specversion', '1.0'];

function idHeader({ messageId }: OwnParts): Attribute {
  return ['Nats-Msg-Id', messageId];
}

/** The header each attribute had last: the events of one millisecond have the same time. */
const lastHeaders = new Map<string, { readonly value: string; readonly header: Attribute }>();

function attributeHeader([name, value]: Attribute): Attribute {
  const last = lastHeaders.get(name);
  if (last?.value === value) return last.header;
  const header: Attribute = [`ce-${name}`, encodeAttribute(value)];
  lastHeaders.set(name, { value, header });
  return header;
}

function member([name, value]: Attribute): string {
  return `"${name}":${JSON.stringify(value)}`;
}

/** Names and cleaned values of the attributes. */
function contextOf(attributes: Attributes): Attribute[] {
  const context: Attribute[] = [];
  for (const [name, text] of Object.entries(attributes)) {
    const value = cleanAttribute(text);
    if (value === '') continue;
    if (!ATTRIBUTE_NAME.test(name)) throw faultyAttribute(name);
    context.push([name, value]);
  }
  return context;
}

function requireAttributes(common: CommonParts, own: OwnParts): void {
  for (const name of REQUIRED_ATTRIBUTES) {
    if (!own.attributes[name] && !common.attributes[name]) throw faultyAttribute(name);
  }
}

function faultyAttribute(name: string): TaskError {
  return new TaskError('Internal', `An event was to be sent with a missing or misnamed attribute "${name}"`);
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
