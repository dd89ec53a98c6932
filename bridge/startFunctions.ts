import { auditOf } from './audit/audit.ts';
import type { Functions, Parts } from './functions.ts';
import { startCallout } from './callout/callout.ts';
import type { KnownKeys } from './callout/keySets.ts';
import { startHooks } from './hooks/hooks.ts';
import { startRuns } from './runs/runs.ts';
import { JetStream } from './jetStream/api.ts';

/**
 * Starts what a configuration turns on.
 *
 * @param version the bridge's own
 * @param knownKeys of issuers, kept while the process lives
 */
export function startFunctions(parts: Parts, version: string, knownKeys: KnownKeys): Functions {
  const { settings, nats } = parts;
  const audit = auditOf(parts, version);
  const jetStream = new JetStream(nats, settings.nats().jetStreamDomain, settings.timing.jetStream);
  const started = [
    ...(settings.hooks === undefined ? [] : [startHooks(settings.hooks, parts, audit, jetStream)]),
    ...(settings.runs.length === 0 ? [] : [startRuns(parts, audit, jetStream)]),
    ...(settings.callout === undefined ? [] : [startCallout(settings.callout, parts, audit, knownKeys)]),
  ];
  return {
    routes: started.flatMap(({ routes }) => routes),
    throttle: () => started.map(({ throttle }) => throttle?.()).find((pause) => pause !== undefined),
    feeds: () => started.flatMap(({ feeds }) => feeds?.() ?? []),
    callout: () => started.map(({ callout }) => callout?.()).find((status) => status !== undefined),
    stop: async (drained) => {
      await Promise.all(started.map((one) => one.stop(drained)));
      await audit.deadLetters.close();
    },
  };
}
