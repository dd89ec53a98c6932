import { probablyMeant } from '../shared/text/nearest.ts';

/** Asks for the word that was most likely meant: a sentence with a space before it, or nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const meant = probablyMeant(word, known);
  return meant === undefined ? '' : ` Did you mean ${meant}?`;
}

/** The remedy for outputs of a step that has no name. */
export function noStepNamed(step: string): string {
  return `no step is named ${step}. Give the step that sets it \`name: ${step}\`.`;
}
