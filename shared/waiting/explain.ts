import type { LookBack, Place, StartPosition } from '../bus.ts';
import type { ReceivedEvent } from '../event/receivedEvent.ts';
import { describeMs, isoTime, roundedMs } from '../text/duration.ts';
import { logLine } from '../text/logLine.ts';
import { quoted } from '../text/safeText.ts';
import { describeAbsent, type FieldPath } from './absentFields.ts';
import type { WaitCriteria } from './criteria.ts';
import type { Counts, Decision, JudgedEvent } from './judge.ts';
import { describeStart } from './start.ts';

/** Label of each decision, and its mark if it can end the wait. In the order they are listed. */
export const DECISIONS: Readonly<Record<Decision, { readonly label: string; readonly mark?: '✅' | '❌' }>> = {
  matched: { label: 'matched', mark: '✅' },
  notMatching: { label: 'not matching' },
  repeated: { label: 'repeated' },
  invalid: { label: 'invalid', mark: '❌' },
  negative: { label: 'negative', mark: '❌' },
  foreign: { label: 'with another correlation id' },
  untrusted: { label: 'untrusted' },
  expired: { label: 'expired' },
};

/** What a wait has seen so far. */
export interface Seen {
  readonly counts: Counts;
  /** The values of `expect` that haven't come yet, otherwise how many events are missing. */
  readonly missing: readonly string[] | number;
  /** The values of `distinctBy` that have come; none without it. */
  readonly distinctValues: readonly string[];
  /** The last near miss. */
  readonly lastMiss: JudgedEvent | undefined;
  /** Fields below `data` that `match` or `distinctBy` reads and no event has had. */
  readonly absentFields: readonly FieldPath[];
  readonly linkBreaks: LinkBreaks;
  /** Absent for core NATS, and when the caller doesn't search. */
  readonly searched?: Searched | undefined;
}

/** Which part of a stream was read. */
export interface Searched {
  readonly stream: string;
  readonly start: StartPosition;
  /** When reading began, in milliseconds since the epoch. */
  readonly begunAt: number;
  /** What the stream holds on the subjects; undefined when it wasn't asked or didn't say. */
  readonly lookBack: LookBack | undefined;
}

/** Links to the server that broke while waiting. */
export interface LinkBreaks {
  readonly count: number;
  readonly totalMs: number;
}

/** Distinct values listed. */
const MOST_VALUES = 20;

/** `CI 42`: where a person finds the event again. */
export function describePlace({ stream, sequence }: Place): string {
  return `${stream} ${sequence}`;
}

/** How messages name an event. */
export function nameOf({ subject, place }: Pick<ReceivedEvent, 'subject' | 'place'>): string {
  return place === undefined ? `on "${subject}"` : `${describePlace(place)} on "${subject}"`;
}

/**
 * One structured line: what was decided on which event, with its latency from publication to receipt.
 *
 * @param question what its author may have meant: a clause, or empty
 */
export function eventLine({ event, decision, signedBy, reason }: JudgedEvent, question = ''): string {
  return logLine(decision, {
    subject: event.subject,
    messageId: event.messageId,
    stream: event.place?.stream,
    sequence: event.place?.sequence,
    latencyMs: event.latencyMs,
    correlationId: event.correlationId,
    source: event.attributes.source,
    signedBy,
    reason: [reason, question].filter(Boolean).join(': ') || undefined,
  });
}

/** What has been seen so far, in sentences without the last full stop. */
export function describeSeen({ count }: WaitCriteria, seen: Seen): string {
  const { counts, missing, distinctValues: values, lastMiss, linkBreaks } = seen;
  const parts = decisionsIn(counts).map((decision) => `${counts[decision]} ${DECISIONS[decision].label}`);
  const listed = values.slice(0, MOST_VALUES).join(', ');
  return [
    counts.seen === 0 ? 'No event came at all' : `Seen ${counts.seen}: ${parts.join(', ')}`,
    values.length === 0 ? '' : `Arrived: ${listed}${values.length > MOST_VALUES ? ', …' : ''}`,
    typeof missing === 'number' ? (count > 1 ? `Missing: ${missing}` : '') : `Missing: ${missing.join(', ')}`,
    lastMiss && `The last one that didn't count (${nameOf(lastMiss.event)}): ${lastMiss.reason}`,
    linkBreaks.count === 0 ? '' : `The link broke ${linkBreaks.count === 1 ? 'once' : `${linkBreaks.count} times`}`,
  ]
    .filter(Boolean)
    .join('. ');
}

