import { nearestOf } from '../shared/text/nearest.ts';

const MOST_LETTERS = 3;
/** No name is longer, and comparing takes the time of both lengths together. */
const LONGEST = 100;

/** The word that a misspelt one most likely means; undefined when none is close. */
export function meantBy(word: string, known: readonly string[], mostLetters = MOST_LETTERS): string | undefined {
  const [nearest = '', letters = Infinity] = word.length > LONGEST ? [] : (nearestOf(word, known) ?? []);
  return letters <= Math.min(mostLetters, nearest.length / 2) ? nearest : undefined;
}

/** Asks for the word that was most likely meant: a sentence with a space before it, or nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const meant = meantBy(word, known);
  return meant === undefined ? '' : ` Did you mean ${meant}?`;
}
