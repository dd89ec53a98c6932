import { reasonOf } from '../../shared/errors.ts';
import type { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { interruptible, isInterruption } from '../../shared/text/interruptible.ts';
import { exactJson } from '../../shared/text/json.ts';
import { EVENT_ID_PARAMETER } from '../config/runs.ts';
import type { ParameterSettings, RouteSettings } from '../settings.ts';

/** For all parameters of one event: anyone who may publish chooses the input of expressions and patterns. */
const LIMIT_MS = 100;
/** A route judges an event only once, so one interrupted call isn't enough to refuse it. */
export const CALLS = 2;

/** A pipeline's parameters for one event, or why there are none: a clause that doesn't show the values. */
export type ReadParameters = { readonly values: Readonly<Record<string, string>> } | { readonly problem: string };

/** For an event without an id that is in no stream. */
export const NO_EVENT_ID = ':0';

/** What identifies an event: its id, otherwise the message's, otherwise its place. */
export function eventIdOf({ messageId, place }: ReceivedEvent): string {
  return messageId || (place === undefined ? NO_EVENT_ID : `${place.stream}:${place.sequence}`);
}

/** The values of a route's parameters, each of which fits its pattern. */
export function parametersOf(
  { parameters, eventId }: Pick<RouteSettings, 'parameters' | 'eventId'>,
  event: ReceivedEvent,
  passesEventId: boolean,
): ReadParameters {
  let doing = '';
  const read = () => {
    const values: Record<string, string> = {};
    for (const parameter of parameters) {
      doing = parameter.name;
      const value = textOf(parameter, event);
      if (!parameter.pattern.test(value)) return { problem: outside(parameter) };
      values[parameter.name] = value;
    }
    doing = EVENT_ID_PARAMETER;
    if (passesEventId && !eventId.pattern.test(eventIdOf(event)))
      return { problem: outside({ name: EVENT_ID_PARAMETER, pattern: eventId.pattern }) };
    return { values };
  };
  try {
    return interruptible(read, LIMIT_MS, CALLS);
  } catch (error) {
    const why = isInterruption(error) ? `takes longer than ${LIMIT_MS} ms` : `can't be computed: ${reasonOf(error)}`;
    return { problem: `the parameter ${doing} ${why}` };
  }
}

function textOf({ expression }: ParameterSettings, { view }: ReceivedEvent): string {
  const value = expression.evaluate(view) ?? '';
  return typeof value === 'string' ? value : exactJson(value);
}

function outside({ name, pattern }: Pick<ParameterSettings, 'name' | 'pattern'>): string {
  return `the value of the parameter ${name} doesn't fit its pattern ${pattern.source}`;
}
