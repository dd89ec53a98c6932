import type { Place, ReceivedMessage } from '../../shared/bus.ts';
import { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { isObject, parseObject } from '../../shared/text/json.ts';

/** An event, reduced to who did what. All texts are foreign. */
export interface EventFact {
  readonly kind: 'event';
  /** Empty where it has none. */
  readonly id: string;
  readonly subject: string;
  /** Undefined where no stream has it, such as a hook that became a dead letter. */
  readonly place: Place | undefined;
  /** The run that published it, or that a hook reports. */
  readonly run: string | undefined;
  /** Project and pipeline of that run. */
  readonly pipeline: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** A decision of the audit stream. All texts are foreign. */
export interface DecisionFact {
  readonly kind: 'decision';
  readonly function: string;
  /** The route, wait or order. */
  readonly name: string;
  /** The route that an order is about; of others, the name. */
  readonly route: string;
  readonly decision: string;
  readonly reason: string;
  readonly user: string;
  /** Its own number in the audit stream. */
  readonly sequence: number;
  /** When it was stored, in milliseconds since the epoch. */
  readonly at: number;
  readonly event: { readonly id: string; readonly subject: string; readonly place: Place | undefined };
  /** The last sequence it covers if it sums up several events, starting with {@link event}. */
  readonly through: number | undefined;
  readonly run: RunFact | undefined;
  /** Number of the dead letter that came of it. */
  readonly deadLetter: number | undefined;
}

export interface RunFact {
  readonly id: string;
  /** Empty where it isn't known. */
  readonly url: string;
}

/** The place that `STREAM:sequence` names; undefined for any other text. */
export function parsePlace(text: string): Place | undefined {
  const [, stream, sequence] = /^([^\s.*>:/\\]+):([1-9]\d{0,15})$/.exec(text) ?? [];
  return stream === undefined ? undefined : { stream, sequence: Number(sequence) };
}

/** Reads a message of a stream as an event. */
export function eventIn(message: ReceivedMessage): EventFact {
  const event = new ReceivedEvent(message);
  const { azprunid, azpproject, azppipeline } = event.attributes;
  return {
    kind: 'event',
    id: event.messageId,
    subject: message.subject,
    place: message.place,
    run: azprunid,
    pipeline: [azpproject, azppipeline].filter(Boolean).join('/'),
    at: message.storedAt ?? 0,
  };
}

/** Reads a message of the audit stream; undefined when it isn't a decision. */
export function decisionIn({ payload, place, storedAt }: ReceivedMessage): DecisionFact | undefined {
  const data = parseObject(Buffer.from(payload).toString());
  if (data === undefined || typeof data['decision'] !== 'string') return undefined;
  const event = isObject(data['event']) ? data['event'] : {};
  const followed = isObject(data['followed']) ? data['followed'] : {};
  const run = textOf(followed['run']);
  const letter = Number(followed['deadLetter']);
  const { stream, firstSequence: first, lastSequence: last } = followed;
  const summary =
    typeof first === 'number' && typeof last === 'number'
      ? { through: last, place: { stream, sequence: first } }
      : undefined;
  return {
    kind: 'decision',
    function: textOf(data['function']),
    name: textOf(data['name']),
    route: textOf(followed['route']) || textOf(data['name']),
    decision: data['decision'],
    reason: textOf(data['reason']),
    user: textOf(data['user']),
    sequence: place?.sequence ?? 0,
    at: storedAt ?? 0,
    event: {
      id: textOf(event['id']),
      subject: textOf(event['subject']),
      place: placeIn(summary?.place ?? event['place']),
    },
    through: summary?.through,
    run: run === '' ? undefined : { id: run, url: textOf(followed['url']) },
    deadLetter: Number.isSafeInteger(letter) ? letter : undefined,
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
}

function placeIn(value: unknown): Place | undefined {
  if (!isObject(value)) return undefined;
  const { stream, sequence } = value;
  return typeof stream === 'string' && typeof sequence === 'number' ? { stream, sequence } : undefined;
}

/** Everything read so far, indexed by the keys it's looked up by. */
export class Facts {
  readonly #events = new Map<string, EventFact>();
  readonly #eventsByRun = new Map<string, EventFact[]>();
  readonly #eventsById = new Map<string, EventFact[]>();
  readonly #decisionsByPlace = new Map<string, DecisionFact[]>();
  readonly #decisionsById = new Map<string, DecisionFact[]>();
  readonly #starts = new Map<string, DecisionFact[]>();
  readonly #summaries: DecisionFact[] = [];

  addEvent(event: EventFact): void {
    const { place, id, run } = event;
    if (place !== undefined) {
      const key = keyOf(place);
      if (this.#events.has(key)) return;
      this.#events.set(key, event);
    }
    if (id !== '') push(this.#eventsById, id, event);
    if (run !== undefined) push(this.#eventsByRun, run, event);
  }

  addDecision(decision: DecisionFact): void {
    const { event, run, through } = decision;
    if (event.place !== undefined && through !== undefined) this.#summaries.push(decision);
    else if (event.place !== undefined) push(this.#decisionsByPlace, keyOf(event.place), decision);
    else if (event.id !== '') push(this.#decisionsById, event.id, decision);
    if (event.id !== '' && event.place !== undefined) push(this.#decisionsById, event.id, decision);
    if (run !== undefined) push(this.#starts, run.id, decision);
  }

  eventAt(place: Place): EventFact | undefined {
    return this.#events.get(keyOf(place));
  }

  eventsWithId(id: string): readonly EventFact[] {
    return this.#eventsById.get(id) ?? [];
  }

  eventsOf(run: string): readonly EventFact[] {
    return [...(this.#eventsByRun.get(run) ?? [])].sort(byTime);
  }

  decisionsWithId(id: string): readonly DecisionFact[] {
    return this.#decisionsById.get(id) ?? [];
  }

  /** Which decision started a run: the first one. */
  startOf(run: string): DecisionFact | undefined {
    return [...(this.#starts.get(run) ?? [])].sort(byTime)[0];
  }

  /** The decisions about an event; if it merely didn't match, the summary that covers it. */
  decisionsOn({ place, id }: EventFact): readonly DecisionFact[] {
    if (place === undefined) return this.decisionsWithId(id).filter(({ event }) => event.place === undefined);
    const own = this.#decisionsByPlace.get(keyOf(place)) ?? [];
    const said = new Set(own.map(({ name }) => name));
    const covering = this.#summaries.filter(
      ({ name, event, through = 0 }) =>
        !said.has(name) &&
        event.place?.stream === place.stream &&
        event.place.sequence <= place.sequence &&
        place.sequence <= through,
    );
    return [...own, ...covering].sort(byTime);
  }
}

function byTime(one: { readonly at: number }, next: { readonly at: number }): number {
  return one.at - next.at;
}

/** A place as people write it: {@link parsePlace} reads it. */
export function keyOf({ stream, sequence }: Place): string {
  return `${stream}:${sequence}`;
}

function push<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
