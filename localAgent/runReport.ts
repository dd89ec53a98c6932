import { safeText } from '../shared/text/safeText.ts';
import type { StepRun } from './index.ts';

/** Aborted by Ctrl+C, which cancels a run; a second one ends this process. */
export function cancelOnInterrupt(): AbortSignal {
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  return interrupted.signal;
}

/** Prints the output variables of a step, secrets masked. */
export function printOutputs({ shownOutputs }: StepRun): void {
  const width = Math.max(15, ...[...shownOutputs.keys()].map((name) => name.length));
  for (const [name, value] of shownOutputs) console.log(`  ${name.padEnd(width)} ${safeText(value)}`.trimEnd());
}
