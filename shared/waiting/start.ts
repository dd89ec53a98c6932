import type { StartPosition } from '../bus.ts';
import { parseTime } from '../event/cloudEvent.ts';
import type { Fields } from '../inputs/fields.ts';
import { quoted, shortened } from '../text/safeText.ts';

/** Reads `startFrom`, one of these positions. An input that belongs to another position is a problem. */
export function readStartFrom<From extends string>(fields: Fields, positions: readonly [From, ...From[]]): From {
  const from = fields.oneOf('startFrom', positions, (text) => positionHint(text, positions));
  for (const [name, value] of [
    ['startSequence', 'sequence'],
    ['startTime', 'time'],
  ] as const) {
    if (from !== value && fields.text(name) !== undefined)
      fields.problem(`${name}: goes with startFrom: ${value} only, and startFrom is ${from}`);
  }
  return from;
}

/** What others call these positions, in lower case and without separators. */
const SYNONYMS: Readonly<Record<string, string>> = {
  ...{ beginning: 'all', earliest: 'all', first: 'all', start: 'all', oldest: 'all' },
  ...{ latest: 'now', new: 'now', newest: 'now', end: 'now' },
  ...{ last: 'lastPerSubject', run: 'runStart', pipelinestart: 'runStart', buildstart: 'runStart' },
};

function positionHint(text: string, positions: readonly string[]): string | undefined {
  if (/^\d+$/.test(text)) return `Write startFrom: sequence and startSequence: ${shortened(text, 80)}.`;
  if (parseStartTime(text) !== undefined) return `Write startFrom: time and startTime: ${shortened(text, 80)}.`;
  const word = text.replace(/[\s_-]/g, '').toLowerCase();
  const meant = Object.hasOwn(SYNONYMS, word) ? SYNONYMS[word] : undefined;
  return meant !== undefined && positions.includes(meant) ? `Write ${meant}.` : undefined;
}

/** The sequence after which a wait begins, of `startFrom: sequence`. */
export function readStartSequence(fields: Fields): number {
  if (fields.text('startSequence') === undefined) fields.problem('startSequence: is required with startFrom: sequence');
  return fields.integer('startSequence', 0, 0, Number.MAX_SAFE_INTEGER);
}

/** When a wait begins, in milliseconds since the epoch, of `startFrom: time`. */
export function readStartTime(fields: Fields): number {
  if (fields.text('startTime') === undefined) fields.problem('startTime: is required with startFrom: time');
  const text = fields.expanded('startTime');
  const time = text === undefined ? undefined : parseStartTime(text);
  if (text !== undefined && time === undefined)
    fields.problem(
      `startTime: ${quoted(text)} is not a time in ISO 8601 with its offset from UTC, such as 2026-05-31T08:00:00Z`,
      timeHint(text),
    );
  return time ?? 0;
}

/** For a time without its offset, a day, and seconds or milliseconds since 1970. */
function timeHint(text: string): string | undefined {
  const [utc] = [`${text}Z`, `${text}T00:00:00Z`].filter((it) => parseStartTime(it) !== undefined);
  if (utc !== undefined) return `Write ${utc} if it's in UTC.`;
  if (!/^(?:\d{10}|\d{13})$/.test(text)) return undefined;
  return `Write ${new Date(Number(text) * (text.length === 10 ? 1_000 : 1)).toISOString()}.`;
}

/**
 * Milliseconds since the epoch of a time in ISO 8601; undefined when it is none. RFC 3339 demands what ISO 8601 leaves out
 * or shortens: seconds, and minutes or the colon of the offset. Azure Pipelines has a space in the place of the T
 * (`System.PipelineStartTime`).
 */
export function parseStartTime(text: string): number | undefined {
  return parseTime(
    text
      .replace(/^([\d-]+) (?=\d)/, '$1T')
      .replace(/(T\d\d:\d\d)(?=Z|[+-])/i, '$1:00')
      .replace(/^([\d-]+T.*[+-]\d\d)(\d\d)?$/i, (_, before: string, minutes = '00') => `${before}:${String(minutes)}`),
  );
}

/** Where a wait begins, in a few words for the log. */
export function startText(start: StartPosition): string {
  if (start.from === 'sequence') return `after sequence ${start.after}`;
  return start.from === 'time' ? new Date(start.at).toISOString() : start.from;
}

/**
 * Where a wait has begun, as the end of a sentence.
 *
 * @param begunAt when it had, in milliseconds since the epoch
 */
export function describeStart(start: StartPosition, begunAt: number): string {
  switch (start.from) {
    case 'now':
      return `since ${new Date(begunAt).toISOString()} (startFrom: now)`;
    case 'time':
      return `since ${new Date(start.at).toISOString()} (startFrom)`;
    case 'sequence':
      return `after sequence ${start.after} (startFrom: sequence)`;
    case 'all':
      return 'from its first event on (startFrom: all)';
    case 'lastPerSubject':
      return 'from the last event of each subject on (startFrom: lastPerSubject)';
  }
}
