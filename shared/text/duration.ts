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
