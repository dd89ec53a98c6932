import type { RouteSettings } from '../settings.ts';
import { EVENT_ID_PARAMETER } from '../config/runs.ts';
import type { Parameters, Pipelines } from './pipelines.ts';

/** Whether a pipeline has the parameter that identifies a run. */
export type EventIdSupport =
  | { readonly kind: 'declared' | 'undeclared'; /** Of the preview. */ readonly yaml?: string }
  /** Azure DevOps refuses a run of it either way. */
  | {
      readonly kind: 'unknown';
      readonly message: string;
      /** Only since a parameter of the route needs a value that an event has and nobody knows beforehand. */
      readonly isOfValues: boolean;
    }
  /** It can't be asked now. */
  | { readonly kind: 'postponed'; readonly message: string };

/**
 * What a parameter is tried with: first nothing, then a text or number, then a boolean, then nothing again: Azure
 * DevOps then takes its first value.
 */
const SAMPLES = [undefined, '1', 'true', undefined];
const [, SAMPLE = ''] = SAMPLES;
/** Rounds of two previews. */
const MOST_ROUNDS = 8;

/** Finds out by previews with and without the parameter, which start nothing. */
export async function eventIdSupport(
  { pipeline, parameters }: Pick<RouteSettings, 'pipeline' | 'parameters'>,
  pipelines: Pick<Pipelines, 'preview'>,
): Promise<EventIdSupport> {
  const tried = new Map(parameters.filter(({ name }) => name !== EVENT_ID_PARAMETER).map(({ name }) => [name, 0]));
  let first: string | undefined;
  let last: readonly string[] = [];
  // A pipeline may refuse a run without its other parameters, and also one with values that nobody has chosen.
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const given = samplesOf(tried);
    const withId = await pipelines.preview(pipeline, { ...given, [EVENT_ID_PARAMETER]: SAMPLE });
    if (withId.kind === 'ok') return { ...withId, kind: 'declared' };
    if (withId.kind === 'postponed') return withId;
    const without = await pipelines.preview(pipeline, given);
    if (without.kind === 'ok') return { ...without, kind: 'undeclared' };
    if (without.kind === 'postponed') return without;
    first ??= without.message;
    last = namedIn(without.message);
    // It may not say which ones are missing.
    const next = last.length > 0 ? last : round === 0 ? [...tried.keys()] : [];
    const changed = next.filter((name) => (tried.get(name) ?? Infinity) < SAMPLES.length - 1);
    if (changed.length === 0) break;
    for (const name of changed) tried.set(name, (tried.get(name) ?? 0) + 1);
  }
  const isOfValues = last.length > 0 && last.every((name) => tried.has(name));
  return { kind: 'unknown', message: first ?? '', isOfValues };
}

function samplesOf(tried: ReadonlyMap<string, number>): Parameters {
  return Object.fromEntries(
    [...tried].flatMap(([name, index]) => {
      const sample = SAMPLES[index];
      return sample === undefined ? [] : [[name, sample]];
    }),
  );
}

/** The parameters that Azure DevOps names in a refusal. */
function namedIn(message: string): readonly string[] {
  return [...message.matchAll(/'([^']+)' parameter\b|\bparameter '([^']+)'/gi)].map(
    ([, one, other]) => one ?? other ?? '',
  );
}
