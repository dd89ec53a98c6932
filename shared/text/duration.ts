const DURATION = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const DAY_MS = 24 * 3_600_000;
const UNIT_MS = [DAY_MS, 3_600_000, 60_000, 1_000, 1];
/** Longest duration accepted: Node's timers hold at most 2^31 ms (24.8 days) and fire at once beyond that. */
const MAX_DURATION_MS = 20 * DAY_MS;

/**
 * Milliseconds of a duration such as `500ms`, `90s`, `30m`, `2h`, `1h30m` or `1d`; undefined when it is not one, not above
 * zero, or longer than allowed.
 *
 * @param mostMs the longest one allowed; 20 days for one that a timer will hold
 */
export function parseDuration(text: string, mostMs = MAX_DURATION_MS): number | undefined {
  const parts = DURATION.exec(text)?.slice(1);
  if (parts === undefined) return undefined;
  const ms = parts.reduce((sum, part, index) => sum + Number(part) * (UNIT_MS[index] ?? 0) || sum, 0);
  return ms > 0 && ms <= mostMs ? ms : undefined;
}

const WORDS = [/^d(ays?)?$/i, /^h((ou)?rs?)?$/i, /^m(in(ute)?s?)?$/i, /^s(ec(ond)?s?)?$/i, /^m(illi)?s(ec(ond)?s?)?$/i];
const UNITS = ['d', 'h', 'm', 's', 'ms'];
/** Longest text that a hint is given for. */
const LONGEST_HINTED = 50;

/** How to write what a text that isn't a duration most likely means, as a sentence; undefined when that's unclear. */
export function durationHint(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed.length > LONGEST_HINTED) return undefined;
  if (/^\d{1,9}$/.test(trimmed) && Number(trimmed) > 0)
    return `A unit is missing: write ${trimmed}s for seconds, or ${trimmed}m for minutes.`;
  const [, first = '', second = ''] = /^(\d{1,3}):([0-5]\d)$/.exec(trimmed) ?? [];
  if (Number(first) > 0) {
    const [short, long] = [clockMs('0', first, second), clockMs(first, second, '0')].map(describeMs);
    if (parseDuration(long ?? '') === undefined) return undefined;
    return `Write ${short} for minutes and seconds, or ${long} for hours and minutes.`;
  }
  const meant = clockMeant(trimmed) ?? isoMeant(trimmed) ?? wordsMeant(trimmed);
  return meant === undefined || parseDuration(meant) === undefined ? undefined : `Write ${meant}.`;
}

function clockMs(...parts: string[]): number {
  return parts.reduce((sum, part, index) => sum + Number(part) * (UNIT_MS[index + 1] ?? 0), 0);
}

/** Of a time span such as `00:05:00`. */
function clockMeant(text: string): string | undefined {
  const parts = /^(\d{1,3}):([0-5]\d):([0-5]\d)$/.exec(text)?.slice(1);
  return parts && describeMs(clockMs(...parts));
}

/** Of one in ISO 8601, such as `PT5M`. */
function isoMeant(text: string): string | undefined {
  const [, date = '', time = ''] = /^P((?:\d+D)?)(?:T([\dHMS]+))?$/i.exec(text) ?? [];
  const meant = `${date}${time}`.toLowerCase();
  return meant === '' ? undefined : meant;
}

/** Of numbers with words, such as `1 hour 30 minutes` or `1.5h`. */
function wordsMeant(text: string): string | undefined {
  const parts = text.match(/\d+(?:\.\d{1,3})?\s*[a-z]+/gi) ?? [];
  // Nothing else may stand between them.
  if (/[^\s,]/.test(parts.reduce((rest, part) => rest.replace(part, ''), text).replace(/\band\b/gi, '')))
    return undefined;
  return parts
    .map((part) => {
      const [, number = '', word = ''] = /^([\d.]+)\s*(\w+)$/.exec(part) ?? [];
      const index = WORDS.findIndex((pattern) => pattern.test(word));
      return number.includes('.') ? describeMs(Number(number) * (UNIT_MS[index] ?? NaN)) : `${number}${UNITS[index]}`;
    })
    .join('');
}

/** Milliseconds as inputs write durations: `1h30m`, `1s500ms`. */
export function describeMs(ms: number): string {
  const parts = [
    [Math.floor(ms / 3_600_000), 'h'],
    [Math.floor(ms / 60_000) % 60, 'm'],
    [Math.floor(ms / 1_000) % 60, 's'],
    [ms % 1_000, 'ms'],
  ] as const;
  const described = parts.filter(([number]) => number > 0).map(([number, unit]) => `${number}${unit}`);
  return described.join('') || '0ms';
}

/** Rounded to seconds, where there is at least one. */
export function roundedMs(ms: number): number {
  return ms < 1_000 ? Math.round(ms) : Math.round(ms / 1_000) * 1_000;
}

/** UTC, ISO 8601 with milliseconds; empty for an unknown time. */
export function isoTime(ms: number | undefined): string {
  return ms === undefined ? '' : new Date(ms).toISOString();
}
