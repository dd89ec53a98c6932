import { statSync } from 'node:fs';
import path from 'node:path';
import type { Agent } from '../../tasks/agent/agent.ts';
import { reasonOf, TaskError, type ErrorCode } from '../errors.ts';
import { knownSecrets } from '../text/masker.ts';
import { irregularity } from '../regularFile.ts';
import { quoted } from '../text/safeText.ts';
import { subjectProblem } from '../subject.ts';

const DURATION = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const UNIT_MS = [3_600_000, 60_000, 1_000, 1];
/** Longest duration accepted: Node's timers hold at most 2^31 ms (24.8 days) and fire at once beyond that. */
const MAX_DURATION_MS = 20 * 24 * 3_600_000;

const VARIABLE_NAME = /^[A-Za-z_][\w.-]*$/;
/** An NKey seed and a JWT would pass for a name. */
const SECRET_LIKE_A_NAME = /^(?:S[A-Z][A-Z2-7]{40,}|eyJ[\w-]+\.[\w-]+\.[\w-]*)$/;

/**
 * Milliseconds of a duration such as `500ms`, `90s`, `30m`, `2h` or `1h30m`; undefined when it is not one, not above
 * zero, or above 20 days.
 */
export function parseDuration(text: string): number | undefined {
  const parts = DURATION.exec(text)?.slice(1);
  if (parts === undefined) return undefined;
  const ms = parts.reduce((sum, part, index) => sum + Number(part) * (UNIT_MS[index] ?? 0) || sum, 0);
  return ms > 0 && ms <= MAX_DURATION_MS ? ms : undefined;
}

/** The lines of a multi-line text, trimmed, without empty ones. */
export function linesOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(/\r\n|\n|\r/)
    .map((line) => line.trim())
    .filter(Boolean);
}

/**
 * Reads a step's inputs into typed values. A bad one is noted, not thrown, so that {@link done} can report all of a
 * step's problems together; what a reader returns for a bad input is only there to go on reading.
 */
export class Fields {
  readonly #agent: Agent;
  readonly #problems: Pick<TaskError, 'code' | 'problem' | 'remedy'>[] = [];

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  /**
   * Notes a problem.
   *
   * @param problem begins with the name of the input; without the last full stop
   * @param remedy what to do about it, in sentences
   */
  problem(problem: string, remedy = '', code: ErrorCode = 'InvalidInput'): void {
    this.#problems.push({ code, problem, remedy });
  }

  text(name: string): string | undefined {
    return this.#agent.input(name);
  }

  /** Text in which the agent has left no `$(name)`; one that it has left is a problem. */
  expanded(name: string): string | undefined {
    const text = this.text(name);
    if (text?.includes('$(') !== true) return text;
    this.problem(`${name}: ${quoted(text)} contains "$(", most likely a pipeline variable that is not set`);
    return undefined;
  }

  /** Warns of a `$(name)` that the agent has left in a text in which it may be meant. */
  warnOfUnset(what: string, text: string): void {
    const macro = /\$\([^()\s]+\)/.exec(text)?.[0];
    if (macro !== undefined)
      this.#agent.warning(`${what} holds ${macro}, most likely a pipeline variable that is not set.`);
  }

  required(name: string): string {
    const text = this.text(name);
    if (text === undefined) this.problem(`${name}: is required`);
    return text ?? '';
  }

  oneOf<Option extends string>(name: string, options: readonly [Option, ...Option[]]): Option {
    const text = this.text(name) ?? options[0];
    const option = options.find((candidate) => candidate === text);
    if (option === undefined) this.problem(`${name}: ${quoted(text)} is not one of ${options.join(', ')}`);
    return option ?? options[0];
  }

  /** A duration in milliseconds. */
  duration(name: string, otherwise: string): number;
  duration(name: string): number | undefined;
  duration(name: string, otherwise?: string): number | undefined {
    const text = this.expanded(name) ?? otherwise;
    if (text === undefined) return undefined;
    const ms = parseDuration(text);
    if (ms === undefined) {
      this.problem(
        `${name}: ${quoted(text)} is not a duration above 0 and up to 20 days, such as 500ms, 90s, 30m or 1h30m`,
      );
    }
    return ms ?? 1;
  }

