import { safeText } from '../shared/text/safeText.ts';
import { meantBy } from './misspelt.ts';

/** Outputs that are listed. */
const MOST_LISTED = 20;

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
    const step = macro.slice(0, macro.indexOf('.'));
    const others = set
      .filter((output) => output.toLowerCase().startsWith(`${step.toLowerCase()}.`))
      .map((output) => output.slice(step.length + 1));
    if (isSet(macro)) return [];
    const name = macro.slice(step.length + 1);
    if (others.length === 0) {
      const steps = new Set(set.map((output) => output.slice(0, output.indexOf('.'))));
      const other = meantBy(step, [...steps]);
      if (other === undefined) return [];
      return [
        `The text keeps $(${macro}) as it is: no step ${step} has set it.${safeText(` Did you mean $(${other}.${name})?`)}`,
      ];
    }
    const meant = meantBy(name, others);
    const listed = others.slice(0, MOST_LISTED).join(', ') + (others.length > MOST_LISTED ? ', …' : '');
    const remedy = meant === undefined ? `It set ${listed}.` : `Did you mean $(${step}.${meant})?`;
    return [`The text keeps $(${macro}) as it is: the step ${step} set no output ${name}. ${safeText(remedy)}`];
  });
}
