import type { ReceivedMessage } from '../../shared/bus.ts';
import { ReceivedEvent, type EventView } from '../../shared/event/receivedEvent.ts';
import { compileExpression } from '../../shared/expression/expression.ts';
import type { NamedExpression, WaitCriteria } from '../../shared/waiting/criteria.ts';

/** A message as the stream CI delivers it, 25 ms after it was stored. */
export function messageOf(
  payload: string | Uint8Array,
  headers: Readonly<Record<string, string | readonly string[]>> = {},
  overrides: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  return {
    subject: 'ci.done.v1',
    headers: new Map(Object.entries(headers).map(([name, values]) => [name, [values].flat()])),
    payload: Buffer.from(payload),
    place: { stream: 'CI', sequence: 7 },
    storedAt: Date.UTC(2026, 4, 31, 8, 0, 1),
    receivedAt: Date.UTC(2026, 4, 31, 8, 0, 1, 25),
    ...overrides,
  };
}

/** What an expression sees of an event with this payload. */
export function viewOf(...message: Parameters<typeof messageOf>): EventView {
  return new ReceivedEvent(messageOf(...message)).view;
}

/** The headers of a CloudEvent in binary mode, as another sender writes them. */
export function cloudEvent(attributes: Readonly<Record<string, string>> = {}): Record<string, string> {
  const all = { specversion: '1.0', id: 'e-1', source: '/another-sender', type: 'test', ...attributes };
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [`ce-${name}`, value]));
}

/** An expression with its text, as from an input. */
export function named(text: string): NamedExpression {
  return { ...compileExpression(text), text };
}

/** A wait for any one event of a stream, apart from the test's own criteria. */
export function criteriaOf(others: Partial<WaitCriteria> = {}): WaitCriteria {
  return {
    subjects: ['ci.>'],
    delivery: 'jetStream',
    onInvalid: 'skip',
    match: undefined,
    failWhen: undefined,
    correlationId: undefined,
    count: 1,
    distinctBy: undefined,
    expect: undefined,
    trustedKeys: undefined,
    maxEventAgeMs: undefined,
    timeoutMs: 60_000,
    idleTimeoutMs: undefined,
    outputs: [],
    ...others,
  };
}
