import path from 'node:path';
import type { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { markdownCode, markdownTable, markdownText, markdownTimeline } from '../agent/summary/markdown.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { describeOwner } from '../../shared/event/owner.ts';
import { describeMs, isoTime, roundedMs } from '../../shared/text/duration.ts';
import type { Clock } from '../../shared/clock.ts';
import type { WaitRequest, WaitStep } from './inputs.ts';
import type { JudgedEvent } from '../../shared/waiting/judge.ts';
import { DECISIONS, decisionsIn } from '../../shared/waiting/explain.ts';
import type { Verdict } from '../../shared/waiting/verdict.ts';
import type { WaitOutcome } from '../../shared/waiting/wait.ts';
import { summaryPage } from '../agent/summary/page.ts';

/** Most events, subjects and missing values listed; all are counted. */
const MOST_LISTED = 20;
/** Events in the timeline. */
const MOST_TIMED = 5;

const TITLES: Readonly<Record<Verdict, string>> = {
  matched: '✅ Matched: the wait succeeded',
  negative: '❌ Negative: an event said no',
  timedOut: '⌛ Timed out: too few matching events in time',
  connectionLost: '❌ Connection lost: the event may or may not have come',
  contractViolation: '❌ Contract violation: an event broke its contract',
  denied: '⛔ Denied: the NATS server refused a permission',
  cancelled: '🚫 Cancelled: the run was cancelled during the wait',
  error: "❌ Error: this step couldn't wait",
};

/** The deciding events: those that matched, or the one that ended the wait otherwise. */
export function decidingEvents({ matched, deciding }: WaitOutcome): readonly JudgedEvent[] {
  return deciding === undefined || deciding.decision === 'matched' ? matched : [...matched, deciding];
}

/** How the wait ended, as a page of Markdown. */
export function waitSummary({ request }: WaitStep, outcome: WaitOutcome, clock: Clock): string {
  const { verdict, error } = outcome;
  const events = decidingEvents(outcome);
  const listed = events.slice(-MOST_LISTED);
  return summaryPage({
    title: `${TITLES[verdict]}${verdict === 'error' && error !== undefined ? ` (${error.code})` : ''}`,
    happened: error === undefined ? describeMatch(request, outcome, clock) : markdownText(`${error.problem}.`),
    todo: whatToDo(request, outcome),
    details: error?.details,
    evidence: [
      describeMissing(request, outcome),
      listed.length === 0 ? '' : eventTable(request, listed, outcome.schemaDigest),
      events.length > listed.length
        ? `These are the last ${listed.length} of ${events.length} events; the receipt lists all.`
        : '',
      countTable(outcome),
      timeline(request, outcome, listed, clock),
      `**Waited for:** ${describeRequest(request, outcome)}.`,
      'The evidence as JSON is in the file that the output `receiptFile` names.',
    ],
  });
}

function describeMatch({ count }: WaitRequest, { deciding }: WaitOutcome, { startedAt }: Clock): string {
  if (deciding === undefined) return '';
  const { subject, publishedAt, latencyMs } = deciding.event;
  const on = markdownCode(subject);
  const event = count === 1 ? `The event on ${on} came` : `All ${count} events came, the last one on ${on}`;
  if (publishedAt === undefined || latencyMs === undefined) return `${event}.`;
  return publishedAt < startedAt
    ? `${event}. It was published before this step began.`
    : `${event}, ${latencyMs} ms after it was published.`;
}

function whatToDo({ onTimeout }: WaitRequest, { verdict, error }: WaitOutcome): string {
  switch (verdict) {
    case 'matched':
      return "Nothing. Later steps can read the event from this step's outputs.";
    case 'cancelled':
      return 'Nothing, if that was intended. To keep waiting, run the job again.';
    case 'timedOut':
      return [
        markdownText(error?.remedy ?? ''),
        onTimeout === 'fail' ? '' : `The job continues because of \`onTimeout: ${onTimeout}\`.`,
      ].join(' ');
    default:
      return markdownText(error?.remedy || 'See the log of this step.');
  }
}

function describeMissing({ count }: WaitRequest, { missing }: WaitOutcome): string {
  if (count === 1 || missing === 0) return '';
  if (typeof missing === 'number') return `**Missing:** ${missing} of ${count} events`;
  return missing.length === 0 ? '' : `**Missing:** ${listCodes(missing)}`;
}

/** One event from top to bottom, several from left to right. */
function eventTable(request: WaitRequest, events: readonly JudgedEvent[], digest: string | undefined): string {
  const signed = request.trustedKeys !== undefined;
  const labels = [
    ...['Event', 'Subject', 'Message id', 'Sequence', signed ? 'Owner (signed)' : 'Owner (claimed)'],
    ...['Published', 'Received', 'Latency', 'Schema', 'Signature'],
  ];
  const columns = events.map(({ event, decision, signedBy }, index) => {
    const { label, mark } = DECISIONS[decision];
    return [
      `${index + 1}: ${mark === undefined ? decision : `${mark} ${label}`}`,
      markdownCode(event.subject),
      markdownCode(event.messageId),
      event.place === undefined ? '–' : `${markdownCode(event.place.stream)} ${event.place.sequence}`,
      markdownCode(describeOwner(event.attributes) || event.attributes.source || ''),
      isoTime(event.publishedAt).replace('T', ' ') || '–',
      isoTime(event.message.receivedAt).replace('T', ' '),
      event.latencyMs === undefined ? '–' : `${event.latencyMs} ms`,
      digest === undefined
        ? 'none'
        : `${decision === 'invalid' ? 'broken' : 'fits'} ${markdownCode(shortDigest(digest))}`,
      signatureState(event, signedBy, signed),
    ];
  });
  const [only, ...others] = columns;
  if (only === undefined || others.length > 0) return markdownTable(labels, columns);
  const [heading = '', ...rest] = only;
  return markdownTable(
    ['Event', heading],
    rest.map((value, index) => [labels[index + 1] ?? '', value]),
  );
}

function signatureState({ message }: ReceivedEvent, signedBy: string | undefined, checked: boolean): string {
  if (signedBy !== undefined) return `✅ by ${markdownCode(signedBy)}`;
  return !checked && message.headers.has('event-signature') ? 'present, not checked' : 'none';
}

function countTable({ counts, linkBreaks }: WaitOutcome): string {
  const decisions = decisionsIn(counts);
  const headings = decisions.map((decision) => capitalised(DECISIONS[decision].label));
  const table =
    counts.seen === 0
      ? '**Events seen:** none'
      : markdownTable(
          ['Events seen', ...headings],
          [[counts.seen, ...decisions.map((decision) => counts[decision])].map(String)],
        );
  const { count, totalMs } = linkBreaks;
  if (count === 0) return table;
  return `${table}\n\n**Link to the server:** broke ${count === 1 ? 'once' : `${count} times`}, down for ${describeMs(roundedMs(totalMs))} in all.`;
}

function timeline(
  { start }: WaitRequest,
  { verdict, linkBreaks }: WaitOutcome,
  listed: readonly JudgedEvent[],
  clock: Clock,
): string {
  const first = Math.max(0, listed.length - MOST_TIMED);
  const events = listed.slice(first).flatMap(({ event: { publishedAt, message }, decision }, index) => {
    const name = `event ${first + index + 1}`;
    return [
      ...(publishedAt === undefined ? [] : [{ at: publishedAt, what: `${name} published` }]),
      { at: message.receivedAt, what: `${name} received: ${decision}` },
    ];
  });
  return markdownTimeline(clock.startedAt, [
    ...(start.from === 'time' ? [{ at: start.at, what: 'start point: events from here on count' }] : []),
    ...events,
    { at: clock.now(), what: `verdict ${verdict}${linkBreaks.count > 0 ? ', after a broken link' : ''}` },
  ]);
}

function describeRequest(request: WaitRequest, { stream, schemaDigest: digest }: WaitOutcome): string {
  const { subjects, match, failWhen, correlationId, count, distinctBy, expect, schemaFile, timeoutMs } = request;
  const where =
    request.delivery === 'core' ? ' in core NATS' : stream === undefined ? '' : ` in stream ${markdownCode(stream)}`;
  return [
    `${count === 1 ? 'one event' : `${count} events`} on ${listCodes(subjects)}${where}`,
    match && `where ${markdownCode(match.text)}`,
    distinctBy && `distinct by ${markdownCode(distinctBy.text)}`,
    expect && `expected ${listCodes(expect)}`,
    failWhen && `failing when ${markdownCode(failWhen.text)}`,
    correlationId && `with the correlation id ${markdownCode(correlationId)}`,
    schemaFile &&
      `with data that fits the schema ${markdownCode(path.basename(knownSecrets.mask(schemaFile)))}${digest === undefined ? '' : ` (${markdownCode(digest)})`}`,
    `for at most ${describeMs(timeoutMs)}`,
  ]
    .filter(Boolean)
    .join(', ');
}

/** A bounded list of foreign values. */
function listCodes(values: readonly string[]): string {
  const listed = values.slice(0, MOST_LISTED).map(markdownCode).join(', ');
  return values.length > MOST_LISTED ? `${listed} and ${values.length - MOST_LISTED} more` : listed;
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function shortDigest(digest: string): string {
  return `${digest.slice(0, 'sha256:'.length + 12)}…`;
}
