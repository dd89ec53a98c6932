import { reasonOf, TaskError } from '../../shared/errors.ts';
import {
  markdownBlock,
  markdownCode,
  markdownTable,
  markdownText,
  markdownTimeline,
} from '../agent/summary/markdown.ts';
import { describeOwner } from '../agent/pipelineRun.ts';
import { isoTime } from '../agent/outputs.ts';
import type { Clock } from '../../shared/clock.ts';
import type { PublishStep } from './inputs.ts';
import type { Prepared, Published } from './publish.ts';

/** Lines of an error's details, such as a block of permissions. */
const MOST_DETAILS = 40;

/** What a step that was connected has sent, and what became of it. */
export interface Sent {
  readonly prepared: Prepared;
  readonly published: Published;
  readonly schemaDigest: string | undefined;
}

/** How publishing ended, in Markdown for people who do not know this task: what happened and what to do first, evidence after. */
export function publishSummary(step: PublishStep, sent: Sent | undefined, error: unknown, clock: Clock): string {
  const details = error instanceof TaskError ? error.details.slice(0, MOST_DETAILS) : [];
  return [
    ...(error === undefined && sent !== undefined ? success(step, sent) : failure(sent, error)),
    details.length > 0 ? markdownBlock(details) : '',
    sent === undefined ? '' : eventTable(step, sent),
    sent === undefined ? '' : timeline(sent, error, clock),
    sent === undefined
      ? `**Subject:** ${markdownCode(step.request.subject)}`
      : 'The evidence as JSON is in the file that the output `receiptFile` names.',
  ]
    .filter(Boolean)
    .join('\n\n')
    .concat('\n');
}

function success({ request, signingKey }: PublishStep, { published }: Sent): string[] {
  const subject = markdownCode(request.subject);
  const isBatch = request.payload.from === 'lines';
  const { ack, confirmed, duplicates } = published;
  const what = isBatch ? `${String(confirmed)} events` : 'The event';
  const after = `after ${String(published.endedAt - published.sentAt)} ms`;
  const nothing = '**What to do:** Nothing.';
  switch (request.delivery) {
    case 'core':
      return [
        '## ✅ Published: the NATS server took it',
        `**What happened:** ${what} on ${subject} reached the server ${after}. Core NATS does not tell whether anybody listened.`,
        nothing,
      ];
    case 'request':
      return [
        '## ✅ Answered',
        `**What happened:** A request on ${subject} was answered ${after}.`,
        `${nothing} Later steps find the answer in the output \`replyFile\`.`,
      ];
    case 'jetStream': {
      const place = `the stream ${markdownCode(ack?.stream ?? '')}`;
      if (duplicates > 0 && duplicates === confirmed) {
        return [
          '## ✅ Published before: the stream already has it',
          `**What happened:** ${what} on ${subject} ${isBatch ? 'were' : 'was'} in ${place} already, so nothing was stored again.`,
          `**What to do:** Nothing after a retry. Otherwise the step needs another \`messageId\`.${signingKey === undefined ? '' : " What the stream holds wasn't looked at: it may be another sender's."}`,
        ];
      }
      return [
        '## ✅ Published: the stream has stored it',
        `**What happened:** ${what} on ${subject} ${isBatch ? 'are' : 'is'} in ${place}${isBatch ? ', up to' : ' as'} sequence ${String(ack?.sequence ?? 0)}, confirmed ${after}.`,
        nothing,
      ];
    }
  }
}

function failure(sent: Sent | undefined, error: unknown): string[] {
  const known = error instanceof TaskError ? error : undefined;
  const problem = known?.problem ?? `Unexpected error: ${reasonOf(error)}`;
  return [
    `## ${titleOfFailure(sent, known)}`,
    `**What happened:** ${markdownText(`${problem}.`)}`,
    `**What to do:** ${markdownText(known?.remedy || (known?.code === 'Cancelled' ? 'Run the job again if it was not meant.' : 'See the log of this step.'))}`,
  ];
}

function titleOfFailure(sent: Sent | undefined, error: TaskError | undefined): string {
  if (error?.code === 'Cancelled') return '🚫 Cancelled: the run was cancelled while this step was publishing';
  if (sent === undefined) return `❌ Not published: nothing was sent (${error?.code ?? 'Internal'})`;
  const { confirmed, reply } = sent.published;
  if (reply !== undefined) return '❌ Contract violation: the answer breaks its schema';
  switch (error?.code) {
    case 'Incomplete':
      return `❌ Incomplete: ${String(confirmed)} of ${String(sent.prepared.count)} events are confirmed`;
    case 'Timeout':
    case 'ConnectionLost':
      return '❌ Not confirmed: whether the event arrived is not known';
    default:
      return `❌ Not published (${error?.code ?? 'Internal'})`;
  }
}

function eventTable({ request, signingKey }: PublishStep, { prepared, published, schemaDigest }: Sent): string {
  const isBatch = request.payload.from === 'lines';
  const { ack, confirmed, duplicates, reply } = published;
  const seconds = (published.endedAt - published.sentAt) / 1_000;
  const rows: (readonly [label: string, value: string | undefined])[] = [
    ['Subject', markdownCode(request.subject)],
    [isBatch ? 'Last message id' : 'Message id', markdownCode(prepared.messageId)],
    ['Owner', markdownCode(describeOwner(request.run.owner) || prepared.source)],
    [isBatch ? 'Last sequence' : 'Sequence', ack && `${markdownCode(ack.stream)} ${String(ack.sequence)}`],
    ['Confirmed', isBatch ? `${String(confirmed)} of ${String(prepared.count)} events` : undefined],
    ['Already stored', isBatch ? String(duplicates) : undefined],
    ['Duplicate', isBatch || ack === undefined ? undefined : ack.duplicate ? 'yes, nothing was stored' : 'no'],
    ['Sent', isoTime(published.sentAt)],
    ['Took', `${seconds.toFixed(3)} s`],
    ['Schema', schemaDigest === undefined ? 'none' : `fits ${markdownCode(schemaDigest)}`],
    ['Signature', signingKey === undefined ? 'none' : `by ${markdownCode(signingKey.publicKey)}`],
    ['Payload', `${String(prepared.payloadBytes)} bytes, SHA-256 ${markdownCode(prepared.payloadSha256)}`],
    ['Answer', reply && `${String(reply.payload.length)} bytes`],
    ['Correlation id', markdownCode(request.correlationId)],
    ['Trace', markdownCode(request.traceparent)],
  ];
  return markdownTable(
    [isBatch ? 'Events' : 'Event', ''],
    rows.flatMap(([label, value]) => (value === undefined ? [] : [[label, value]])),
  );
}

function timeline({ published }: Sent, error: unknown, clock: Clock): string {
  const end = published.reply !== undefined ? 'answered' : error === undefined ? 'confirmed' : 'not confirmed';
  return markdownTimeline(clock.startedAt, [
    { at: published.sentAt, what: 'sent' },
    { at: published.endedAt, what: end },
  ]);
}
