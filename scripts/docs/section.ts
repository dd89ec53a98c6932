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
