import type { Agent } from '../agent/agent.ts';
import type { PublishResult, ReceivedReply } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import { utf8Text } from '../../shared/event/cloudEvent.ts';
import { parseJson } from '../../shared/text/json.ts';
import { isoTime } from '../../shared/text/duration.ts';
import { setOutputs, writeFile } from '../agent/outputs.ts';
import { logLine } from '../../shared/text/logLine.ts';
import type { Clock } from '../../shared/clock.ts';
import type { StepEnd } from '../agent/run.ts';
import { quoted } from '../../shared/text/safeText.ts';
import { writeReceipt, type ReceiptParts } from '../agent/receipt.ts';
import { attachSummary } from '../agent/summary/attach.ts';
import type { PublishStep } from './inputs.ts';
import type { Prepared, Published } from './publish.ts';
import { publishSummary } from './summary.ts';

/** Every output of the task, so that one without a value does not compile. */
type Output =
  | 'messageId'
  | 'subject'
  | 'correlationId'
  | 'traceparent'
  | 'stream'
  | 'sequence'
  | 'duplicate'
  | 'count'
  | 'duplicateCount'
  | 'failedCount'
  | 'schemaDigest'
  | 'replyFile'
  | 'receiptFile';

const MOST_RANGES = 10;
/** A stream's acknowledgement is a few names and numbers. */
const MOST_ACK_BYTES = 4_096;

/** Says that nothing was sent: the summary of the run, and the end of the step, which has failed. */
export async function reportUnsent(agent: Agent, step: PublishStep, error: unknown, clock: Clock): Promise<never> {
  await attachSummary(agent, clock.signal, () => publishSummary(step, undefined, error, clock));
  throw error;
}

/** Before anything is sent. Not errors: the content of a file may be intended, and may have been there for long. */
export function warnOfPayload(agent: Agent, { request: { payload } }: PublishStep, prepared: Prepared): void {
  for (const remark of prepared.remarks) agent.warning(remark);
  if (payload.from === 'inline' || prepared.secretInFile === undefined) return;
  agent.warning(
    `payloadFile: ${payload.file} holds the value of ${prepared.secretInFile}, and anyone who may read the subject can read it. Remove it from the file, or send a reference to it.`,
  );
}

/**
 * Reports what was published, or how far it got: log line, outputs, receipt, the summary of the run, and the end of the
 * step. Throws when it failed.
 */
export async function reportPublished(
  agent: Agent,
  step: PublishStep,
  prepared: Prepared,
  published: Published,
  clock: Clock,
): Promise<StepEnd> {
  const { request } = step;
  const { ack, confirmed, error } = published;
  const isBatch = request.payload.from === 'lines';
  if (error === undefined) {
    agent.info(
      logLine(request.delivery === 'request' ? 'replied' : 'published', {
        subject: request.subject,
        messageId: prepared.messageId,
        correlationId: request.correlationId,
        stream: ack?.stream,
        sequence: ack?.sequence,
        duplicate: isBatch ? undefined : ack?.duplicate,
        count: isBatch ? confirmed : undefined,
        duplicates: isBatch ? published.duplicates : undefined,
        bytes: prepared.payloadBytes,
        confirmedAfterMs: published.endedAt - published.sentAt,
        schema: prepared.schemaDigest,
        traceparent: request.traceparent,
      }),
    );
  }
  warnOfDuplicates(agent, isBatch, prepared, published);
  if (storedByOthers(step, published)) {
    agent.warning(
      "This step signed what it published, but didn't look at what the stream holds under the same id: anyone who may publish to the subject may have stored it first. Use message ids that can't be guessed.",
    );
  }
  const failure = isBatch ? incomplete(prepared, published) : unconfirmed(error, request.subject);
  const outputs: Record<Output, string> = {
    messageId: prepared.messageId,
    subject: request.subject,
    correlationId: request.correlationId,
    traceparent: request.traceparent,
    stream: ack?.stream ?? '',
    sequence: ack === undefined ? '' : String(ack.sequence),
    duplicate: String(ack?.duplicate ?? false),
    count: String(confirmed),
    duplicateCount: String(published.duplicates),
    failedCount: String(prepared.count - confirmed),
    schemaDigest: prepared.schemaDigest ?? '',
    replyFile: writeReply(agent, published),
    receiptFile: writeReceipt(agent, 'PublishNatsEvent', step, receipt(step, prepared, published, failure)),
  };
  setOutputs(agent, outputs);
  await attachSummary(agent, clock.signal, () => publishSummary(step, { prepared, published }, failure, clock));
  if (error !== undefined) throw failure;
  const place = ack === undefined ? '' : ` as ${ack.stream} ${ack.sequence}`;
  const what = isBatch ? `Published ${confirmed} events` : 'Published';
  return { result: 'Succeeded', message: `${what} to ${request.subject}${place}` };
}

