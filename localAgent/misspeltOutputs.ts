import { probablyMeant } from '../shared/text/nearest.ts';
import { safeText } from '../shared/text/safeText.ts';
import { noStepNamed } from './misspelt.ts';

/** Outputs that are listed. */
const MOST_LISTED = 20;

/** An output of another job that stands in a text, where only variables and conditions may have one. */
const IN_TEXT = /\$(?:\(|\[)\s*((?:dependencies|stageDependencies)(?:\.\w+)+\.outputs\['[^']*'\])\s*[)\]]/g;

/** An output that stands in a text as in a shell or a runtime expression. */
const IN_OTHER_BRACKETS = /\$(?:\{(\w+\.[\w.-]+)\}|\[\s*(\w+\.[\w.-]+)\s*\])/g;

/**
 * Says what the file tells of a variable that isn't set.
 * @param written how a reference to a variable is written
 */
export type WhyUnset = (variable: string, written: (name: string) => string) => string | undefined;

/** A condition that has been evaluated. */
export interface ReadVariables {
  /** What it read that isn't set. */
  readonly unset: ReadonlySet<string>;
  /** The names of all variables that are set. */
  readonly known: readonly string[];
  /** The outputs among them, as `step.name`. */
  readonly outputs?: Iterable<string>;
  /** Whether it's false although all before it went well. */
  readonly isDecisive: boolean;
  /** Whether a script may set the variable. */
  readonly maySet?: ((variable: string) => boolean) | undefined;
  readonly whyInFile?: WhyUnset | undefined;
}

/** Variables that Azure Pipelines itself sets, but only for some runs, such as those for a pull request. */
const SOMETIMES = /^(?:System\.PullRequest|Build\.TriggeredBy|Build\.CronSchedule)\./i;

/** Another job's output that has no value. */
export interface JobOutput {
  /** The job it is looked for in. */
  readonly job: string;
  /** As the reference names it, such as `step.name`, or `Deploy.step.name` of a deployment. */
  readonly variable: string;
  /** The reference, such as `dependencies.Build.outputs['step.name']`, with another name in the variable's place. */
  readonly written: (variable: string) => string;
  /** What the job has set, several times for a matrix: by `step.name`, before which references put a prefix. */
  readonly outputs: readonly {
    readonly outputPrefix: string;
    readonly outputs: ReadonlyMap<string, unknown>;
    /** The names of its steps; undefined: they aren't known. */
    readonly stepNames?: readonly string[];
  }[];
}

/**
 * Warns of each `$(step.name)` that names no output although the step, or one of nearly the same name, has set others, of each
 * output of another job written into a text, and of each output in other brackets: a real agent leaves it in the text, too, and
 * says nothing.
 * @param texts as the author of the pipeline wrote them
 * @param outputs as `step.name`
 * @param isSet of any variable
 * @param whyInFile says what the file tells of a variable that isn't set
 */
export function misspeltOutputs(
  texts: readonly string[],
  outputs: Iterable<string>,
  isSet: (variable: string) => boolean,
  whyInFile: WhyUnset = () => undefined,
): string[] {
  const set = [...outputs];
  const macros = texts.flatMap((text) => [...text.matchAll(/\$\((\w+\.[\w.-]+)\)/g)].map(([, name = '']) => name));
  const references = texts.flatMap((text) => [...text.matchAll(IN_TEXT)]);
  const misplaced = references.map(([written, reference = '']) => {
    const name = /(\w+)'\]$/.exec(reference)?.[1] ?? 'NAME';
    return safeText(
      `The text keeps ${written} as it is: an output of another job comes through a variable. Add ${name}: $[ ${reference} ] to the variables of the job, and write $(${name}).`,
    );
  });
  const unset = [...new Set(macros)].flatMap((macro) => {
    if (isSet(macro)) return [];
    const written = (name: string): string => `$(${name})`;
    const why = whyInFile(macro, written) ?? whyUnset(macro, set, written);
    return why === undefined ? [] : [`The text keeps $(${macro}) as it is: ${why}`];
  });
  return [...new Set(misplaced), ...unset, ...otherBrackets(texts, set)];
}

/** Warns of each `${step.name}` and `$[ step.name ]` of a step that has set outputs: only `$(step.name)` is replaced in a text. */
function otherBrackets(texts: readonly string[], outputs: readonly string[]): string[] {
  const steps = new Set(outputs.map((output) => output.slice(0, output.indexOf('.')).toLowerCase()));
  const found = texts.flatMap((text) => [...text.matchAll(IN_OTHER_BRACKETS)]);
  const warnings = found.flatMap(([written, braced, bracketed]) => {
    const name = braced ?? bracketed ?? '';
    if (!steps.has(name.slice(0, name.indexOf('.')).toLowerCase())) return [];
    return [safeText(`The text keeps ${written} as it is. Write $(${name}).`)];
  });
  return [...new Set(warnings)];
}

/**
 * The same for the variables of a condition, which are empty there. One of which nothing is known is reported only where the
 * condition is false, since many are set only sometimes.
 */
export function unsetInCondition({ unset, known, outputs = [], ...read }: ReadVariables): string[] {
  const written = (name: string): string => (/^\w+$/.test(name) ? `variables.${name}` : `variables['${name}']`);
  const set = [...outputs];
  return [...unset].flatMap((name) => {
    // A secret that this condition can't read.
    if (known.some((other) => other.toLowerCase() === name.toLowerCase())) return [];
    const problem = `The condition reads ${written(name)}, which is empty:`;
    const why = name.includes('.') ? (read.whyInFile?.(name, written) ?? whyUnset(name, set, written)) : undefined;
    if (why !== undefined) return [safeText(`${problem} ${why}`)];
    if (SOMETIMES.test(name) || read.maySet?.(name) === true) return [];
    const meant = probablyMeant(name, known);
    if (meant !== undefined) return [safeText(`${problem} nothing has set it. Did you mean ${written(meant)}?`)];
    if (!read.isDecisive) return [];
    return [safeText(`${problem} nothing has set it. If it comes with the run, give --variable ${name}=VALUE.`)];
  });
}

/** The same for an output of another job, which Azure Pipelines takes for empty. Undefined: it set nothing like that. */
export function misspeltJobOutput({ job, variable, written, outputs }: JobOutput): string | undefined {
  const problem = `${written(variable)} is empty:`;
  const own = outputs.find(({ outputPrefix }) => variable.startsWith(outputPrefix));
  if (own !== undefined && variable.includes('.', own.outputPrefix.length)) {
    const { outputPrefix: prefix } = own;
    const why = whyUnset(variable.slice(prefix.length), [...own.outputs.keys()], (name) => written(prefix + name));
    if (why !== undefined) return `${problem} in job ${job}, ${why}`;
    const [step = ''] = variable.slice(prefix.length).split('.');
    const isStep = (own.stepNames ?? [step]).some((name) => name.toLowerCase() === step.toLowerCase());
    const withStep = [...own.outputs.keys()].find((name) => name.endsWith(`.${variable.slice(prefix.length)}`));
    if (withStep !== undefined)
      return `${problem} it lacks the name of the step. ${didYouMean(written(prefix + withStep))}`;
    if (step === 'event')
      return `${problem} it lacks the name of the step: ${written(`${prefix}STEP.${variable.slice(prefix.length)}`)}.`;
    return isStep ? undefined : `${problem} in job ${job}, ${noStepNamed(step)}`;
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
  // Such as `wait.by` for `wait.event.by`.
  const field = others.find((other) => other.toLowerCase() === `event.${name.toLowerCase()}`);
  const meant = field ?? probablyMeant(name, others);
  const listed = others.slice(0, MOST_LISTED).join(', ') + (others.length > MOST_LISTED ? ', …' : '');
  const remedy = meant === undefined ? safeText(`It set ${listed}.`) : didYouMean(written(`${step}.${meant}`));
  return `the step ${step} set no output ${name}. ${remedy}`;
}

function didYouMean(reference: string): string {
  return safeText(`Did you mean ${reference}?`);
}
