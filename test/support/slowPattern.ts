/** Takes twice as long for each `a` more before the `c`, and then matches. */
export const SLOW_PATTERN = '^(?:(a+)+b|a*c)$';

const LEAST_MS = 100;

let slow: string | undefined;

/** A text that {@link SLOW_PATTERN} takes about 100 to 250 ms for on this machine: well below the limit of one check. */
export function slowText(): string {
  if (slow !== undefined) return slow;
  const pattern = new RegExp(SLOW_PATTERN, 'u');
  for (let length = 15; length < 60; length++) {
    const text = `${'a'.repeat(length)}c`;
    // The fastest of three: other processes can make any of them slow.
    const times = [1, 2, 3].map(() => {
      const began = performance.now();
      pattern.test(text);
      return performance.now() - began;
    });
    if (Math.min(...times) >= LEAST_MS) return (slow = text);
  }
  throw new Error('No text is slow.');
}
