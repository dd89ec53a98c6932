import type { Bus, Chunks, OutgoingMessage, PubAck, PublishResult, ReceivedReply } from '../../shared/bus.ts';
import { describeProblems, type Contract } from '../../shared/contract/contract.ts';
import { TaskError } from '../../shared/errors.ts';
import { utf8Text } from '../../shared/event/cloudEvent.ts';
import { parseJson } from '../../shared/text/json.ts';
import { eventEncoder } from '../../shared/event/encode.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import type { SigningKey } from '../../shared/nkey.ts';
import { Pace, type Clock } from '../../shared/clock.ts';
import { signMessage } from '../../shared/signing/signature.ts';
import { cdEventAttributes, cdEventMessageId, isCdEventType } from '../../shared/event/cdEvent.ts';
import { checked } from './checked.ts';
import type { PublishRequest } from './inputs.ts';
import { readSurveyedLines, surveyLines } from './lines.ts';
import { checkEncoding, readPayloadFile, remarksOn, sha256 } from './payload.ts';

/** What is to be sent: checked against its contract, nothing connected yet. */
export interface Prepared {
  /** Of the only event, or of the last of a batch. */
  readonly messageId: string;
  /** Of the same event. */
  readonly source: string;
  readonly type: string;
  readonly count: number;
  readonly payloadBytes: number;
  /** Of the payload, or of the whole file of a batch; in hexadecimal. */
  readonly payloadSha256: string;
  /** Digest of the contract that all of it was held to. */
  readonly schemaDigest: string | undefined;
  /** The name of a secret whose value the file holds. */
  readonly secretInFile: string | undefined;
  /** What is odd about the payload but may be intended: sentences. */
  readonly remarks: readonly string[];
  /** The largest event. */
  readonly largest: OutgoingMessage;
  /** The line it is on, in a batch. */
  readonly largestLine: number | undefined;
  /** The events as messages, created on demand. */
  messages(): Chunks;
}

/** What became of it. */
export interface Published extends Omit<PublishResult, 'last'> {
  /** In milliseconds since the epoch. */
  readonly sentAt: number;
  readonly endedAt: number;
  readonly ack: PubAck | undefined;
  readonly reply: ReceivedReply | undefined;
}

/** Events signed in one go. */
const MOST_SIGNED = 256;

/** Bytes of a file that are searched for secrets at once. */
const CHUNK_BYTES = 256 * 1_024;

/** Turns a payload into a message, with its own id and the time of sending. */
type MakeMessage = (payload: Uint8Array, messageId: string, json: unknown) => OutgoingMessage;

/** Reads what is to be published and checks all of it. */
export function prepare(
  request: PublishRequest,
  contract: Contract | undefined,
  signingKey: SigningKey | undefined,
  clock: Clock,
): Promise<Prepared> {
  const { payload } = request;
  if (payload.from === 'lines') return prepareLines(request, payload.file, contract, signingKey, clock);
  const bytes = payload.from === 'inline' ? Buffer.from(payload.text) : readPayloadFile(payload.file);
  return prepareEvent(request, bytes, contract, signingKey, clock);
}

async function prepareEvent(
  request: PublishRequest,
  payload: Uint8Array,
  contract: Contract | undefined,
  signingKey: SigningKey | undefined,
  clock: Clock,
): Promise<Prepared> {
  const { from } = request.payload;
  if (request.contentType === undefined && from === 'file') checkEncoding(request.payload.file, payload);
  const text = utf8Text(payload);
  const json = text === undefined ? undefined : parseJson(text);
  if (contract !== undefined) await checkContract(contract, json, text, clock);
  const cdEvent = cdEventAttributes(request, json?.value);
  const id = cdEvent?.id ?? request.messageId ?? request.defaultMessageId();
  const contentType = request.contentType ?? (json === undefined ? 'application/octet-stream' : 'application/json');
  const make = messageMaker(request, contentType, signingKey, clock);
  return {
    messageId: id,
    source: cdEvent?.source ?? request.eventSource,
    type: request.eventType,
    count: 1,
    payloadBytes: payload.length,
    payloadSha256: sha256(payload),
    schemaDigest: contract?.digest,
    secretInFile: from === 'file' ? await secretIn(payload, new Pace(clock)) : undefined,
    remarks: remarksOn(request, text, json?.value),
    largest: make(payload, id, json?.value),
    largestLine: undefined,
    messages: () => [[make(payload, id, json?.value)]],
  };
}

