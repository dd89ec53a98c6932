import type { Bus } from '../../shared/bus.ts';
import type { EventSource } from '../../shared/waiting/wait.ts';
import type { WaitRequest } from './inputs.ts';

/** The events of a request: of its stream, or of core NATS. */
export function eventSource(request: WaitRequest, openBus: () => Promise<Bus>, signal: AbortSignal): EventSource {
  const { delivery, subjects, stream, start } = request;
  let bus: Bus | undefined;
  const connected = async () => (bus ??= await openBus());
  return {
    startFrom: describeStart(request),
    connect: async () => {
      await connected();
    },
    read: async (events) =>
      delivery === 'core'
        ? (await connected()).subscribeCore(subjects, events, signal)
        : (await connected()).readStream({ subjects, stream, start }, events, signal),
    close: async () => {
      await bus?.close();
    },
  };
}

function describeStart({ delivery, start }: WaitRequest): string {
  if (delivery === 'core' || start.from === 'now') return 'now';
  if (start.from === 'sequence') return `after sequence ${start.after}`;
  return start.from === 'time' ? new Date(start.at).toISOString() : start.from;
}
