/** Whether this is the long run, with all cases, and not the short one of each change. */
export const isLong: boolean = process.env['HOSTILE_FORM'] === 'long';

/** Those of the cases that the short run tries too; the long one tries all. */
export function casesOf<Case>(all: readonly Case[], isShort: (one: Case, index: number) => boolean): readonly Case[] {
  return isLong ? all : all.filter(isShort);
}
