import type { Place } from '../../shared/bus.ts';
import { subjectMatches } from '../../shared/subject.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { keyOf, type DecisionFact, type EventFact } from '../audit/facts.ts';
import { flattened, type Trace, type TraceNode } from '../audit/trace.ts';
import { listed } from '../finding.ts';
import type { RouteSettings } from '../settings.ts';

/** How many routes are named; more are counted. */
const MOST_NAMED = 5;

/**
 * What the chain of an event can't show: the routes that haven't decided on it, and those that don't take it. Sentences; none
 * where it isn't one event that is asked about.
 *
 * @param id what is asked about
 */
export function silentRoutes(id: string, { roots }: Trace, runs: readonly RouteSettings[]): readonly string[] {
  const [asked, ...others] = eventsAsked(id, roots);
  if (asked === undefined || others.length > 0) return [];
  const { event, place } = asked;
  // A summary of several events stands below only one of them.
  const decided = new Set(
    flattened(roots).flatMap((fact) =>
      fact.kind === 'decision' && fact.function === 'runs' && isAbout(fact, place) ? [fact.name] : [],
    ),
  );
  const silent = runs.filter(({ name, mode }) => mode !== 'off' && !decided.has(name));
  const takes = ({ stream, subjects }: RouteSettings) =>
    stream === place.stream && subjects.some((pattern) => subjectMatches(pattern, event.subject));
  const undecided = silent.filter(takes);
  const strangers = silent.filter((route) => !takes(route)).map(({ name }) => name);
  return [
    ...undecidedText(undecided, place, decided.size === 0),
    ...strangersText(strangers, `${safeText(event.subject, 200)} in ${place.stream}`),
  ];
}

interface AskedEvent {
  readonly event: EventFact;
  readonly place: Place;
}

function eventsAsked(id: string, nodes: readonly TraceNode[]): readonly AskedEvent[] {
  return nodes.flatMap(({ fact, children }) => {
    const place = fact.kind === 'event' ? fact.place : undefined;
    const isAsked = fact.kind === 'event' && place !== undefined && (fact.id === id || keyOf(place) === id);
    return [...(isAsked ? [{ event: fact, place }] : []), ...eventsAsked(id, children)];
  });
}

function isAbout({ event: { place: first }, through }: DecisionFact, { stream, sequence }: Place): boolean {
  if (first?.stream !== stream) return false;
  return first.sequence <= sequence && sequence <= (through ?? first.sequence);
}

/** @param isAlone whether no other route has decided either */
function undecidedText(undecided: readonly RouteSettings[], place: Place, isAlone: boolean): readonly string[] {
  const routes = undecided.map(({ name }) => name);
  const [first, ...others] = routes;
  if (first === undefined) return [];
  const tryIt = `nats-event-bridge routes try ${first} --event ${keyOf(place)} says why`;
  const likewise = others.length === 0 ? '' : `, and likewise for ${listed(others, MOST_NAMED)}`;
  const who = isAlone
    ? 'No route has'
    : routes.length === 1
      ? `The route ${first} hasn't`
      : `${counted(routes)} haven't`;
  const isPassedOver = undecided.some(({ startFrom }) => startFrom !== 'all')
    ? ' What was stored before a route began, as its startFrom says, is never decided on.'
    : '';
  return [
    `${who} decided on it yet. If it didn't match, that is summed up within a minute; ${tryIt}${likewise}.${isPassedOver} nats-event-bridge routes list says what a route waits for.`,
  ];
}

function strangersText(routes: readonly string[], what: string): readonly string[] {
  if (routes.length === 0) return [];
  if (routes.length === 1) return [`The route ${listed(routes, MOST_NAMED)} doesn't take ${what}.`];
  return [`${counted(routes)} don't take ${what}.`];
}

function counted(routes: readonly string[]): string {
  return routes.length > MOST_NAMED ? `${routes.length} other routes` : `The routes ${listed(routes, MOST_NAMED)}`;
}