  integer(name: string, otherwise: number, least: number, most: number): number;
  integer(name: string, otherwise: undefined, least: number, most: number): number | undefined;
  integer(name: string, otherwise: number | undefined, least: number, most: number): number | undefined {
    const text = this.expanded(name);
    if (text === undefined) return otherwise;
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      this.problem(`${name}: ${quoted(text)} is not a whole number from ${String(least)} to ${String(most)}`);
    }
    return value;
  }

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

  /** Subjects, one a line, wildcards allowed. */
  subjectPatterns(name: string): string[] {
    const patterns = linesOf(this.required(name));
    for (const pattern of patterns) this.#checkSubject(name, pattern, 'pattern');
    return patterns;
  }

  #checkSubject(name: string, subject: string, kind: 'subject' | 'pattern'): void {
    const problem = subjectProblem(subject, kind);
    if (problem !== undefined) this.problem(`${name}: ${quoted(subject)} ${problem}`);
  }

  /**
   * The absolute path of a file. Relative paths start at `System.DefaultWorkingDirectory`. The sources folder means "not
   * given", since the classic editors send it for an empty path; any other folder is a problem.
   */
  file(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const file = this.#absolute(text);
    if (this.#isSourcesFolder(file)) return undefined;
    try {
      const stats = statSync(file, { throwIfNoEntry: false });
      if (stats === undefined && this.expanded(name) !== undefined)
        this.problem(`${name}: there is no file ${quoted(file)}`);
      const irregular = stats && irregularity(stats);
      if (stats?.isDirectory() === true)
        this.problem(`${name}: ${quoted(file)} is a folder. Give the path of a file, or leave the input empty`);
      else if (irregular !== undefined) this.problem(`${name}: ${quoted(file)} can't be read: ${irregular}`);
    } catch (error) {
      // A name that is too long, a circle of links, a folder that may not be entered.
      const { code = reasonOf(error) } = error as NodeJS.ErrnoException;
      this.problem(`${name}: ${quoted(file)} is no path to a file that can be read (${code})`);
    }
    return file;
  }

  #absolute(file: string): string {
    return path.resolve(this.#agent.variable('System.DefaultWorkingDirectory') ?? '.', file);
  }

  /** A release has its artifacts where a build has its sources. */
  #isSourcesFolder(file: string): boolean {
    const folders = ['System.DefaultWorkingDirectory', 'Build.SourcesDirectory', 'Build.Repository.LocalPath'];
    return folders.some((name) => {
      const folder = this.#agent.variable(name);
      return folder !== undefined && comparable(folder) === comparable(file);
    });
  }

  /**
   * The name of a secret variable. A value that does not look like a name may be the secret itself, so it is masked
   * and never shown.
   */
  secretVariableName(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined || (VARIABLE_NAME.test(text) && !SECRET_LIKE_A_NAME.test(text))) return text;
    knownSecrets.add(text, `what ${name} holds`);
    for (const line of linesOf(text)) this.#agent.maskSecret(line);
    this.problem(
      `${name}: holds ${String(text.length)} characters that are not the name of a variable. Give the name of a secret variable, never the secret itself`,
    );
    return undefined;
  }

  /**
   * Warns about an input that does not apply to the chosen mode. It is no error: the classic editor sends hidden
   * inputs with their last values, and all inputs with their defaults.
   */
  unused(name: string, because: string, defaultValue?: string): void {
    const text = this.text(name);
    if (text !== undefined && text !== defaultValue) this.#agent.warning(`${name} is ignored: ${because}.`);
  }

  /** As {@link unused}, for a file: whether it is still there does not matter, and the sources folder means "not given". */
  unusedFile(name: string, because: string): void {
    const text = this.text(name);
    if (text !== undefined && !this.#isSourcesFolder(this.#absolute(text))) this.unused(name, because);
  }

  /** Throws one error for all problems noted; returns when there are none. */
  done(): void {
    const [first, ...others] = this.#problems;
    if (first === undefined) return;
    const code = others.every((other) => other.code === first.code) ? first.code : 'InvalidInput';
    if (others.length === 0) throw new TaskError(code, first.problem, first.remedy);
    const texts = this.#problems.map(({ problem, remedy }) => [`${problem}.`, remedy].filter(Boolean).join(' '));
    const listed = texts.map((text, index) => `(${String(index + 1)}) ${text}`);
    // The message is one line, which is cut where it is too long to be read; the log has a line for each.
    throw new TaskError(code, `${String(texts.length)} problems with the inputs of this step`, listed.join(' '), {
      details: texts,
    });
  }
}

/** A path without `..` and trailing separators; Windows ignores case. */
function comparable(file: string): string {
  const resolved = path.resolve(file);
  return path.sep === '\\' ? resolved.toLowerCase() : resolved;
}
