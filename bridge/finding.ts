/** As many names as one finding lists. */
const MOST_NAMED = 30;

/** What a check finds. */
export interface Finding {
  readonly level: 'error' | 'warning';
  /** What it is about: a key of the configuration, a stream, a permission. */
  readonly about: string;
  /** A clause without the last full stop. */
  readonly problem: string;
  /** What to do about it, in sentences. */
  readonly remedy: string;
}

export function error(about: string, problem: string, remedy = ''): Finding {
  return { level: 'error', about, problem, remedy };
}

export function warning(about: string, problem: string, remedy = ''): Finding {
  return { level: 'warning', about, problem, remedy };
}

/** A finding as a line: `stream AZDO: it doesn't exist. Create it: …`. */
export function describeFinding({ about, problem, remedy }: Finding): string {
  return [`${about}: ${problem}.`, remedy].filter(Boolean).join(' ');
}

/** Names in a row, and how many more there are. */
export function listed(names: readonly string[], most = MOST_NAMED): string {
  const more = names.length - most;
  return `${names.slice(0, most).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
