/** What a job knows of its stage. */
export interface OwnStage {
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** The names of the jobs of all stages, in the file's order. */
export type JobsOfStages = ReadonlyMap<string, readonly string[]>;

/** What a reference of a job beginning with `dependencies` leads to: a job, and of it an output as `step.name`, or its result. */
export interface JobReference {
  readonly job: string;
  /** Undefined: the result. */
  readonly variable: string | undefined;
}

/**
 * Says where the job of a reference is that isn't in the same stage, and how to write the reference: for `dependencies.X`, X being
 * a job of another stage, or a stage. Undefined: nowhere.
 * @param written the reference as it's written in this place, from `stageDependencies…`
 */
export function inOtherStage(
  { job: name, variable }: JobReference,
  own: OwnStage,
  jobsOf: JobsOfStages,
  written: (reference: string) => string,
): string | undefined {
  if (jobsOf.get(own.name)?.includes(name)) return undefined;
  const stages = [...jobsOf.keys()];
  const having = stages.filter((other) => jobsOf.get(other)?.includes(name));
  const home = having.find((other) => own.dependsOn.includes(other)) ?? having[0] ?? name;
  const jobs = jobsOf.get(home);
  if (jobs === undefined || home === own.name) return undefined;
  const [first = ''] = variable?.split('.') ?? [];
  // A stage's condition has the job in front of the step.
  const [job, output] =
    having.length > 0
      ? [name, variable]
      : jobs.includes(first)
        ? [first, variable?.slice(first.length + 1)]
        : [jobs.length === 1 ? jobs.join() : 'JOB', variable];
  const problem = having.length > 0 ? `${name} is in stage ${home}.` : `${name} is a stage.`;
  const isBefore = own.dependsOn.includes(home);
  if (!isBefore && stages.indexOf(home) > stages.indexOf(own.name)) {
    const what = variable === undefined ? 'result' : 'outputs';
    return `${problem} It comes after stage ${own.name}, so this can't read its ${what}.`;
  }
  const addition = isBefore ? '' : ` Add ${home} to the dependsOn of stage ${own.name}.`;
  const end = output === undefined ? 'result' : `outputs['${output}']`;
  return `${problem} Write ${written(`stageDependencies.${home}.${job}.${end}`)}.${addition}`;
}
