import { auditOf } from './audit/audit.ts';
import type { Functions, Parts } from './functions.ts';
import { startHooks } from './hooks/hooks.ts';
import { startRuns } from './runs/runs.ts';
import { JetStream } from './jetStream/api.ts';
import { plansOf, startWaits } from './waits/waits.ts';

/**
 * Starts what a configuration turns on.
 *
 * @param version the bridge's own
 */
export function startFunctions(parts: Parts, version: string): Functions {
  const { settings, nats, azureDevOps } = parts;
  const { hooks, waits } = settings;
  const audit = auditOf(parts, version);
  const jetStream = new JetStream(nats, settings.nats().jetStreamDomain, settings.timing.jetStream);
  const started = [
    ...(hooks === undefined ? [] : [startHooks(hooks, parts, audit, jetStream)]),
    ...(settings.runs.length === 0 ? [] : [startRuns(parts, audit, jetStream)]),
    ...(waits === undefined ? [] : [startWaits(waits, parts, plansOf(waits, azureDevOps), audit, jetStream, version)]),
  ];
  return {
    routes: started.flatMap(({ routes }) => routes),
    throttle: () => started.map(({ throttle }) => throttle?.()).find((pause) => pause !== undefined),
    feeds: () => started.flatMap(({ feeds }) => feeds?.() ?? []),
    areWaitsKnown: () => started.map((one) => one.areWaitsKnown?.()).find((areKnown) => areKnown !== undefined),
    stop: async (drained) => {
      await Promise.all(started.map((one) => one.stop(drained)));
      await audit.deadLetters.close();
    },
  };
}
