/** Takes twice as long for each additional `a` before the `c`, and then matches. */
export const SLOW_PATTERN = '^(?:(a+)+b|a*c)$';

const LEAST_MS = 60;

let slow: string | undefined;

/** A text that takes {@link SLOW_PATTERN} about 60 to 150 ms: far below the limit of one check, even on a busy machine. */
export function slowText(): string {
  if (slow !== undefined) return slow;
  const pattern = new RegExp(SLOW_PATTERN, 'u');
  for (let length = 15; length < 60; length++) {
    const text = `${'a'.repeat(length)}c`;
    // CPU time, since elapsed time depends on what else the machine does.
    const before = process.cpuUsage();
    pattern.test(text);
    const { user } = process.cpuUsage(before);
    if (user >= 1_000 * LEAST_MS) return (slow = text);
  }
  throw new Error('No text is slow.');
}
