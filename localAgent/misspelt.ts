import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted } from '../shared/text/safeText.ts';

/** Asks for the word that was most likely meant: a sentence with a space before it, or nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const meant = probablyMeant(word, known);
  return meant === undefined ? '' : ` Did you mean ${meant}?`;
}

/** The remedy for outputs of a step that has no name. */
export function noStepNamed(step: string): string {
  return `no step is named ${step}. Give the step that sets it \`name: ${step}\`.`;
}

/** What is wrong with the name that a step is given, and how to write it; undefined where nothing is. */
export function stepNameProblem(name: string): string | undefined {
  if (/^[A-Za-z0-9_]+$/.test(name)) return undefined;
  const valid = name.replace(/[^A-Za-z0-9_]+/g, '_').replace(/^_|_$/g, '');
  const remedy = `Use letters, digits and underscores.${valid === '' ? '' : ` Write ${valid}.`}`;
  return `A step can't have the name ${quoted(name)}. ${remedy}`;
}