/** Shows the progress of a batch on the step, at most once a second. */
export function progressOf(agent: Agent, { count }: Prepared, clock: Clock): (confirmed: number) => void {
  let shownAt = clock.now();
  return (confirmed) => {
    if (clock.now() - shownAt < 1_000) return;
    shownAt = clock.now();
    agent.progress(Math.floor((100 * confirmed) / count), `${confirmed} of ${count} lines confirmed`);
  };
}

function warnOfDuplicates(
  agent: Agent,
  isBatch: boolean,
  prepared: Prepared,
  { ack, duplicates, confirmed, outOfOrder }: Published,
): void {
  if (duplicates > 0 && isBatch) {
    const last =
      ack && ` The stream is ${ack.stream}; the last line confirmed in order is at sequence ${ack.sequence}.`;
    agent.warning(
      `${duplicates} of ${confirmed} lines were already in the stream, from an earlier run of this step or an unconfirmed first attempt; nothing was stored again for them.${last ?? ''}`,
    );
  } else if (duplicates > 0 && ack !== undefined) {
    agent.warning(
      `The stream ${ack.stream} already holds an event with the message id "${prepared.messageId}", at sequence ${ack.sequence}; nothing was stored this time.`,
    );
  }
  if (outOfOrder.length > 0) {
    agent.warning(
      `Not in the order of the file: ${countOf(outOfOrder)} lines are in the stream before a line that had to be sent again: ${named(outOfOrder)}.`,
    );
  }
}

/** Whether the stream already holds an unverified event with the id of this signed one. */
function storedByOthers({ signingKey }: PublishStep, { duplicates }: Published): boolean {
  return signingKey !== undefined && duplicates > 0;
}

type Ranges = PublishResult['unconfirmed'];

function countOf(ranges: Ranges): number {
  return ranges.reduce((count, [from, to]) => count + to - from + 1, 0);
}

/** `4, 10-12, …` */
function named(ranges: Ranges): string {
  const texts = ranges.slice(0, MOST_RANGES).map(([from, to]) => (from === to ? String(from) : `${from}-${to}`));
  return `${texts.join(', ')}${ranges.length > MOST_RANGES ? ', …' : ''}`;
}

function writeReply(agent: Agent, { reply }: Published): string {
  if (reply === undefined) return '';
  const file = writeFile(agent, 'nats-reply', 'bin', [reply.payload]);
  const errorHeaders = ['nats-service-error-code', 'nats-service-error'];
  const serviceError = errorHeaders.flatMap((name) => reply.headers.get(name) ?? []);
  if (serviceError.length > 0) agent.warning(`The responder answered with an error: ${serviceError.join(' ')}`);
  const stream = acknowledgingStream(reply);
  if (stream !== undefined) {
    agent.warning(
      `The reply is the acknowledgement of the stream ${quoted(stream)}, which captures the subject, and not the answer of a service. Send requests to a subject that no stream captures.`,
    );
  }
  return file;
}

