import { describeMs, roundedMs } from '../../../shared/text/duration.ts';
import { quoted } from '../../../shared/text/safeText.ts';
import { error, warning, type Finding } from '../../finding.ts';
import type { Delivery, Subscription } from './api.ts';
import { nameOf, type Step } from './plan.ts';

const APPLY = 'Run nats-event-bridge hooks apply.';
const HISTORY = "Its last deliveries say why; so does its history in the project's settings under Service hooks.";

/** What differs from the configuration, and whether Azure DevOps still posts. */
export function subscriptionFindings(steps: readonly Step[]): Finding[] {
  return steps.flatMap((step): Finding[] => {
    const about = nameOf(step);
    switch (step.action) {
      case 'create':
        return step.isBeside
          ? [error(about, step.reason, `${HISTORY} To have new events at once: ${APPLY}`)]
          : [error(about, 'it has no subscription', APPLY)];
      case 'recreate':
        return [error(about, `${step.reason}: Azure DevOps posts no events`, `${HISTORY} Then: ${APPLY}`)];
      case 'update':
        return [error(about, step.reason, APPLY)];
      case 'remove-superseded':
      case 'remove':
        return [warning(about, step.reason, APPLY)];
      case 'unchanged':
        // One that is left alone for a reason has already reported it.
        return step.wanted === undefined || step.old.status.toLowerCase() === 'enabled'
          ? []
          : [error(about, `its status is ${quoted(step.old.status)}, which the bridge doesn't know`, HISTORY)];
    }
  });
}

/** The last delivery that has ended; undefined where none has. */
export function lastDelivery(deliveries: readonly Delivery[]): Delivery | undefined {
  return deliveries.find(({ result }) => /^(succeeded|failed)$/i.test(result));
}

/** What the deliveries say about a subscription that is otherwise in order. */
export function deliveryFindings(step: Step, deliveries: readonly Delivery[]): Finding[] {
  const last = lastDelivery(deliveries);
  if (last?.result.toLowerCase() !== 'failed') return [];
  const message = last.message === '' ? '' : `: ${quoted(last.message)}`;
  const remedy =
    'Make sure Azure DevOps can reach http.publicUrl, and run nats-event-bridge check. If the bridge answers 401, run hooks apply --rotate.';
  return [error(nameOf(step), `its last delivery failed at ${new Date(last.at).toISOString()}${message}`, remedy)];
}

/** How long a subscription has posted nothing, in milliseconds: at most since its creation. Undefined when unknown. */
export function silentMs(subscription: Subscription, deliveries: readonly Delivery[], now: number): number | undefined {
  const since = lastDelivery(deliveries)?.at ?? subscription.createdAt;
  return since === undefined ? undefined : Math.max(0, now - since);
}

/** Whether nothing at all comes. One subscription may be silent for long, such as one for releases. */
export function silenceFindings(silences: readonly (number | undefined)[], afterMs: number): Finding[] {
  const known = silences.filter((ms) => ms !== undefined);
  if (known.length === 0 || known.length < silences.length) return [];
  const least = Math.min(...known);
  if (least <= afterMs) return [];
  const problem = `no subscription has posted an event for ${describeMs(roundedMs(least))}`;
  return [
    warning(
      'hooks.silenceAlarm',
      problem,
      'Check whether anything has happened in the projects, or post a test event.',
    ),
  ];
}

/** How many subscriptions of an event are in a state. */
export interface StateCount {
  /** Azure DevOps' name. */
  readonly event: string;
  readonly state: (typeof STATES)[number];
  readonly count: number;
}

/** Those of Azure DevOps; it may have others some day, and there may be none at all. */
const STATES = [
  'enabled',
  'onProbation',
  'disabledBySystem',
  'disabledByUser',
  'disabledByInactiveIdentity',
  'unknown',
  'missing',
] as const;

/** How many subscriptions there are by event and state. */
export function statesOf(steps: readonly Step[]): StateCount[] {
  const counts = new Map<string, StateCount>();
  for (const step of steps) {
    if (step.action === 'create' && step.isBeside) continue;
    const event = step.old === undefined ? step.wanted.event.eventType : step.old.eventType;
    const state = step.old === undefined ? 'missing' : (STATES.find((one) => one === step.old.status) ?? 'unknown');
    const key = `${event} ${state}`;
    counts.set(key, { event, state, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()];
}
