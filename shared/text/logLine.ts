import { knownSecrets } from './masker.ts';

/**
 * One structured log line: a word for what happened, then `name=value` pairs. Text is quoted as JSON, since it may
 * come from an event; undefined values are left out.
 */
export function logLine(what: string, values: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const shown = (value: unknown) =>
    typeof value === 'string' ? JSON.stringify(knownSecrets.mask(value)) : String(value);
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined);
  return [what.padEnd(12), ...pairs.map(([name, value]) => `${name}=${shown(value)}`)].join(' ');
}
