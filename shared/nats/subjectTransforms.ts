import { overlap } from '../subject.ts';
import { isObject } from '../text/json.ts';
import { quoted } from '../text/safeText.ts';
import type { StreamConfig } from './jetStreamApi.ts';

/** A rule by which a stream stores messages under other subjects than they came on. */
interface Transform {
  readonly source: string;
  readonly destination: string;
}

/**
 * Says that a stream stores what comes on these subjects under others, where a reader of the original subjects doesn't
 * see it: a sentence without the last full stop; undefined when it doesn't.
 */
export function storedElsewhere(stream: string, config: StreamConfig, subjects: readonly string[]): string | undefined {
  for (const { source, destination } of transformsOf(config)) {
    const pattern = patternOf(destination);
    const unseen = subjects.find((subject) => overlap(source, subject) && !overlap(pattern, subject));
    if (unseen !== undefined)
      return `The stream "${stream}" stores events on ${quoted(source)} as ${quoted(destination)} (subject transform), where a wait on "${unseen}" does not see them`;
  }
  return undefined;
}

/** Whether a stream stores messages under this subject that came on others. */
export function mayBeStoredAs(config: StreamConfig, subject: string): boolean {
  return transformsOf(config).some(({ destination }) => overlap(patternOf(destination), subject));
}

/** Those of the stream itself, and those of what it mirrors or sources. */
function transformsOf({ subject_transform, mirror, sources = [] }: StreamConfig): Transform[] {
  const origins = Array.isArray(sources) ? [mirror, ...(sources as readonly unknown[])] : [mirror];
  const ofOrigins = origins.flatMap((origin) =>
    isObject(origin) && Array.isArray(origin.subject_transforms) ? (origin.subject_transforms as unknown[]) : [],
  );
  return [subject_transform, ...ofOrigins].flatMap((rule) => {
    if (!isObject(rule)) return [];
    const { src, dest } = rule;
    // Without a destination, the rule only selects.
    if (typeof dest !== 'string' || dest === '') return [];
    return [{ source: typeof src === 'string' && src !== '' ? src : '>', destination: dest }];
  });
}

/** The subjects a destination can make: `{{wildcard(1)}}` and `$1` are any part, and splitting one makes any number. */
function patternOf(destination: string): string {
  const [before = '', ...split] = destination.split(/\{\{\s*(?:split|slice)/i);
  const pattern = before.replace(/[^.]*(?:\{\{[^}]*\}\}|\$\d+)[^.]*/g, '*');
  return split.length === 0 ? pattern : pattern.replace(/[^.]*$/, '>');
}
