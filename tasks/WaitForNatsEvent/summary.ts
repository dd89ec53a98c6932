import path from 'node:path';
import type { TaskError } from '../../shared/errors.ts';
import { publishedAt } from '../../shared/event/receivedEvent.ts';
import {
  markdownBlock,
  markdownCode,
  markdownTable,
  markdownText,
  markdownTimeline,
} from '../agent/summary/markdown.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { describeOwner } from '../agent/pipelineRun.ts';
import { isoTime } from '../agent/outputs.ts';
import type { Clock } from '../../shared/clock.ts';
import type { WaitRequest, WaitStep } from './inputs.ts';
import type { JudgedEvent } from '../../shared/waiting/judge.ts';
import { describeMs, messageIdOf, roundedMs, type Verdict, type WaitOutcome } from '../../shared/waiting/wait.ts';

/** Events, subjects and missing values that are listed; all are counted. */
const MOST_LISTED = 20;
/** Events in the timeline. */
const MOST_TIMED = 5;
/** Lines of an error's details, such as a block of permissions. */
const MOST_DETAILS = 40;

const TITLES: Readonly<Record<Verdict, string>> = {
  matched: '✅ Matched: what was waited for came',
  negative: '❌ Negative: an event said no',
  timedOut: '⌛ Timed out: what was waited for did not come in time',
  connectionLost: '❌ Connection lost: whether the event came is not known',
  contractViolation: '❌ Contract violation: an event breaks its contract',
  denied: '⛔ Denied: the NATS server refused a permission',
  cancelled: '🚫 Cancelled: the run was cancelled while this step waited',
  error: '❌ Error: this step could not do its work',
};

/** The events that decided: those that matched, and the one that ended the wait otherwise. */
export function decidingEvents({ judge, deciding }: WaitOutcome): readonly JudgedEvent[] {
  return deciding === undefined || deciding.decision === 'matched' ? judge.matched : [...judge.matched, deciding];
}

/** How the wait ended, in Markdown for people who do not know this task: what happened and what to do first, evidence after. */
export function waitSummary(
  step: WaitStep,
  outcome: WaitOutcome,
  verdict: Verdict,
  error: TaskError | undefined,
  schemaDigest: string | undefined,
  clock: Clock,
): string {
  const { request } = step;
  const events = decidingEvents(outcome);
  const listed = events.slice(-MOST_LISTED);
  return [
    `## ${TITLES[verdict]}${verdict === 'error' && error !== undefined ? ` (${error.code})` : ''}`,
    `**What happened:** ${error === undefined ? describeMatch(step, outcome, clock) : markdownText(`${error.problem}.`)}`,
    `**What to do:** ${whatToDo(request, verdict, error)}`,
    describeMissing(request, outcome),
    error?.details.length ? markdownBlock(error.details.slice(0, MOST_DETAILS)) : '',
    ...(listed.length === 0 ? [] : [eventTable(request, listed, schemaDigest)]),
    events.length > listed.length
      ? `These are the last ${String(listed.length)} of ${String(events.length)} events; the receipt lists all.`
      : '',
    countTable(outcome),
    timeline(step, outcome, listed, verdict, clock),
    `**Waited for:** ${describeRequest(request, outcome, schemaDigest)}.`,
    'The evidence as JSON is in the file that the output `receiptFile` names.',
  ]
    .filter(Boolean)
    .join('\n\n')
    .concat('\n');
}

function describeMatch(step: WaitStep, { deciding }: WaitOutcome, clock: Clock): string {
  if (deciding === undefined) return '';
  const { count } = step.request;
  const { message, decoded } = deciding;
  const subject = markdownCode(message.subject);
  const event =
    count === 1 ? `The event on ${subject} came` : `All ${String(count)} events came, the last one on ${subject}`;
  const published = publishedAt(message, decoded);
  if (published === undefined) return `${event}.`;
  return published < beginOf(step.request, clock)
    ? `${event}. It had been published before this step began, and was found.`
    : `${event}, ${latencyText(deciding, published)} after it was published.`;
}

/** When the step began, in milliseconds since the epoch. */
function beginOf({ timeoutMs }: WaitRequest, { deadline }: Clock): number {
  return deadline - timeoutMs;
}

function whatToDo({ onTimeout }: WaitRequest, verdict: Verdict, error: TaskError | undefined): string {
  switch (verdict) {
    case 'matched':
      return 'Nothing. Later steps read what the event holds from the outputs of this one.';
    case 'cancelled':
      return 'Nothing, if that was meant. Run the job again to go on waiting.';
    case 'timedOut':
      return [
        markdownText(error?.remedy ?? ''),
        onTimeout === 'fail' ? '' : `The job goes on, as the input \`onTimeout: ${onTimeout}\` says.`,
      ].join(' ');
    default:
      return markdownText(error?.remedy || 'See the log of this step.');
  }
}

