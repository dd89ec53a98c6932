import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Bus, Chunks, OutgoingMessage, PubAck, PublishResult } from '../shared/bus.ts';
import type { Contract } from '../shared/contract.ts';
import { describeProblems } from '../shared/contract.ts';
import { reasonOf, TaskError } from '../shared/errors.ts';
import { parseJson, utf8Text, type Attributes } from '../shared/event.ts';
import { encodeEvent } from '../shared/eventEncoding.ts';
import type { SigningKey } from '../shared/nkey.ts';
import type { StepClock } from '../shared/run.ts';
import { signMessage } from '../shared/signature.ts';
import { cdEventAttributes } from './cdEvent.ts';
import type { PublishRequest } from './inputs.ts';

/** No NATS server takes a larger `max_payload` (nats-server, `MAX_PAYLOAD_MAX_SIZE`). */
const LARGEST_PAYLOAD = 64 * 1_024 * 1_024;

/** An event that satisfies its contract, ready to be sent. */
export interface PreparedEvent {
  readonly messageId: string;
  readonly payload: Uint8Array;
  readonly attributes: Attributes;
  readonly schemaDigest: string | undefined;
}

/** What became of an event. */
export interface Published {
  readonly event: PreparedEvent;
  /** When it was sent and confirmed, in milliseconds since the epoch. */
  readonly sentAt: number;
  readonly confirmedAt: number;
  /** The stream's acknowledgement; undefined for core NATS. */
  readonly ack: PubAck | undefined;
}

/** Reads the payload and checks it against its contract. Nothing is connected yet. */
export function prepareEvent(request: PublishRequest, contract: Contract | undefined): PreparedEvent {
  const payload = readPayload(request);
  const text = utf8Text(payload);
  const json = text === undefined ? undefined : parseJson(text);
  if (contract !== undefined) checkContract(contract, json);
  const cdEvent = cdEventAttributes(request, json?.value);
  return {
    messageId: cdEvent?.id ?? request.messageId ?? request.defaultMessageId(),
    payload,
    attributes: {
      source: request.eventSource,
      type: request.eventType,
      datacontenttype: request.contentType ?? (json === undefined ? 'application/octet-stream' : 'application/json'),
      ...request.run.owner,
      ...cdEvent,
    },
    schemaDigest: contract?.digest,
  };
}

function readPayload({ payload }: PublishRequest): Uint8Array {
  if (payload.from === 'inline') return Buffer.from(payload.text);
  try {
    const { size } = statSync(payload.file);
    if (size > LARGEST_PAYLOAD) {
      throw new TaskError(
        'TooLarge',
        `The file ${payload.file} has ${String(size)} bytes, more than any NATS server takes.`,
        'Store it elsewhere, such as a pipeline artifact, and publish a reference to it.',
      );
    }
    return readFileSync(payload.file);
  } catch (error) {
    if (error instanceof TaskError) throw error;
    throw new TaskError('InvalidInput', `payloadFile: ${payload.file} cannot be read (${reasonOf(error)}).`, '', {
      cause: error,
    });
  }
}

function checkContract(contract: Contract, json: { readonly value: unknown } | undefined): void {
  const nothingSent = 'Nothing was sent. Correct the payload, or the schema if it is the schema that is wrong.';
  if (json === undefined)
    throw new TaskError(
      'ContractViolation',
      `The payload is not JSON, which the schema ${contract.schemaFile} demands.`,
      nothingSent,
    );
  const result = contract.check(json.value);
  if (result.outcome === 'violated') {
    throw new TaskError(
      'ContractViolation',
      `The payload breaks the schema ${contract.schemaFile}: ${describeProblems(result.problems)}.`,
      nothingSent,
    );
  }
  if (result.outcome === 'interrupted') {
    throw new TaskError(
      'InvalidSchema',
      `The check against ${contract.schemaFile} was interrupted after ${String(result.afterMs)} ms.`,
      'Look for a regular expression with nested repetition in the schema.',
    );
  }
}

/** Sends the event and waits until it is confirmed: by the stream, or for core NATS by the server. */
export async function publishEvent(
  request: PublishRequest,
  event: PreparedEvent,
  signingKey: SigningKey | undefined,
  bus: Bus,
  clock: StepClock,
): Promise<Published> {
  const sentAt = clock.now();
  const plain = encodeEvent({
    subject: request.subject,
    envelope: request.envelope,
    attributes: { id: event.messageId, time: new Date(sentAt).toISOString(), ...event.attributes },
    payload: event.payload,
    headers: request.headers,
    messageId: event.messageId,
    correlationId: request.correlationId,
    traceparent: request.traceparent,
  });
  const message: OutgoingMessage = signingKey === undefined ? plain : signMessage(plain, signingKey, new Date(sentAt));
  const { error, last } = await send(request, [[message]], bus, () => {}, clock);
  if (error !== undefined) throw unconfirmed(error, request.subject);
  return { event, sentAt, confirmedAt: clock.now(), ack: last };
}

function send(
  request: PublishRequest,
  messages: Chunks,
  bus: Bus,
  onProgress: (confirmed: number) => void,
  clock: StepClock,
): Promise<PublishResult> {
  return request.delivery === 'jetStream'
    ? bus.publishToStream(messages, request.expectedStream, onProgress, clock.signal)
    : bus.publishCore(messages, onProgress, clock.signal);
}

/** What it means for the user that an event in flight was not confirmed. */
function unconfirmed(error: unknown, subject: string): unknown {
  if (!(error instanceof TaskError) || (error.code !== 'Timeout' && error.code !== 'ConnectionLost')) return error;
  const remedy =
    'Whether it was stored is not known. Run the step again: it sends the same message id, so a stored event is not doubled within the duplicate window of the stream.';
  const problem =
    error.code === 'Timeout'
      ? `The event on "${subject}" was not confirmed within the timeout.`
      : `The event on "${subject}" was not confirmed. ${error.problem}`;
  return new TaskError(error.code, problem, remedy, { cause: error });
}

/** SHA-256 of a payload, in hexadecimal: what a receipt shows in its place. */
export function sha256(payload: Uint8Array): string {
  return createHash('sha256').update(payload).digest('hex');
}
