/** V8's own search is used up to this many character comparisons: it can't be interrupted. */
const FEW = 2 ** 22;

/**
 * Where a text is first (or last) in another one, in code units; -1 where it isn't. In linear time (Knuth, Morris, Pratt):
 * V8's search takes quadratic time for crafted texts, and no time limit can end it.
 */
export function indexOf(text: string, sought: string, which: 'first' | 'last' = 'first'): number {
  const isLast = which === 'last';
  if (text.length * sought.length <= FEW) return isLast ? text.lastIndexOf(sought) : text.indexOf(sought);
  const unit = (of: string, index: number) => of.charCodeAt(isLast ? of.length - 1 - index : index);
  /** For each prefix of the search text: the length of its longest proper prefix that is also its suffix. */
  const borders = new Int32Array(sought.length);
  const extend = (matched: number, next: number): number => {
    let length = matched;
    while (length > 0 && unit(sought, length) !== next) length = borders[length - 1] ?? 0;
    return unit(sought, length) === next ? length + 1 : 0;
  };
  for (let index = 1, matched = 0; index < sought.length; index++) {
    matched = extend(matched, unit(sought, index));
    borders[index] = matched;
  }
  for (let index = 0, matched = 0; index < text.length; index++) {
    matched = extend(matched, unit(text, index));
    if (matched === sought.length) return isLast ? text.length - 1 - index : index + 1 - matched;
  }
  return -1;
}

/** JMESPath's find_first and find_last: null when it isn't there, or one of the two is empty. An end of 0 means no end. */
export function find(
  text: string,
  sought: string,
  which: 'first' | 'last',
  start?: number,
  end?: number,
): number | null {
  if (text === '' || sought === '') return null;
  const from = Math.max(whole(start ?? 0), 0);
  const to = end === undefined || end === 0 ? text.length : whole(end);
  const found = indexOf(text.slice(from, to), sought, which);
  return found === -1 ? null : from + found;
}

/** JMESPath's split, at a limited number of places. */
export function split(text: string, sought: string, most?: number): string[] {
  if (most !== undefined && whole(most) < 0) throw new Error('the count is negative');
  if (sought === '') {
    const characters = text.split('');
    return most === undefined || most >= characters.length
      ? characters
      : [...characters.slice(0, most), characters.slice(most).join('')];
  }
  const parts: string[] = [];
  let rest = text;
  while (parts.length < (most ?? Infinity)) {
    const at = indexOf(rest, sought);
    if (at === -1) break;
    parts.push(rest.slice(0, at));
    rest = rest.slice(at + sought.length);
  }
  return [...parts, rest];
}

/** The number if it is whole; otherwise throws an `Error` with a clause. */
export function whole(number: number): number {
  if (!Number.isInteger(number)) throw new Error(`${number} is not a whole number`);
  return number;
}
