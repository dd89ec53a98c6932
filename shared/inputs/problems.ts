import { TaskError, type ErrorCode, type Problem } from '../errors.ts';

/** Characters of problems in one message. */
const MOST_LISTED = 3_500;

/** What is wrong with something that was given: each problem is noted where it is found, and all are reported together. */
export class Problems {
  readonly #noted: Required<Problem>[] = [];

  /** @param given what they are about, as in "3 problems with the inputs of this step" */
  constructor(private readonly given: string) {}

  /**
   * Notes a problem, once: two readers of one thing find the same.
   *
   * @param problem begins with the name of the input; without the last full stop
   * @param remedy what to do about it, in sentences
   */
  note(problem: string, remedy = '', code: ErrorCode = 'InvalidInput'): void {
    if (!this.#noted.some((noted) => noted.problem === problem)) this.#noted.push({ code, problem, remedy });
  }

  /**
   * Returns when nothing was noted.
   *
   * @throws TaskError for all that was noted: with the code that all share, otherwise `InvalidInput`
   */
  done(): void {
    const [first, ...others] = this.#noted;
    if (first === undefined) return;
    const code = others.every((other) => other.code === first.code) ? first.code : 'InvalidInput';
    if (others.length === 0) throw new TaskError(code, first.problem, first.remedy);
    const listed = this.#noted.map(({ problem, remedy }, index) =>
      [`(${index + 1}) ${problem}.`, remedy].filter(Boolean).join(' '),
    );
    const heading = `${listed.length} problems with ${this.given}`;
    // The message is one line, which is cut where it's too long to be read: the log has a line for each of the others.
    let length = 0;
    const fitting = listed.filter((text) => (length += text.length + 1) <= MOST_LISTED);
    const details = listed.slice(fitting.length);
    const more = details.length === 0 ? [] : [`And ${details.length} more.`];
    throw new TaskError(code, heading, [...fitting, ...more].join(' '), { details });
  }
}