/** A line for a wait that has seen nothing yet. @param near subjects on which the stream holds events */
export function describeEarly(near: readonly string[], stream: string): string {
  return `No event has come yet. ${askFor(near, stream)}.`;
}

/** Asks for the subject that was probably meant: sentences without the last full stop. */
function askFor(near: readonly string[], stream: string): string {
  const meant = new Intl.ListFormat('en', { type: 'disjunction' }).format(near.map(quoted));
  return `Did you mean ${meant}? The stream "${stream}" holds events there`;
}

/**
 * Which subject was probably meant by a wait that saw nothing, where it looked, and what that place holds; or which field of
 * its condition no event had: further sentences, each behind a full stop.
 */
export function describeSearch({ counts, searched, absentFields, lastMiss }: Seen): string {
  if (counts.seen > 0) {
    // The reason may ask for the field already.
    const isTold = lastMiss?.decision === 'notMatching' && !lastMiss.reason.includes('; did you mean data.');
    return isTold ? further(describeAbsent(absentFields, lastMiss.event)) : '';
  }
  if (searched === undefined) return '';
  const { stream, start, begunAt, lookBack } = searched;
  const near = lookBack?.near ?? [];
  const sentences = near.length === 0 ? [] : [askFor(near, stream)];
  sentences.push(`The stream "${stream}" was read ${describeStart(start, begunAt)}`);
  if (lookBack !== undefined) sentences.push(...describeHeld(lookBack, start));
  return further(sentences);
}

function further(sentences: readonly string[]): string {
  return sentences.map((sentence) => `. ${sentence}`).join('');
}

function describeHeld({ last, stored, removed, near, elsewhere }: LookBack, start: StartPosition): string[] {
  const sentences = elsewhere === undefined ? [] : [elsewhere];
  if (last === 'unknown') return sentences;
  if (last !== undefined) {
    const time = last.storedAt === undefined ? '' : ` of ${isoTime(last.storedAt)}`;
    const advice = start.from === 'now' ? "without startFrom, it reads from the run's start" : 'see startFrom';
    const why = last.isBeforeStart ? `before this wait's start: ${advice}` : 'which came too late to be judged';
    return [
      ...sentences,
      `The last event there is ${describePlace(last.place)}${time} on ${quoted(last.subject)}, ${why}`,
    ];
  }
  if (stored === 0) return [...sentences, 'Nothing has ever been stored in it'];
  // Which subjects it has others on has been said.
  if (near.length > 0 && removed === 0) return sentences;
  const gone = `: of the ${stored} events ever stored in it, ${removed} have expired or were removed`;
  return [...sentences, `It holds no event on these subjects${removed === 0 ? ', only on others' : gone}`];
}

/** The decisions that were made, in the order they are listed. */
export function decisionsIn(counts: Counts): Decision[] {
  return (Object.keys(DECISIONS) as Decision[]).filter((decision) => counts[decision] > 0);
}

/** One line while it goes on. @param leftMs until the deadline */
export function describeProgress(criteria: WaitCriteria, seen: Seen, leftMs: number): string {
  return `Still waiting, ${describeMs(roundedMs(Math.max(0, leftMs)))} left. ${describeSeen(criteria, seen)}.`;
}

/** What is missing, as the beginning of a sentence. */
export function describeAbsence({ expect, count, subjects }: WaitCriteria): string {
  const on = `on ${subjects.join(', ')}`;
  if (expect !== undefined) return `Not all of ${expect.join(', ')} came ${on}`;
  return `${count === 1 ? 'No matching event' : `Fewer than ${count} matching events`} came ${on}`;
}

/** What to look at first when the time is over. */
export function adviceFor({ delivery, correlationId }: WaitCriteria, { counts }: Seen): string {
  if (counts.seen === 0) {
    return delivery === 'core'
      ? 'Check that the sender ran and published to this subject while this step waited: core NATS keeps no events.'
      : 'Check that the sender ran and published to this subject.';
  }
  if (counts.matched === counts.seen) return 'Everything that arrived counted: check that every sender ran.';
  return correlationId !== undefined && counts.foreign === counts.seen
    ? `This wait is for the correlation id ${quoted(correlationId)}: compare it with the one in the sender's events. ` +
        'Set the same correlationId in the publishing step, or leave it out here.'
    : 'Compare what the sender published with the conditions of this step.';
}
