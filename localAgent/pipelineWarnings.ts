import { quoted } from '../shared/text/safeText.ts';
import type { Pipeline } from './pipelineSyntax.ts';
import { isPatient, maySend, runsAfter, type Use, wholeTimeout } from './pipelineUses.ts';
import { placeOf, problemAt } from './pipelineYaml.ts';

export interface PipelineWarning {
  readonly job: string;
  readonly text: string;
}

/**
 * Finds waits for events that only later steps of the same file publish: such a wait takes its whole timeout, unless the event
 * comes from elsewhere. Looks only at subjects that the file spells out, and at waits that read the present and fail in the end.
 */
export function pipelineWarnings({ stages }: Pipeline, uses: readonly Use[]): PipelineWarning[] {
  const found = uses.filter(isPatient).flatMap((wait) => {
    const senders = uses.filter((use) => use !== wait && maySend(use, wait.subjects));
    const first = senders.find(({ subjects }) => subjects.some((subject) => wait.subjects.includes(subject)));
    if (first === undefined || !senders.every((sender) => runsAfter(sender, wait, stages))) return [];
    return [{ job: wait.job.phase, text: circular(wait, first) }];
  });
  // The jobs of a matrix share their steps.
  return [...new Map(found.map((warning) => [warning.text, warning])).values()];
}

function circular(wait: Use, { step: sender, job, ...other }: Use): string {
  const { step, subjects } = wait;
  const subject = subjects.find((one) => other.subjects.includes(one)) ?? subjects[0] ?? '';
  const problem = `This wait for ${quoted(subject)} takes ${wholeTimeout(wait)} unless the event comes from elsewhere: in this file, only job ${job.phase} publishes it (${placeOf(sender.source, 'task')}), after the wait.`;
  return problemAt(
    step.source,
    `${problem} Let a job that runs beside the wait publish it. If an event from before this run will do, set startFrom.`,
    'task',
  ).message;
}
