import { auditOf } from './audit/audit.ts';
import type { Functions, Parts } from './functions.ts';
import { startHooks } from './hooks/hooks.ts';
import { JetStream } from './jetStream/api.ts';

/**
 * Starts what a configuration turns on.
 *
 * @param version the bridge's own
 */
export function startFunctions(parts: Parts, version: string): Promise<Functions> {
  const { settings, nats } = parts;
  const audit = auditOf(parts, version);
  const jetStream = new JetStream(nats, settings.nats().jetStreamDomain, settings.timing.jetStream);
  const started = settings.hooks === undefined ? [] : [startHooks(settings.hooks, parts, audit, jetStream)];
  return Promise.resolve({
    routes: started.flatMap(({ routes }) => routes),
    stop: async (drained) => {
      await Promise.all(started.map((one) => one.stop(drained)));
      await audit.deadLetters.close();
    },
  });
}
