import path from 'node:path';
import { safeText, shortened } from '../shared/text/safeText.ts';
import type { StepRun } from './index.ts';

/** Aborted by Ctrl+C, which cancels a run; a second one ends this process. */
export function cancelOnInterrupt(): AbortSignal {
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  return interrupted.signal;
}

/** The most different warnings that are repeated at the end, and the most characters of each. */
const MOST_WARNINGS = 10;
const LONGEST_WARNING = 500;
const MARKER = '##[warning]';

/** A line of the log, with an error's or warning's paths into the copy of the sources as the author knows them: relative. */
export function withRelativePaths(text: string, sources: string): string {
  return /^##\[(error|warning)\]/.test(text) ? text.replaceAll(`${sources}${path.sep}`, '') : text;
}

/** The warnings of a run, which are far up in the log when it ends. */
export class RunWarnings {
  #count = 0;
  #isComplete = true;
  readonly #kept = new Set<string>();

  /** Takes a line of the log; counts it if it's a warning. */
  note(text: string, job = ''): void {
    if (!text.startsWith(MARKER)) return;
    this.#count++;
    const warning = shortened(text.slice(MARKER.length), LONGEST_WARNING);
    const shown = job === '' ? warning : `${job}: ${warning}`;
    if (this.#kept.size < MOST_WARNINGS) this.#kept.add(shown);
    else if (!this.#kept.has(shown)) this.#isComplete = false;
  }

  /** Prints how many there were, and each once. */
  print(): void {
    if (this.#count === 0) return;
    console.log(`\n${this.#count === 1 ? '1 warning' : `${this.#count} warnings`}:`);
    for (const warning of this.#kept) console.log(`  ${warning}`);
    if (!this.#isComplete) console.log('  … The others are in the log above.');
  }
}

/** Prints the output variables of a step, secrets masked. */
export function printOutputs({ shownOutputs }: StepRun): void {
  const width = Math.max(15, ...[...shownOutputs.keys()].map((name) => name.length));
  for (const [name, value] of shownOutputs) console.log(`  ${name.padEnd(width)} ${safeText(value)}`.trimEnd());
}