/** The stream's name, if a stream sent the reply: a stream that captures a request's subject acknowledges it first. */
function acknowledgingStream({ headers, payload }: ReceivedReply): string | undefined {
  if (headers.size > 0 || payload.length > MOST_ACK_BYTES) return undefined;
  const { stream, seq } = Object(parseJson(utf8Text(payload) ?? '')?.value) as Record<string, unknown>;
  return typeof stream === 'string' && Number.isInteger(seq) ? stream : undefined;
}

const RUN_AGAIN =
  'A retry of the step (retryCountOnTaskFailure) sends the same message ids, so that the stream stores only what it does not hold yet, within its duplicate window.';

/** What an unconfirmed event means for the user. */
function unconfirmed(error: unknown, subject: string): unknown {
  const isInFlight =
    error instanceof TaskError && error.remedy === '' && (error.code === 'Timeout' || error.code === 'ConnectionLost');
  if (!isInFlight) return error;
  return new TaskError(
    error.code,
    `The event on "${subject}" was not confirmed. ${error.problem}`,
    `It may or may not have been stored. ${RUN_AGAIN}`,
    { cause: error },
  );
}

/** A batch that was only partly published: which lines, and why. If none was sent, the reason is the error itself. */
function incomplete(prepared: Prepared, { sent, confirmed, unconfirmed: ranges, error }: Published): unknown {
  if (!(error instanceof TaskError) || sent === 0) return error;
  const mayBeStored = error.code === 'Timeout' || error.code === 'ConnectionLost' || error.code === 'Cancelled';
  if (confirmed === 0 && !mayBeStored) return error;
  const lines = [
    `${confirmed} of ${prepared.count} lines were confirmed.`,
    ranges.length === 0 ? '' : `Unconfirmed lines: ${named(ranges)}.`,
    sent < prepared.count ? `Not sent: ${named([[sent + 1, prepared.count]])}.` : '',
  ];
  const text = lines.filter(Boolean).join(' ');
  // A cancelled step has no error in the log, so its lines are reported there.
  if (error.code === 'Cancelled')
    return new TaskError('Cancelled', `${text} ${error.problem}`, RUN_AGAIN, { cause: error, details: [text] });
  const remedy = [error.remedy, RUN_AGAIN].filter(Boolean).join(' ');
  const { code, problem, details } = error;
  return new TaskError('Incomplete', `${text} ${code}: ${problem}`, remedy, { cause: error, details });
}

function receipt(step: PublishStep, prepared: Prepared, published: Published, failure: unknown): ReceiptParts {
  const { request, signingKey } = step;
  const { ack } = published;
  return {
    where: {
      delivery: request.delivery,
      subject: request.subject,
      stream: ack?.stream ?? null,
      sequence: ack?.sequence ?? null,
    },
    what: {
      messageId: prepared.messageId,
      envelope: request.envelope,
      source: prepared.source,
      type: prepared.type,
      correlationId: request.correlationId,
      traceparent: request.traceparent,
      events: prepared.count,
      payloadBytes: prepared.payloadBytes,
      payloadSha256: prepared.payloadSha256,
      schemaFile: request.schemaFile ?? null,
      schemaDigest: prepared.schemaDigest ?? null,
      signedBy: signingKey?.publicKey ?? null,
    },
    when: { sentAt: isoTime(published.sentAt), endedAt: isoTime(published.endedAt) },
    result: {
      published: failure === undefined,
      duplicate: ack?.duplicate ?? null,
      confirmed: published.confirmed,
      duplicates: published.duplicates,
      ...(storedByOthers(step, published) ? { storedEventVerified: false } : {}),
      failed: prepared.count - published.confirmed,
      unconfirmed: published.unconfirmed.slice(0, MOST_RANGES),
      error: failure === undefined ? null : failure instanceof TaskError ? failure.code : 'Internal',
    },
  };
}