async function secretIn(file: Uint8Array, pace: Pace): Promise<string | undefined> {
  const secretInChunk = knownSecrets.secretInChunks();
  let found: string | undefined;
  for (let start = 0; start < file.length && found === undefined; start += CHUNK_BYTES) {
    await pace.timeLeft();
    found = secretInChunk(file.subarray(start, start + CHUNK_BYTES));
  }
  return found;
}

async function prepareLines(
  request: PublishRequest,
  file: string,
  contract: Contract | undefined,
  signingKey: SigningKey | undefined,
  clock: Clock,
): Promise<Prepared> {
  const make = messageMaker(request, request.contentType ?? 'application/json', signingKey, clock);
  const jsonOf = (line: Uint8Array) =>
    isCdEventType(request.eventType) ? parseJson(utf8Text(line) ?? '')?.value : undefined;
  // What differs between lines: the line, its number in the ids, and everything in a CDEvent's context.
  const weigh = (line: Uint8Array, number: number) =>
    isCdEventType(request.eventType) ? sizeOf(make(line, '', jsonOf(line))) : line.length + 2 * String(number).length;
  const pace = new Pace(clock);
  const lines = await surveyLines(request, file, contract, weigh, pace);
  const base = request.messageId ?? `${request.defaultMessageId()}.${lines.sha256}`;
  const idOf = (number: number) => `${base}.${number}`;
  const lastCdEvent = cdEventAttributes(request, jsonOf(lines.last));
  return {
    messageId: lastCdEvent?.id ?? idOf(lines.count),
    source: lastCdEvent?.source ?? request.eventSource,
    type: request.eventType,
    count: lines.count,
    payloadBytes: lines.bytes,
    payloadSha256: lines.sha256,
    schemaDigest: contract?.digest,
    secretInFile: lines.secret,
    remarks: remarksOn(request, undefined, parseJson(utf8Text(lines.last) ?? '')?.value),
    largest: make(lines.largest.line, idOf(lines.largest.number), jsonOf(lines.largest.line)),
    largestLine: lines.largest.number,
    messages: async function* () {
      let number = 0;
      for await (const chunk of readSurveyedLines(lines)) {
        // Signing is slow, and a chunk can have thousands of short lines.
        const most = signingKey === undefined ? chunk.length : MOST_SIGNED;
        for (let start = 0; start < chunk.length; start += most) {
          await pace.timeLeft();
          yield chunk.slice(start, start + most).map((line) => make(line, idOf(++number), jsonOf(line)));
        }
      }
    },
  };
}

function sizeOf({ headers, payload }: OutgoingMessage): number {
  return headers.reduce((size, [name, value]) => size + name.length + Buffer.byteLength(value), payload.length);
}

function messageMaker(
  request: PublishRequest,
  contentType: string,
  signingKey: SigningKey | undefined,
  clock: Clock,
): MakeMessage {
  const typed = { source: request.eventSource, type: request.eventType };
  const encode = eventEncoder({
    ...request,
    attributes: {
      ...(isCdEventType(request.eventType) ? {} : typed),
      datacontenttype: contentType,
      ...request.owner,
    },
  });
  let now = new Date(0);
  let time = '';
  return (payload, id, json) => {
    const ms = clock.now();
    if (ms !== now.getTime()) {
      now = new Date(ms);
      time = now.toISOString();
    }
    const cdEvent = cdEventAttributes(request, json);
    const attributes = cdEvent ?? { id, time };
    const message = encode({ attributes, payload, messageId: cdEvent === undefined ? id : cdEventMessageId(cdEvent) });
    return signingKey === undefined ? message : signMessage(message, signingKey, now);
  };
}

