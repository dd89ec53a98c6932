/** Letters that may be wrong in a name, and in all parts of a subject together. */
const MOST_LETTERS = 2;
/** In a part shorter than this, one letter says little unless another part is the same. */
const SHORT_PART = 3;
/** One part more or less counts as this many letters: subjects with as many parts are nearer. */
const PART = MOST_LETTERS + 1;

/** The subjects that were most probably meant by one of the patterns, the nearest first. None of them is inside a pattern. */
export function nearSubjects(patterns: readonly string[], subjects: readonly string[], most: number): string[] {
  const split = patterns.map((pattern) => pattern.split('.'));
  const near = subjects.flatMap((subject) => {
    const parts = subject.split('.');
    const away = Math.min(...split.map((pattern) => awayFrom(pattern, parts)));
    return away === Infinity ? [] : [{ subject, away }];
  });
  near.sort((one, next) => one.away - next.away || (one.subject < next.subject ? -1 : 1));
  return near.slice(0, most).map(({ subject }) => subject);
}

/**
 * How many letters are wrong between two subjects or patterns with the same number of parts, upper and lower case aside;
 * undefined where those are too many for a typing error.
 */
export function lettersWrong(one: string, other: string): number | undefined {
  return lettersIn(one.split('.'), other.split('.'));
}

function awayFrom(pattern: readonly string[], subject: readonly string[]): number {
  const letters = lettersIn(pattern, subject);
  if (letters !== undefined) return letters;
  // Without `>`, a part too many is one to leave out.
  const [longer, shorter] = pattern.length > subject.length ? [pattern, subject] : [subject, pattern];
  if (longer.length !== shorter.length + 1) return Infinity;
  return longer.some((_, index) => lettersIn(longer.toSpliced(index, 1), shorter) === 0) ? PART : Infinity;
}

function lettersIn(one: readonly string[], other: readonly string[]): number | undefined {
  let letters = 0;
  let areSame = false;
  let areShort = false;
  for (let index = 0; index < Math.max(one.length, other.length); index++) {
    const [a, b] = [one[index]?.toLowerCase(), other[index]?.toLowerCase()];
    if (a === undefined || b === undefined) return undefined;
    if (a === '>' || b === '>') break;
    if (a === '*' || b === '*') continue;
    const wrong = wrongIn(a, b);
    if (wrong === undefined) return undefined;
    letters += wrong;
    if (wrong === 0) areSame = true;
    else if (Math.min(a.length, b.length) < SHORT_PART) areShort = true;
  }
  return letters > MOST_LETTERS || (areShort && !areSame) ? undefined : letters;
}

function wrongIn(one: string, other: string): number | undefined {
  const most = Math.floor(Math.min(MOST_LETTERS, one.length / 2, other.length / 2));
  // Numbers that differ are mostly two things, not one that is mistyped.
  if (one !== other && /^\d+$/.test(one)) return undefined;
  const letters = lettersApart(one, other, most);
  return letters <= most ? letters : undefined;
}

/** How many letters have to be changed, put in or left out to make one word of another; more than `most` need not be exact. */
function lettersApart(one: string, other: string, most: number): number {
  let same = 0;
  while (same < one.length && one[same] === other[same]) same++;
  const [a, b] = [one.slice(same), other.slice(same)];
  if (most === 0 || a === '' || b === '') return Math.max(a.length, b.length);
  const [nextA, nextB] = [a.slice(1), b.slice(1)];
  const ways = [
    lettersApart(nextA, nextB, most - 1),
    lettersApart(nextA, b, most - 1),
    lettersApart(a, nextB, most - 1),
  ];
  return 1 + Math.min(...ways);
}
