import type { ErrorCode } from '../errors.ts';
import { subjectProblem } from '../subject.ts';
import { durationHint, parseDuration } from '../text/duration.ts';
import { probablyMeant } from '../text/nearest.ts';
import { quoted } from '../text/safeText.ts';
import type { Problems } from './problems.ts';

/** Where inputs come from: a step of a pipeline, or the body of a request. */
export interface InputSource {
  /** An input's text; undefined when absent or empty. */
  text(name: string): string | undefined;
  /** Warns whoever gave the inputs of something that isn't a problem. */
  warning(text: string): void;
}

/** The lines of a multi-line text, trimmed, without empty ones. */
export function linesOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(/\r\n|\n|\r/)
    .map((line) => line.trim())
    .filter(Boolean);
}

/** What stands between commas, semicolons or white space, as text for a sentence. */
function shownLines(text: string): string {
  return text
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map(quoted)
    .join(' and ');
}

/**
 * Reads inputs into typed values. A bad one is noted among the problems, not thrown, so that all of them can be reported
 * together; the value returned for a bad input only lets reading go on.
 */
export class Fields {
  constructor(
    private readonly source: InputSource,
    readonly problems: Problems,
  ) {}

  /** See {@link Problems.note}. */
  problem(problem: string, remedy?: string, code?: ErrorCode): void {
    this.problems.note(problem, remedy, code);
  }

  /** See {@link InputSource.warning}. */
  warning(text: string): void {
    this.source.warning(text);
  }

  /** Text as it was given; undefined when absent or empty. */
  text(name: string): string | undefined {
    return this.source.text(name);
  }

  /** Text in which the agent left no `$(name)` unexpanded; any left over is a problem. */
  expanded(name: string): string | undefined {
    const text = this.text(name);
    if (text?.includes('$(') !== true) return text;
    this.problem(`${name}: ${quoted(text)} contains "$(", most likely a pipeline variable that is not set`);
    return undefined;
  }

  /**
   * Notes each `$(name)` that the agent left unexpanded in a text that may hold other `$(`, such as a shell's.
   *
   * @param literally what to do if the text itself is meant: a sentence
   * @returns whether there is none
   */
  isExpanded(name: string, text: string, literally = ''): boolean {
    const macros = new Set(text.match(/\$\([\w.]+\)/g));
    if (macros.size === 0) return true;
    this.problem(
      `${name}: contains ${quoted([...macros].join(', '))}, most likely a pipeline variable that is not set`,
      literally,
    );
    return false;
  }

  /** Required text; empty when missing. */
  required(name: string): string {
    const text = this.text(name);
    if (text === undefined) this.problem(`${name}: is required`);
    return text ?? '';
  }

  /**
   * One of these words; the first if none is given.
   *
   * @param hintFor what to do about another word, in sentences; undefined when that's unclear
   */
  oneOf<Option extends string>(
    name: string,
    options: readonly [Option, ...Option[]],
    hintFor: (text: string) => string | undefined = () => undefined,
  ): Option {
    const text = this.text(name) ?? options[0];
    const option = options.find((candidate) => candidate === text);
    if (option === undefined) {
      const meant = probablyMeant(text.replace(/[\s_-]/g, ''), options);
      const hint = meant === undefined ? hintFor(text) : `Write ${meant}.`;
      this.problem(`${name}: ${quoted(text)} is not one of ${options.join(', ')}`, hint);
    }
    return option ?? options[0];
  }

  /**
   * A duration in milliseconds.
   *
   * @param upTo the longest one, where the caller refuses what a timer could hold
   */
  duration(name: string, otherwise: string): number;
  duration(name: string, otherwise?: undefined, upTo?: string): number | undefined;
  duration(name: string, otherwise?: string, upTo = '20 days'): number | undefined {
    const text = this.expanded(name) ?? otherwise;
    if (text === undefined) return undefined;
    const ms = parseDuration(text);
    if (ms === undefined) {
      this.problem(
        `${name}: ${quoted(text)} is not a duration above 0 and up to ${upTo}, such as 500ms, 90s, 30m, 1h30m or 1d`,
        durationHint(text),
      );
    }
    return ms ?? 1;
  }

  /** A whole number of digits only, from `least` to `most`. */
  integer<Otherwise extends number | undefined>(name: string, otherwise: Otherwise, least: number, most: number) {
    const text = this.expanded(name);
    if (text === undefined) return otherwise;
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      this.problem(`${name}: ${quoted(text)} is not a whole number from ${least} to ${most}`);
    }
    return value;
  }

  /** Lines, trimmed, without empty ones. */
  lines(name: string): string[] {
    return linesOf(this.text(name));
  }

  /** The name of a stream. */
  streamName(name: string): string | undefined {
    const stream = this.expanded(name);
    if (stream !== undefined && !/^[^\s.*>/\\\p{C}]+$/u.test(stream)) {
      this.problem(`${name}: ${quoted(stream)} is not a name of a stream`);
    }
    return stream;
  }

  /** One subject to publish to. */
  subject(name: string): string {
    const subject = this.required(name);
    if (subject !== '') this.#checkSubject(name, subject, 'subject');
    return subject;
  }

  /** Subjects, one per line, wildcards allowed. */
  subjectPatterns(name: string): string[] {
    const patterns = linesOf(this.required(name));
    for (const pattern of patterns) {
      this.#checkSubject(name, pattern, 'pattern');
      // One with white space is a problem already.
      if (!/\s/.test(pattern)) this.warnOfCommas(name, pattern, 'subject');
    }
    return patterns;
  }

  /** Warns of a line that is used as one thing but reads like several separated by commas. */
  warnOfCommas(name: string, line: string, thing: string): void {
    if (/^[^\s,]+(, *[^\s,]+)+$/.test(line))
      this.warning(
        `${name}: ${quoted(line)} is one ${thing} with commas in it. Several go on lines of their own: ${shownLines(line)}.`,
      );
  }

  #checkSubject(name: string, subject: string, kind: 'subject' | 'pattern'): void {
    const problem = subjectProblem(subject, kind);
    if (problem === undefined) return;
    const parts = subject.split(/[\s,;]+/).filter(Boolean);
    const isList =
      /[,;]/.test(subject) && parts.length > 1 && parts.every((part) => subjectProblem(part, kind) === undefined);
    if (!isList) this.problem(`${name}: ${quoted(subject)} ${problem}`);
    else if (kind === 'subject')
      this.problem(`${name}: ${quoted(subject)} holds several subjects`, 'Use a step for each.');
    else
      this.problem(
        `${name}: ${quoted(subject)} holds several subjects in one line`,
        `Write each on a line of its own: ${shownLines(subject)}.`,
      );
  }

  /**
   * Warns about an input that does not apply to the chosen mode. It is no error: the classic editor sends hidden
   * inputs with their last values, and all inputs with their defaults.
   */
  unused(name: string, because: string, defaultValue?: string): void {
    const text = this.text(name);
    if (text !== undefined && text !== defaultValue) this.warning(`${name} is ignored: ${because}.`);
  }
}