async function checkContract(
  contract: Contract,
  json: { readonly value: unknown } | undefined,
  text: string | undefined,
  clock: Clock,
): Promise<void> {
  const violation = (problem: string) => new TaskError('ContractViolation', `The payload ${problem}`, nothingSent);
  const nothingSent = "Nothing was sent. Correct the payload, or the schema if that's what is wrong.";
  if (json === undefined) throw violation(`is not JSON, which the schema ${contract.schemaFile} demands`);
  const problems = await checked(contract, json.value, text, new Pace(clock));
  if (problems !== undefined)
    throw violation(`breaks the schema ${contract.schemaFile}: ${describeProblems(problems)}`);
}

/** Sends everything and waits until it is confirmed. Doesn't reject when events fail: the result says so. */
export async function publish(
  request: PublishRequest,
  prepared: Prepared,
  bus: Bus,
  onProgress: (confirmed: number) => void,
  clock: Clock,
): Promise<Published> {
  const sentAt = clock.now();
  const none = { sent: 0, confirmed: 0, duplicates: 0, outOfOrder: [], unconfirmed: [] };
  const nothing = { sentAt, ack: undefined, reply: undefined, ...none };
  try {
    checkSize(prepared, bus);
    if (request.delivery === 'request') {
      const reply = await bus.request(prepared.largest, clock.signal);
      return { ...nothing, endedAt: clock.now(), sent: 1, confirmed: 1, reply, error: undefined };
    }
    const result =
      request.delivery === 'jetStream'
        ? await bus.publishToStream(prepared.messages(), request.expectedStream, onProgress, clock.signal)
        : await bus.publishCore(prepared.messages(), onProgress, clock.signal);
    return { ...nothing, ...result, ack: result.last, endedAt: clock.now() };
  } catch (error) {
    return { ...nothing, endedAt: clock.now(), error };
  }
}

/** One event that is too large keeps a whole batch from being sent. */
function checkSize({ largest, largestLine }: Prepared, bus: Bus): void {
  try {
    bus.checkSize(largest);
  } catch (error) {
    if (!(error instanceof TaskError) || largestLine === undefined) throw error;
    const problem = `Line ${largestLine} is too long, so nothing was sent. ${error.problem}`;
    throw new TaskError(error.code, problem, error.remedy);
  }
}

/** Checks a reply against its own contract, as long as there is time; the problem as an error, or undefined. */
export async function replyProblem(reply: ReceivedReply, contract: Contract, clock: Clock): Promise<unknown> {
  const pace = new Pace(clock);
  let reason: string;
  try {
    const text = utf8Text(reply.payload);
    const json = text === undefined ? undefined : parseJson(text);
    const problems = json === undefined ? undefined : await checked(contract, json.value, text, pace);
    // Picks up a cancel that came meanwhile.
    await pace.timeLeft();
    if (json !== undefined && problems === undefined) return undefined;
    reason = problems === undefined ? 'it is not JSON' : describeProblems(problems);
  } catch (error) {
    if (!(error instanceof TaskError) || error.code !== 'Timeout') return error;
    return new TaskError(
      'Timeout',
      `The deadline of this step passed before the reply was checked against the schema ${contract.schemaFile}`,
      'The request was delivered; the output replyFile has the reply.',
      { cause: error },
    );
  }
  return new TaskError(
    'ContractViolation',
    `The reply breaks the schema ${contract.schemaFile}: ${reason}`,
    'The request was delivered. Tell the owner of the responder; the output replyFile has the reply.',
  );
}
