import { quoted } from '../shared/text/safeText.ts';
import type { Job, Stage } from './pipelineSyntax.ts';
import { isPatient, maySend, runsAfter, type Use, wholeTimeout } from './pipelineUses.ts';
import type { PipelineStep } from './pipelineSteps.ts';
import { placeOf, problemAt } from './pipelineYaml.ts';

/** How a step ended. */
export type End = 'done' | 'failed' | 'skipped';

/**
 * Follows the steps of a run, and warns as soon as no step of the file can publish any more what a wait under way is for: such a
 * wait takes its whole timeout, unless the event comes from elsewhere.
 */
export class LostSenders {
  readonly #ends = new Map<Use, End>();
  readonly #waiting = new Set<Use>();

  /** @param warn takes the name of the job that waits */
  constructor(
    private readonly stages: readonly Stage[],
    private readonly uses: readonly Use[],
    private readonly warn: (job: string, text: string) => void,
  ) {}

  /** A step has begun. */
  begin(job: Job, step: PipelineStep): void {
    this.uses
      .filter((use) => use.job === job && use.step === step && isPatient(use))
      .forEach((use) => this.#waiting.add(use));
    this.#look();
  }

  end(job: Job, step: PipelineStep, end: End): void {
    for (const use of this.uses.filter((one) => one.job === job && one.step === step)) {
      this.#ends.set(use, end);
      this.#waiting.delete(use);
    }
    this.#look();
  }

  /** A job doesn't run at all. */
  skip(job: Job): void {
    for (const step of job.steps) this.end(job, step, 'skipped');
  }

  #look(): void {
    for (const wait of this.#waiting) {
      const lost = this.uses.filter(
        (use) => this.#isLost(use) && use.subjects.some((one) => wait.subjects.includes(one)),
      );
      if (lost.length === 0 || this.uses.some((use) => this.#mayServe(use, wait))) continue;
      this.#waiting.delete(wait);
      this.warn(wait.job.name, this.#warningOf(wait, lost));
    }
  }

  #isLost(use: Use): boolean {
    return use.kind === 'publish' && ['failed', 'skipped'].includes(this.#ends.get(use) ?? 'done');
  }

  /** Whether a step may have sent what the wait is for, or may still do so. What a script that is yet to end does isn't known. */
  #mayServe(use: Use, wait: Use): boolean {
    const end = this.#ends.get(use);
    if (end === 'skipped' || use === wait || runsAfter(use, wait, this.stages)) return false;
    if (use.kind === 'script') return end === undefined || maySend(use, wait.subjects);
    return end !== 'failed' && maySend(use, wait.subjects);
  }

  #warningOf(wait: Use, lost: readonly Use[]): string {
    const subject = wait.subjects.find((one) => lost[0]?.subjects.includes(one)) ?? '';
    const steps = lost.map((use) => {
      const { displayName } = use.step;
      const name = displayName === undefined ? 'the step' : `the step ${quoted(displayName)}`;
      const end = this.#ends.get(use) === 'skipped' ? 'was skipped' : 'failed';
      return `${name} of job ${use.job.name} ${end} (${placeOf(use.step.source, 'task')})`;
    });
    const why = `nothing in this file publishes it any more: ${new Intl.ListFormat('en').format(steps)}.`;
    return problemAt(
      wait.step.source,
      `This wait for ${quoted(subject)} takes ${wholeTimeout(wait)} unless the event comes from elsewhere: ${why} Ctrl+C ends the run.`,
      'task',
    ).message;
  }
}
