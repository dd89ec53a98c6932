/** Whether this is the long run, with all cases, instead of the short one for each change. */
export const isLong: boolean = process.env['HOSTILE_FORM'] === 'long';

/** The cases that the short run tries; the long one tries all. */
export function casesOf<Case>(all: readonly Case[], isShort: (one: Case, index: number) => boolean): readonly Case[] {
  return isLong ? all : all.filter(isShort);
}
