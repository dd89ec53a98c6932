import { parse } from 'yaml';

/** Every scalar is text, as the file spells it. */
export type Yaml = string | readonly Yaml[] | YamlMap;
export type YamlMap = Readonly<Partial<{ [key: string]: Yaml }>>;

/** Parses a pipeline file. Throws an Error for what is no YAML, and for aliases, which Azure Pipelines does not have. */
export function parseYaml(text: string): YamlMap {
  return asMap(parse(text, { schema: 'failsafe', maxAliasCount: 0 }), 'the file');
}

export function checkKeys(entry: YamlMap, allowed: readonly string[], where: string): void {
  const other = Object.keys(entry).find((key) => !allowed.includes(key));
  if (other !== undefined) throw unsupported(`"${other}"`, where);
}

export function readNames(value: Yaml, where: string): string[] {
  if (typeof value === 'string') return value ? [value] : [];
  return asList(value, where).map((name) => asText(name, where));
}

export function readFlag(entry: YamlMap, key: string, otherwise: boolean, where: string): boolean {
  const text = asText(entry[key] ?? String(otherwise), where).toLowerCase();
  if (text !== 'true' && text !== 'false') throw unsupported(`${key}: ${text}`, where);
  return text === 'true';
}

export function readNumber(entry: YamlMap, key: string, where: string): number {
  const text = asText(entry[key] ?? '0', where);
  if (!/^\d+(\.\d+)?$/.test(text)) throw unsupported(`${key}: ${text}`, where);
  return Number(text);
}

export function asText(value: Yaml | undefined, where: string): string {
  if (typeof value === 'string') return value;
  const hint = value === undefined ? '' : ' Text that begins with { or [ needs quotes around it.';
  throw new Error(`In ${where}, text was expected instead of ${JSON.stringify(value)}.${hint}`);
}

export function asList(value: Yaml, where: string): readonly Yaml[] {
  if (!Array.isArray(value)) throw new Error(`In ${where}, a list was expected instead of ${JSON.stringify(value)}.`);
  return value as readonly Yaml[];
}

export function asMap(value: unknown, where: string): YamlMap {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new Error(`In ${where}, a mapping was expected instead of ${JSON.stringify(value)}.`);
  }
  return value as YamlMap;
}

export function asTexts(value: Yaml, where: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(asMap(value, where)).map(([key, text]) => [key, asText(text, `${key} of ${where}`)]),
  );
}

export function unsupported(what: string, where: string): Error {
  return new Error(`Not supported in ${where}: ${what}`);
}
