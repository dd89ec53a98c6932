import type { ReceivedMessage } from '../../shared/bus.ts';
import { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { interruptible, isInterruption } from '../../shared/text/interruptible.ts';
import type { Judge, JudgedEvent } from '../../shared/waiting/judge.ts';
import { EVENT_MS, type OpenWait } from './openWait.ts';
import { TURN_MS } from './turn.ts';

/** How an event is judged for the first of some waits. */
export interface Together {
  /** For as many as fit a turn, in their order; undefined: to be found out by the wait itself. */
  readonly assessed: readonly (JudgedEvent | undefined)[];
  /** The next one took so long that it was interrupted. */
  readonly isInterrupted: boolean;
}

/**
 * Judges an event for several waits in one interruptible call and from one reading of the event, as both cost more
 * than most expressions do. Whatever is slow costs the others one interruption.
 *
 * @param now milliseconds since the epoch
 */
export function assessTogether(waits: readonly OpenWait[], message: ReceivedMessage, now: () => number): Together {
  const judges: (Judge | undefined)[] = [];
  const until = now() + TURN_MS;
  // Outside of the call, as it may have to read the wait's inputs first.
  for (const wait of waits) {
    judges.push(wait.judgeFor(message));
    if (now() >= until) break;
  }
  const event = new ReceivedEvent(message);
  const assessed: (JudgedEvent | undefined)[] = [];
  let isInterrupted = false;
  try {
    interruptible(() => {
      for (const judge of judges) {
        assessed.push(judge?.assessUnlimited(event));
        if (now() >= until) break;
      }
    }, EVENT_MS);
  } catch (error) {
    if (isInterruption(error)) isInterrupted = true;
    // It has to tell this by itself.
    else assessed.push(undefined);
  } finally {
    for (const judge of judges) judge?.tellWarnings();
  }
  return { assessed, isInterrupted };
}
