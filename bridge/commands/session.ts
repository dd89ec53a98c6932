import { TaskError, type Problem } from '../../shared/errors.ts';
import { AzureDevOps } from '../azureDevOps/client.ts';
import { readConfiguration, type Configuration } from '../config/configuration.ts';
import { JetStream } from '../jetStream/api.ts';
import { EventLog } from '../log.ts';
import { Metrics } from '../metrics.ts';
import type { Nats } from '../nats.ts';
import type { BridgeSettings } from '../settings.ts';
import type { World } from '../world.ts';

/** What every command but `run` works with. */
export interface Session {
  readonly nats: Nats;
  readonly jetStream: JetStream;
  readonly azureDevOps: AzureDevOps;
  readonly metrics: Metrics;
  readonly log: EventLog;
}

/**
 * Reads the configuration for a short-lived command. Throws as {@link readConfiguration} does.
 *
 * @param isOffline whether a secret that isn't here is only a warning
 */
export function configurationOf(file: string, world: World, isOffline = false): Configuration {
  const onFileTrouble = (label: string, trouble: Problem | undefined) => {
    if (trouble !== undefined) world.err(`${label} ${trouble.problem}.\n`);
  };
  return readConfiguration(file, { env: world.env, now: () => world.now(), onFileTrouble, isOffline });
}

/**
 * Connects, works, and closes.
 *
 * @throws TaskError where NATS can't be connected to
 */
export async function withSession<Result>(
  settings: BridgeSettings,
  world: World,
  work: (session: Session) => Promise<Result>,
): Promise<Result> {
  const log = new EventLog(
    (line) => world.err(line),
    () => world.now(),
  );
  const closing = new AbortController();
  const limit = setTimeout(
    () => closing.abort(new TaskError('Timeout', 'NATS did not answer in time')),
    settings.timing.connect,
  );
  // How the link comes about doesn't interest someone who asked for something else.
  const quiet = { info: () => {}, debug: () => {}, warning: (text: string) => world.err(`${text}\n`) };
  const nats = await world.openNats(() => settings.nats(), closing.signal, quiet).finally(() => clearTimeout(limit));
  const metrics = new Metrics();
  const { timing } = settings;
  const now = () => world.now();
  const azureDevOps = new AzureDevOps({ settings: settings.azureDevOps, timing, metrics, version: world.version, now });
  const jetStream = new JetStream(nats, settings.nats().jetStreamDomain, timing.jetStream);
  try {
    return await work({ nats, jetStream, azureDevOps, metrics, log });
  } finally {
    await azureDevOps.close();
    await nats.close();
  }
}
