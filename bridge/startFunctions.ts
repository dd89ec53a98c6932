import { auditOf } from './audit/audit.ts';
import type { Functions, Parts } from './functions.ts';
import { startCallout } from './callout/callout.ts';
import type { KnownKeys } from './callout/keySets.ts';
import { startHooks } from './hooks/hooks.ts';
import { startRuns } from './runs/runs.ts';
import { JetStream } from './jetStream/api.ts';
import { plansOf, startWaits } from './waits/waits.ts';

/**
 * Starts what a configuration turns on.
 *
 * @param version the bridge's own
 * @param knownKeys keys of issuers, kept for the life of the process
 */
export function startFunctions(parts: Parts, version: string, knownKeys: KnownKeys): Functions {
  const { settings, nats, azureDevOps, metrics } = parts;
  const { hooks, waits, callout } = settings;
  const audit = auditOf(parts, version);
  const jetStream = new JetStream(nats, settings.nats().jetStreamDomain, settings.timing.jetStream);
  metrics.forgetRoutes();
  const started = [
    ...(hooks === undefined ? [] : [startHooks(hooks, parts, audit, jetStream)]),
    ...(settings.runs.length === 0 ? [] : [startRuns(parts, audit, jetStream)]),
    ...(waits === undefined ? [] : [startWaits(waits, parts, plansOf(waits, azureDevOps), audit, jetStream, version)]),
    ...(callout === undefined ? [] : [startCallout(callout, parts, audit, knownKeys)]),
  ];
  return {
    routes: started.flatMap(({ routes }) => routes),
    throttle: () => started.map(({ throttle }) => throttle?.()).find((pause) => pause !== undefined),
    routesDown: () => new Map(started.flatMap(({ routesDown }) => [...(routesDown?.() ?? [])])),
    hooksTrouble: async () => started.find((one) => one.hooksTrouble !== undefined)?.hooksTrouble?.(),
    feeds: () => started.flatMap(({ feeds }) => feeds?.() ?? []),
    waits: () => started.map((one) => one.waits?.()).find((status) => status !== undefined),
    callout: () => started.map(({ callout }) => callout?.()).find((status) => status !== undefined),
    stop: async (drained) => {
      await Promise.all(started.map((one) => one.stop(drained)));
      await audit.deadLetters.close();
    },
  };
}
