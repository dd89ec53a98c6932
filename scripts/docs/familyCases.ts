import { appendFileSync } from 'node:fs';

/** How many cases of a family a test has tried. */
export interface FamilyCases {
  /** What the cases have in common, as docs/reliability.md names it. */
  readonly family: string;
  readonly cases: number;
  readonly failures: number;
  /** What the cases follow from, to run them again. */
  readonly seed: number | string;
  readonly form: 'short' | 'long';
  /** How long the test file took. */
  readonly seconds?: number;
}

/** Adds a line to the file that `HOSTILE_TABLE` names, which scripts/test.ts and scripts/reliability.ts make tables of. */
export function noteCases(cases: FamilyCases): void {
  const file = process.env['HOSTILE_TABLE'];
  if (file) appendFileSync(file, `${JSON.stringify(cases)}\n`);
}
