import { listed } from '../finding.ts';
import type { BridgeSettings } from '../settings.ts';
import type { JetStream } from './api.ts';
import { subjectsOf } from './needs.ts';

/** Where the name of a stream is in the configuration: `the stream of routes deploy-web, deploy-api`. */
export function streamOfRoutes({ runs }: Pick<BridgeSettings, 'runs'>, name: string): string {
  const routes = runs.filter(({ mode, stream }) => mode !== 'off' && stream === name);
  return `the stream of ${routes.length === 1 ? 'route' : 'routes'} ${listed(routes.map((route) => route.name))}`;
}

/**
 * What to do about a stream that isn't there. Another one that has its routes' subjects already is the one that was meant: a
 * new one couldn't take them.
 *
 * @returns undefined where no other stream has them, or the user may not ask
 */
export async function meantStream(
  name: string,
  settings: Pick<BridgeSettings, 'runs'>,
  jetStream: Pick<JetStream, 'streamNames'>,
): Promise<string | undefined> {
  const taken = new Map<string, string[]>();
  for (const subject of subjectsOf(settings, name)) {
    const answer = await jetStream.streamNames(subject);
    for (const stream of answer.kind === 'ok' ? answer.value : [])
      taken.set(stream, [...(taken.get(stream) ?? []), `"${subject}"`]);
  }
  // It's the right one, and the user may not look at it.
  if (taken.has(name)) return undefined;
  const [[stream, subjects = []] = [], ...others] = taken;
  if (stream === undefined) return undefined;
  const correct = `Correct ${streamOfRoutes(settings, name)}.`;
  if (others.length === 0) return `The stream ${stream} captures ${subjects.join(', ')}. Did you mean it? ${correct}`;
  return `The streams ${[...taken.keys()].join(', ')} capture its subjects. ${correct}`;
}
