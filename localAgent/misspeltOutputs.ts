import { probablyMeant } from '../shared/text/nearest.ts';
import { safeText } from '../shared/text/safeText.ts';

/** Outputs that are listed. */
const MOST_LISTED = 20;

/** Another job's output that has no value. */
export interface JobOutput {
  /** The job it is looked for in. */
  readonly job: string;
  /** As the reference names it, such as `step.name`, or `Deploy.step.name` of a deployment. */
  readonly variable: string;
  /** The reference, such as `dependencies.Build.outputs['step.name']`, with another name in the variable's place. */
  readonly written: (variable: string) => string;
  /** What the job has set, several times for a matrix: by `step.name`, before which references put a prefix. */
  readonly outputs: readonly { readonly outputPrefix: string; readonly outputs: ReadonlyMap<string, unknown> }[];
}

/**
 * Warns of each `$(step.name)` that names no output although the step, or one of nearly the same name, has set others: a real
 * agent leaves it in the text, too, and says nothing.
 * @param texts as the author of the pipeline wrote them
 * @param outputs as `step.name`
 * @param isSet of any variable
 */
export function misspeltOutputs(
  texts: readonly string[],
  outputs: Iterable<string>,
  isSet: (variable: string) => boolean,
): string[] {
  const set = [...outputs];
  const macros = texts.flatMap((text) => [...text.matchAll(/\$\((\w+\.[\w.-]+)\)/g)].map(([, name = '']) => name));
  return [...new Set(macros)].flatMap((macro) => {
    const why = isSet(macro) ? undefined : whyUnset(macro, set, (name) => `$(${name})`);
    return why === undefined ? [] : [`The text keeps $(${macro}) as it is: ${why}`];
  });
}

/** The same for an output of another job, which Azure Pipelines takes for empty. Undefined: it set nothing like that. */
export function misspeltJobOutput({ job, variable, written, outputs }: JobOutput): string | undefined {
  const problem = `${written(variable)} is empty:`;
  const own = outputs.find(({ outputPrefix }) => variable.startsWith(outputPrefix));
  if (own !== undefined && variable.includes('.', own.outputPrefix.length)) {
    const { outputPrefix: prefix } = own;
    const why = whyUnset(variable.slice(prefix.length), [...own.outputs.keys()], (name) => written(prefix + name));
    return why && `${problem} in job ${job}, ${why}`;
  }
  // The name of the step is missing, or what stands before it.
  const all = outputs.flatMap((one) => [...one.outputs.keys()].map((name) => one.outputPrefix + name));
  const meant = all.find((name) => name.endsWith(`.${variable}`)) ?? probablyMeant(variable, all);
  return meant && `${problem} job ${job} set no such output. ${didYouMean(written(meant))}`;
}

/** @param written how a reference to an output is written */
function whyUnset(variable: string, set: readonly string[], written: (name: string) => string): string | undefined {
  const step = variable.slice(0, variable.indexOf('.'));
  const name = variable.slice(step.length + 1);
  const others = set
    .filter((output) => output.toLowerCase().startsWith(`${step.toLowerCase()}.`))
    .map((output) => output.slice(step.length + 1));
  if (others.length === 0) {
    const steps = new Set(set.map((output) => output.slice(0, output.indexOf('.'))));
    const other = probablyMeant(step, [...steps]);
    return other && `no step ${step} has set it. ${didYouMean(written(`${other}.${name}`))}`;
  }
  const meant = probablyMeant(name, others);
  const listed = others.slice(0, MOST_LISTED).join(', ') + (others.length > MOST_LISTED ? ', …' : '');
  const remedy = meant === undefined ? safeText(`It set ${listed}.`) : didYouMean(written(`${step}.${meant}`));
  return `the step ${step} set no output ${name}. ${remedy}`;
}

function didYouMean(reference: string): string {
  return safeText(`Did you mean ${reference}?`);
}
