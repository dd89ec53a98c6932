import type { Route } from '../http/route.ts';
import type { AcceptOptions } from './accept.ts';
import type { Done } from './answering.ts';
import { BUCKET, prove, type ProvenCall } from './entry.ts';
import { bucketKey, cancelled } from './record.ts';
import { taskRoute, type TaskRouteOptions } from './taskRoute.ts';

export type CancelOptions = TaskRouteOptions & Pick<AcceptOptions, 'store' | 'caller' | 'now'>;

/** Retries when others write to the same record. */
const MOST_TRIES = 5;

/** `POST /v1/waits/cancel`: answers 200 to any caller that proves the plan, once the wait is decided or can no longer begin. */
export function cancelRoute(options: CancelOptions): Route {
  return taskRoute('/v1/waits/cancel', options, async ({ claim, waitsFor }, signal) => {
    const proven = await prove(claim, options.caller, signal, waitsFor);
    waitsFor(BUCKET);
    return cancel(options, proven, signal);
  });
}

async function cancel({ store, now }: CancelOptions, { key, call }: ProvenCall, signal: AbortSignal): Promise<Done> {
  const done = (outcome: string, rule?: number): Done => ({
    answer: { status: 200, body: { key: bucketKey(key) } },
    outcome,
    name: rule === undefined ? 'none' : `rule-${rule}`,
  });
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const stored = await store.get(key);
    signal.throwIfAborted();
    if (stored === undefined) {
      const tombstone = { state: 'tombstone', at: now() } as const;
      // The call it cancels may be under way.
      if ((await store.create({ key, planUrl: call.planUrl, state: tombstone })) !== undefined)
        return done('tombstone');
      continue;
    }
    const { state } = stored.record;
    if (state.state === 'tombstone') {
      if ((await store.update(stored, { ...state, at: now() })) !== undefined) return done('tombstone');
      continue;
    }
    const { rule } = state.call.owner;
    if (state.state !== 'waiting') return done('over', rule);
    const ended = cancelled({ ...state.call, token: call.token }, state.progress, now());
    if ((await store.update(stored, ended)) !== undefined) return done('cancelled', rule);
  }
  throw new Error('the record of the wait keeps changing');
}
