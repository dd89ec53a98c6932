import { appendFileSync } from 'node:fs';

/** How many cases of a family a test has tried. */
export interface FamilyCases {
  /** The name of the family in docs/reliability.md. */
  readonly family: string;
  readonly cases: number;
  readonly failures: number;
  /** The seed, to run the cases again. */
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
