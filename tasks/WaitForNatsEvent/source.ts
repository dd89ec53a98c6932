import type { Bus } from '../../shared/bus.ts';
import type { EventSource } from '../../shared/waiting/wait.ts';
import type { WaitRequest } from './inputs.ts';

/** The events of a request: of its stream, or of core NATS. */
export function eventSource(request: WaitRequest, openBus: () => Promise<Bus>, signal: AbortSignal): EventSource {
  const { delivery, subjects, stream, start } = request;
  let bus: Bus | undefined;
  const connect = async () => (bus ??= await openBus());
  return {
    start: delivery === 'core' ? { from: 'now' } : start,
    connect,
    read: async (events) =>
      delivery === 'core'
        ? (await connect()).subscribeCore(subjects, events, signal)
        : (await connect()).readStream({ subjects, stream, start }, events, signal),
    close: async () => bus?.close(),
  };
}
