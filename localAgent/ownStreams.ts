import { subjectProblem, withoutCovered } from '../shared/subject.ts';
import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted } from '../shared/text/safeText.ts';
import { PipelineFileError, problemAt, type YamlMap } from './pipelineYaml.ts';

/** A stream that a server of the run's own gets. */
export interface OwnStream {
  readonly name: string;
  readonly subjects: readonly string[];
}

/** What a step does with NATS. */
export interface NatsStep {
  /** The step's inputs in the file. */
  readonly entry: YamlMap;
  /** Its inputs with known variables expanded. */
  readonly subjects: readonly string[];
  readonly delivery: string;
  /** Whether it publishes; otherwise it waits. */
  readonly isPublisher: boolean;
  /** Undefined: any stream. */
  readonly stream: string | undefined;
}

interface Root {
  readonly names: Set<string>;
  readonly subjects: Set<string>;
  isPublished: boolean;
}

/**
 * The streams that these steps need: one for each first part of a subject, with all below it, such as CI for `ci.>`, unless a step
 * names the stream. If a request goes to a subject with the same first part, only the subjects themselves: a stream would answer it.
 * A first part that steps only wait for joins the stream of one that they publish to and that differs by a letter or two: that wait
 * then finds out what was meant, where it would see nothing in a stream of its own.
 * @throws PipelineFileError when that can't be determined
 */
export function ownStreams(steps: readonly NatsStep[]): OwnStream[] {
  const roots = new Map<string, Root>();
  const requested = new Set(steps.filter(({ delivery }) => delivery === 'request').flatMap(rootsOf));
  const problems: string[] = [];
  const doubt = ({ entry }: NatsStep, why: string): void => {
    const remedy = "Name it: --stream 'NAME=SUBJECT,SUBJECT'.";
    problems.push(problemAt(entry, `--nats can't tell which stream to make: ${why}. ${remedy}`, 'subject').message);
  };
  for (const step of steps.filter(({ delivery }) => delivery === 'jetStream')) {
    for (const subject of step.subjects) {
      const [root = ''] = subject.split('.');
      if (/\$\(|[*>]/.test(requested.has(root) ? subject.replace(/[*>]/g, '') : root)) {
        doubt(step, `${quoted(subject)} begins with a wildcard or holds a variable that no file gives`);
        continue;
      }
      // The step itself says what is wrong with it.
      if (subjectProblem(root, 'subject') !== undefined) continue;
      const known = roots.get(root) ?? { names: new Set(), subjects: new Set(), isPublished: false };
      roots.set(root, known);
      if (step.stream !== undefined) known.names.add(step.stream);
      if (known.names.size > 1) doubt(step, `steps name ${[...known.names].join(' and ')} for ${root}.>`);
      known.subjects.add(subject);
      known.isPublished ||= step.isPublisher;
    }
  }
  if (problems.length > 0) throw new PipelineFileError(problems.join('\n'));
  const published = [...roots].filter(([, { isPublished }]) => isPublished).map(([root]) => root);
  const streams = new Map<string, string[]>();
  for (const [root, { names, subjects, isPublished }] of roots) {
    const isAsMeant = isPublished || names.size > 0;
    const meant = (isAsMeant ? undefined : probablyMeant(root, published)) ?? root;
    const [name = meant.toUpperCase().replace(/[^\w-]/g, '_')] = roots.get(meant)?.names ?? [];
    const all = subjects.has(root) ? [root, `${root}.>`] : [`${root}.>`];
    streams.set(name, [...(streams.get(name) ?? []), ...(requested.has(root) ? withoutCovered([...subjects]) : all)]);
  }
  return [...streams].map(([name, subjects]) => ({ name, subjects }));
}

function rootsOf({ subjects }: NatsStep): string[] {
  return subjects.map((subject) => subject.split('.')[0] ?? '');
}
