/** A place in a body: names of members, numbers of entries, or `*` for each entry of an array. */
export type BodyPath = readonly string[];

/** Longest text taken out of a body. */
const MAX_TEXT = 256;

/** Reads paths as a table has them: `run.id`. */
export function paths(...texts: readonly string[]): readonly BodyPath[] {
  return texts.map((text) => text.split('.'));
}

/** Everything at a path in parsed JSON; nothing if a step is missing. Never throws. */
export function valuesAt(json: unknown, path: BodyPath): readonly unknown[] {
  const found: unknown[] = [];
  collect(json, path, 0, found);
  return found;
}

function collect(value: unknown, path: BodyPath, from: number, found: unknown[]): void {
  for (let index = from; index < path.length; index++) {
    const step = path[index] ?? '';
    if (step === '*') {
      if (Array.isArray(value)) for (const entry of value as unknown[]) collect(entry, path, index + 1, found);
      return;
    }
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return;
    value = (value as Record<string, unknown>)[step];
  }
  found.push(value);
}

/** All texts at some paths, in the order of the paths. Numbers count as texts, since ids come as either. */
export function textsAt(json: unknown, from: readonly BodyPath[]): readonly string[] {
  return from.flatMap((path) => valuesAt(json, path).map(textOf)).filter((text) => text !== '');
}

/** The first of the texts at some paths; undefined where there is none. */
export function textAt(json: unknown, from: readonly BodyPath[]): string | undefined {
  for (const path of from) {
    for (const value of valuesAt(json, path)) {
      const text = textOf(value);
      if (text !== '') return text;
    }
  }
  return undefined;
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, MAX_TEXT);
  return Number.isSafeInteger(value) ? String(value) : '';
}
