import { reasonOf, TaskError } from '../../shared/errors.ts';
import { markdownCode, markdownTable, markdownText, markdownTimeline } from '../agent/summary/markdown.ts';
import { describeOwner } from '../../shared/event/owner.ts';
import { isoTime } from '../../shared/text/duration.ts';
import type { Clock } from '../../shared/clock.ts';
import { summaryPage, type SummaryPage } from '../agent/summary/page.ts';
import type { PublishStep } from './inputs.ts';
import type { Prepared, Published } from './publish.ts';

/** What a connected step sent, and with what outcome. */
export interface Sent {
  readonly prepared: Prepared;
  readonly published: Published;
}

/** How publishing ended, as a page of Markdown. */
export function publishSummary(step: PublishStep, sent: Sent | undefined, error: unknown, clock: Clock): string {
  return summaryPage({
    ...(error === undefined && sent !== undefined ? success(step, sent) : failure(sent, error)),
    details: error instanceof TaskError ? error.details : undefined,
    evidence:
      sent === undefined
        ? [`**Subject:** ${markdownCode(step.request.subject)}`]
        : [
            eventTable(step, sent),
            timeline(sent, error, clock),
            'The evidence as JSON is in the file that the output `receiptFile` names.',
          ],
  });
}

type Headline = Pick<SummaryPage, 'title' | 'happened' | 'todo'>;

function success({ request, signingKey }: PublishStep, { published }: Sent): Headline {
  const subject = markdownCode(request.subject);
  const isBatch = request.payload.from === 'lines';
  const { ack, confirmed, duplicates } = published;
  const what = isBatch ? `${confirmed} events` : 'The event';
  const after = `after ${published.endedAt - published.sentAt} ms`;
  switch (request.delivery) {
    case 'core':
      return {
        title: '✅ Published: sent to the NATS server',
        happened: `${what} on ${subject} reached the server ${after}. Core NATS doesn't say whether anyone was listening.`,
        todo: 'Nothing.',
      };
    case 'request':
      return {
        title: '✅ Answered',
        happened: `A request on ${subject} was answered ${after}.`,
        todo: 'Nothing. The output `replyFile` names the file with the answer.',
      };
    case 'jetStream': {
      const place = `the stream ${markdownCode(ack?.stream ?? '')}`;
      if (duplicates > 0 && duplicates === confirmed) {
        return {
          title: '✅ Already published: the stream has it',
          happened: `${what} on ${subject} ${isBatch ? 'were' : 'was'} already in ${place}, so nothing was stored again.`,
          todo: `Nothing after a retry. Otherwise the step needs another \`messageId\`.${signingKey === undefined ? '' : " What the stream holds wasn't looked at: it may be another sender's."}`,
        };
      }
      return {
        title: '✅ Published: stored in the stream',
        happened: `${what} on ${subject} ${isBatch ? 'are' : 'is'} in ${place}${isBatch ? ', up to' : ' as'} sequence ${ack?.sequence ?? 0}, confirmed ${after}.`,
        todo: 'Nothing.',
      };
    }
  }
}

function failure(sent: Sent | undefined, error: unknown): Headline {
  const known = error instanceof TaskError ? error : undefined;
  const problem = known?.problem ?? `Unexpected error: ${reasonOf(error)}`;
  const otherwise =
    known?.code === 'Cancelled' ? "If that wasn't intended, run the job again." : 'See the log of this step.';
  return {
    title: titleOfFailure(sent, known),
    happened: markdownText(`${problem}.`),
    todo: markdownText(known?.remedy || otherwise),
  };
}

function titleOfFailure(sent: Sent | undefined, error: TaskError | undefined): string {
  if (error?.code === 'Cancelled') return '🚫 Cancelled: the run was cancelled while this step was publishing';
  if (sent === undefined) return `❌ Not published: nothing was sent (${error?.code ?? 'Internal'})`;
  const { confirmed, reply } = sent.published;
  if (reply !== undefined) return '❌ Contract violation: the answer broke its schema';
  switch (error?.code) {
    case 'Incomplete':
      return `❌ Incomplete: ${confirmed} of ${sent.prepared.count} events confirmed`;
    case 'Timeout':
    case 'ConnectionLost':
      return '❌ Not confirmed: the event may or may not have arrived';
    default:
      return `❌ Not published (${error?.code ?? 'Internal'})`;
  }
}

function eventTable({ request, signingKey }: PublishStep, { prepared, published }: Sent): string {
  const isBatch = request.payload.from === 'lines';
  const { ack, confirmed, duplicates, reply } = published;
  const seconds = (published.endedAt - published.sentAt) / 1_000;
  const rows: (readonly [label: string, value: string | undefined])[] = [
    ['Subject', markdownCode(request.subject)],
    [isBatch ? 'Last message id' : 'Message id', markdownCode(prepared.messageId)],
    ['Owner', markdownCode(describeOwner(request.run.owner) || prepared.source)],
    [isBatch ? 'Last sequence' : 'Sequence', ack && `${markdownCode(ack.stream)} ${ack.sequence}`],
    ['Confirmed', isBatch ? `${confirmed} of ${prepared.count} events` : undefined],
    ['Already stored', isBatch ? String(duplicates) : undefined],
    ['Duplicate', isBatch || ack === undefined ? undefined : ack.duplicate ? 'yes, nothing was stored' : 'no'],
    ['Sent', isoTime(published.sentAt)],
    ['Took', `${seconds.toFixed(3)} s`],
    ['Schema', prepared.schemaDigest === undefined ? 'none' : `fits ${markdownCode(prepared.schemaDigest)}`],
    ['Signature', signingKey === undefined ? 'none' : `by ${markdownCode(signingKey.publicKey)}`],
    ['Payload', `${prepared.payloadBytes} bytes, SHA-256 ${markdownCode(prepared.payloadSha256)}`],
    ['Answer', reply && `${reply.payload.length} bytes`],
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
