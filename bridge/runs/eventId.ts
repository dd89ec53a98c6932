import type { RouteSettings } from '../settings.ts';
import { EVENT_ID_PARAMETER } from '../config/runs.ts';
import type { Parameters, Pipelines } from './pipelines.ts';

/** Whether a pipeline has the parameter that identifies a run. */
export type EventIdSupport =
  | { readonly kind: 'declared' | 'undeclared'; /** Of the preview. */ readonly yaml?: string }
  /** Azure DevOps refuses a run of it either way. */
  | { readonly kind: 'unknown'; readonly message: string }
  /** It can't be asked now. */
  | { readonly kind: 'postponed'; readonly message: string };

/** A value that is valid as text and as a number. */
const SAMPLE = '1';

/** Finds out by previews with and without the parameter, which start nothing. */
export async function eventIdSupport(
  { pipeline, parameters }: Pick<RouteSettings, 'pipeline' | 'parameters'>,
  pipelines: Pick<Pipelines, 'preview'>,
): Promise<EventIdSupport> {
  // A pipeline may refuse a run without its other parameters, and also one with values that nobody has chosen.
  const samples = Object.fromEntries(parameters.map(({ name }) => [name, SAMPLE]));
  const others: Parameters[] = parameters.length === 0 ? [{}] : [{}, samples];
  let message = '';
  for (const given of others) {
    const withId = await pipelines.preview(pipeline, { ...given, [EVENT_ID_PARAMETER]: SAMPLE });
    if (withId.kind === 'ok') return { ...withId, kind: 'declared' };
    if (withId.kind === 'postponed') return withId;
    const without = await pipelines.preview(pipeline, given);
    if (without.kind === 'ok') return { ...without, kind: 'undeclared' };
    if (without.kind === 'postponed') return without;
    message ||= without.message;
  }
  return { kind: 'unknown', message };
}