function describeMissing({ count }: WaitRequest, { judge: { missing } }: WaitOutcome): string {
  if (count === 1 || missing === 0) return '';
  if (typeof missing === 'number') return `**Missing:** ${String(missing)} of ${String(count)} events`;
  return missing.length === 0 ? '' : `**Missing:** ${listCodes(missing)}`;
}

/** One event from top to bottom, several from left to right. */
function eventTable(request: WaitRequest, events: readonly JudgedEvent[], digest: string | undefined): string {
  const signed = request.trustedKeys !== undefined;
  const labels = [
    ...['Event', 'Subject', 'Message id', 'Sequence', signed ? 'Owner (signed)' : 'Owner (claimed)'],
    ...['Published', 'Received', 'Latency', 'Schema', 'Signature'],
  ];
  const columns = events.map((event, index) => {
    const { message, decoded, decision } = event;
    const published = publishedAt(message, decoded);
    return [
      `${String(index + 1)}: ${DECISIONS[decision] ?? decision}`,
      markdownCode(message.subject),
      markdownCode(messageIdOf(event)),
      message.sequence === 0 ? '–' : `${markdownCode(message.stream)} ${String(message.sequence)}`,
      markdownCode(describeOwner(decoded.attributes) || decoded.attributes.source || ''),
      isoTime(published).replace('T', ' ') || '–',
      isoTime(message.receivedAt).replace('T', ' '),
      published === undefined ? '–' : latencyText(event, published),
      digest === undefined
        ? 'none'
        : `${decision === 'invalid' ? 'broken' : 'fits'} ${markdownCode(shortDigest(digest))}`,
      signatureState(event, signed),
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

const DECISIONS: Readonly<Partial<Record<JudgedEvent['decision'], string>>> = {
  matched: '✅ matched',
  negative: '❌ negative',
  invalid: '❌ invalid',
};

function signatureState({ message, signedBy }: JudgedEvent, checked: boolean): string {
  if (signedBy !== undefined) return `✅ by ${markdownCode(signedBy)}`;
  return !checked && message.headers.has('event-signature') ? 'present, not checked' : 'none';
}

function countTable({ judge: { counts }, linkBreaks }: WaitOutcome): string {
  const labels = {
    seen: 'Events seen',
    matched: 'Matched',
    notMatching: 'Not matching',
    repeated: 'Repeated',
    invalid: 'Invalid',
    negative: 'Negative',
    foreign: 'Foreign',
    untrusted: 'Untrusted',
    expired: 'Expired',
  };
  const kinds = (Object.keys(labels) as (keyof typeof labels)[]).filter((kind) => counts[kind] > 0);
  const table =
    kinds.length === 0
      ? '**Events seen:** none'
      : markdownTable(
          kinds.map((kind) => labels[kind]),
          [kinds.map((kind) => String(counts[kind]))],
        );
  const { count, totalMs } = linkBreaks;
  if (count === 0) return table;
  return `${table}\n\n**Link to the server:** broke ${count === 1 ? 'once' : `${String(count)} times`}, down for ${describeMs(roundedMs(totalMs))} in all.`;
}

function timeline(
  { request }: WaitStep,
  { linkBreaks }: WaitOutcome,
  listed: readonly JudgedEvent[],
  verdict: Verdict,
  clock: Clock,
): string {
  const first = Math.max(0, listed.length - MOST_TIMED);
  const events = listed.slice(first).flatMap((event, index) => {
    const name = `event ${String(first + index + 1)}`;
    const published = publishedAt(event.message, event.decoded);
    return [
      ...(published === undefined ? [] : [{ at: published, what: `${name} published` }]),
      { at: event.message.receivedAt, what: `${name} received: ${event.decision}` },
    ];
  });
  const { start } = request;
  return markdownTimeline(beginOf(request, clock), [
    ...(start.from === 'time' ? [{ at: start.at, what: 'start point: events from here on count' }] : []),
    ...events,
    { at: clock.now(), what: `verdict ${verdict}${linkBreaks.count > 0 ? ', after a broken link' : ''}` },
  ]);
}

function describeRequest(request: WaitRequest, { stream }: WaitOutcome, digest: string | undefined): string {
  const { subjects, match, failWhen, correlationId, count, distinctBy, expect, schemaFile, timeoutMs } = request;
  const where =
    request.delivery === 'core' ? ' in core NATS' : stream === '' ? '' : ` in stream ${markdownCode(stream)}`;
  return [
    `${count === 1 ? 'one event' : `${String(count)} events`} on ${listCodes(subjects)}${where}`,
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
  return values.length > MOST_LISTED ? `${listed} and ${String(values.length - MOST_LISTED)} more` : listed;
}

function latencyText({ message }: JudgedEvent, published: number): string {
  return `${String(message.receivedAt - published)} ms`;
}

function shortDigest(digest: string): string {
  return `${digest.slice(0, 'sha256:'.length + 12)}…`;
}
