import { createHash } from 'node:crypto';
import { TaskError } from '../errors.ts';
import { parseTime, type Attributes, type Envelope } from './cloudEvent.ts';
import { quoted } from '../text/safeText.ts';

/** What a step asks of an event that may have to be a CDEvent. */
interface Asked {
  readonly eventType: string;
  readonly envelope: Envelope;
  /** Undefined: whichever the event has. */
  readonly messageId: string | undefined;
}

/** Whether a type asks for the CDEvents preset. The second namespace is the one for events of single tools. */
export function isCdEventType(type: string): boolean {
  return /^dev\.cdeventsx?\./.test(type);
}

/**
 * The CDEvents preset: with such an `eventType` the payload must be a CDEvent of that type, and the CloudEvents attributes come
 * from it (CDEvents 0.5, CloudEvents binding). Undefined for any other type.
 *
 * @throws TaskError ContractViolation for any other payload; InvalidInput when the message id asked for isn't its own
 */
export function cdEventAttributes(
  { eventType, envelope, messageId }: Asked,
  payload: unknown,
): (Attributes & { readonly id: string; readonly source: string }) | undefined {
  if (!isCdEventType(eventType) || envelope === 'none') return undefined;
  const { context, subject } = (payload ?? {}) as {
    context?: Record<string, unknown>;
    subject?: Record<string, unknown>;
  };
  const text = (place: string, value: unknown): string => {
    if (typeof value === 'string' && value !== '') return value;
    throw new TaskError(
      'ContractViolation',
      `The payload is not a CDEvent: ${place} is missing or not a string`,
      'A CDEvent has the members context (id, source, type, timestamp) and subject (id, content).',
    );
  };
  const attributes = {
    id: text('context.id', context?.id),
    source: text('context.source', context?.source),
    type: text('context.type', context?.type),
    time: text('context.timestamp', context?.timestamp),
    subject: text('subject.id', subject?.id),
  };
  if (parseTime(attributes.time) === undefined) {
    throw new TaskError(
      'ContractViolation',
      `The payload is not a CDEvent: context.timestamp is ${quoted(attributes.time)}, which is not a time`,
      'Write it in RFC 3339 form: 2026-03-01T08:00:00Z.',
    );
  }
  if (attributes.type !== eventType) {
    throw new TaskError(
      'ContractViolation',
      `The payload is a CDEvent of type ${quoted(attributes.type)}, not ${quoted(eventType)}`,
      'Correct eventType or context.type of the payload.',
    );
  }
  if (!/^[ -~]{1,256}$/.test(attributes.id) || (messageId !== undefined && messageId !== attributes.id)) {
    throw new TaskError(
      'InvalidInput',
      `messageId: for a CDEvent it is the id in its context, ${quoted(attributes.id)}, of at most 256 printable ASCII characters`,
      'Leave messageId empty.',
    );
  }
  return attributes;
}

/** What a stream recognises a CDEvent by: another source's event may have the same id. */
export function cdEventMessageId({ id, source }: { readonly id: string; readonly source: string }): string {
  return `${id}.${createHash('sha256').update(source).digest('base64url').slice(0, 22)}`;
}
