/** A moment, in milliseconds since 1970, as .NET writes it: with seven decimals. */
export function isoTime(at: number): string {
  return new Date(at).toISOString().replace('Z', '4567Z');
}
