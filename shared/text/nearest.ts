/** Letters that may be wrong in a name. */
const MOST_LETTERS = 2;
/** Longer words aren't compared: that takes the time of both lengths multiplied. */
const LONGEST = 100;

/** The word that takes the fewest changes of a letter, and how many those are. */
export function nearestOf(
  word: string,
  words: readonly string[],
): readonly [word: string, letters: number] | undefined {
  const distances = words.map((other) => [other, distance(word.toLowerCase(), other.toLowerCase())] as const);
  return distances.sort((one, next) => one[1] - next[1])[0];
}

/**
 * The word that was probably meant: at most so many letters are wrong, and no more than half of those in either word.
 * Undefined when none is that near.
 */
export function probablyMeant(word: string, words: readonly string[], mostLetters = MOST_LETTERS): string | undefined {
  if (word.length > LONGEST) return undefined;
  const comparable = words.filter(({ length }) => length <= LONGEST);
  const [nearest = '', letters = Infinity] = nearestOf(word, comparable) ?? [];
  return letters <= Math.min(mostLetters, word.length / 2, nearest.length / 2) ? nearest : undefined;
}

function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const change = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
