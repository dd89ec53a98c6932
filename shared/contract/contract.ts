import { TaskError, type Problem } from '../errors.ts';
import { knownSecrets } from '../text/masker.ts';
import { shortened } from '../text/safeText.ts';

export interface SchemaProblem {
  /** JSON pointer into the value; empty for the value itself. */
  readonly pointer: string;
  readonly message: string;
}

export type CheckResult =
  | { readonly outcome: 'valid' }
  | {
      readonly outcome: 'violated';
      /** At least one, at most 100. */
      readonly problems: readonly SchemaProblem[];
    }
  | { readonly outcome: 'interrupted'; /** The limit that was reached, in milliseconds. */ readonly afterMs: number };

/** A JSON Schema with the files it refers to. */
export interface Contract {
  /** `sha256:` and the SHA-256 in hex of the RFC 8785 JSON of an object with every file referred to by its path relative to the root. */
  readonly digest: string;
  /** Absolute path of the root schema, as it was given. */
  readonly schemaFile: string;
  /** What its author should know: places where it means less than it seems to. */
  readonly warnings: readonly Required<Pick<Problem, 'problem' | 'remedy'>>[];
  /**
   * Checks a parsed JSON value. Never throws. With `exact`, its integers beyond 2^53 are compared and divided by their digits;
   * without, as the numbers they were rounded to.
   *
   * @param atMostMs interrupts the check sooner than the contract's own limit, in whole milliseconds
   * @param exact reads it with its integers beyond 2^53 as `bigint`s (`parseLargeIntegers`); undefined where it has none
   */
  check(value: unknown, atMostMs?: number, exact?: () => { readonly value: unknown } | undefined): CheckResult;
  /** As {@link check}, but nothing interrupts it: for a caller that limits its own time. */
  checkUnlimited(value: unknown, exact?: () => { readonly value: unknown } | undefined): CheckResult;
  /**
   * Whether all of these values are valid, at a much lower cost per value than {@link check}. Also false when
   * checking them all takes as long as one check may: then check each one. Never throws.
   */
  areAllValid(values: readonly unknown[], atMostMs?: number): boolean;
}

const MAX_DESCRIBED = 5;
const MAX_TEXT = 300;
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** Problems on one line: `/region: must be string; …`, at most five, then `and N more`. */
export function describeProblems(problems: readonly SchemaProblem[]): string {
  const described = problems
    .slice(0, MAX_DESCRIBED)
    .map(({ pointer, message }) => (pointer === '' ? message : `${shorten(pointer)}: ${message}`));
  const more = problems.length - described.length;
  return oneLine([...described, ...(more > 0 ? [`and ${more} more`] : [])].join('; '));
}

/** A contract's warnings as sentences; none where there's no contract. */
export function describeWarnings(contract: Contract | undefined): string[] {
  return (contract?.warnings ?? []).map(({ problem, remedy }) => `${problem}. ${remedy}`);
}

/** The error for a check that took longer than one may, where that is the fault of the schema's own side. */
export function interruptedCheck({ schemaFile }: Contract, afterMs: number): TaskError {
  return new TaskError(
    'InvalidSchema',
    `The check against ${schemaFile} was interrupted after ${afterMs} ms`,
    'Look for a regular expression with nested repetition in the schema.',
  );
}

/** At most 300 characters. */
export function shorten(text: string): string {
  return shortened(text, MAX_TEXT);
}

function oneLine(text: string): string {
  // A secret could not be recognised afterwards; nothing else is done here to most texts, which are masked when they are shown.
  if (!CONTROL.test(text)) return text;
  return knownSecrets
    .mask(text)
    .replace(new RegExp(CONTROL, 'g'), (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
