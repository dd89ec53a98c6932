import { readFileSync, writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';

/** The parts of a document that a command writes: what is between `<!-- kind:name -->` and `<!-- /kind -->`. */

/** What stands there. */
export function sectionIn(text: string, kind: string, name: string): string {
  const { start, end } = placeOf(text, kind, name);
  return text.slice(start, end).trim();
}

/** The document with this content there. */
export function replaceSection(text: string, kind: string, name: string, content: string): string {
  const { start, end } = placeOf(text, kind, name);
  return `${text.slice(0, start)}\n\n${content}\n\n${text.slice(end)}`;
}

function placeOf(text: string, kind: string, name: string): { start: number; end: number } {
  const [opening, closing] = [`<!-- ${kind}:${name} -->`, `<!-- /${kind} -->`];
  const start = text.indexOf(opening) + opening.length;
  const end = text.indexOf(closing, start);
  if (start < opening.length || end < 0) throw new Error(`There is no section ${opening} … ${closing}.`);
  return { start, end };
}

/** Puts this content there in a file, and has Prettier lay the file out. */
export async function writeSection(file: string, kind: string, name: string, content: string): Promise<void> {
  const text = replaceSection(readFileSync(file, 'utf8'), kind, name, content);
  writeFileSync(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
}
