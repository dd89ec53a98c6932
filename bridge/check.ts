import { TaskError } from '../shared/errors.ts';
import { loadContract } from '../shared/contract/load.ts';
import { checkAzureDevOps } from './azureDevOps/check.ts';
import type { AzureDevOps } from './azureDevOps/client.ts';
import { error, warning, type Finding } from './finding.ts';
import { KNOWN_EVENTS } from './hooks/families.ts';
import type { JetStream } from './jetStream/api.ts';
import { NatsCheck } from './jetStream/check.ts';
import type { Nats } from './nats.ts';
import type { BridgeSettings } from './settings.ts';

const SHORTEST_PASSWORD = 16;
/** Azure DevOps' names of events, and the bridge's own. */
const EVENT_NAMES = new Set(
  [...KNOWN_EVENTS].flatMap(([event, { name }]) => [
    event,
    ...(typeof name === 'string' ? [name] : Object.values(name.names)),
  ]),
);

/** What the files themselves say. */
export async function checkFiles(settings: BridgeSettings): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [name, file] of Object.entries(settings.contracts)) {
    try {
      await loadContract(file);
    } catch (thrown) {
      if (!(thrown instanceof TaskError)) throw thrown;
      findings.push(error(`contracts.${name}`, thrown.problem, thrown.remedy));
    }
  }
  for (const { label, value } of settings.hooks?.passwords ?? [])
    if (value.length < SHORTEST_PASSWORD)
      findings.push(warning(label, `it has fewer than ${SHORTEST_PASSWORD} characters`, 'Use a long random text.'));
  if (settings.hooks?.events.length === 0)
    findings.push(
      warning('hooks.events', 'it is empty, so every hook becomes a dead letter', 'List the events that may come.'),
    );
  for (const [index, { event }] of (settings.hooks?.events ?? []).entries())
    if (!EVENT_NAMES.has(event)) {
      const problem = `the bridge knows no event "${event}", so it would be stored as other.<event>`;
      findings.push(warning(`hooks.events[${index}].event`, problem, 'Check its name.'));
    }
  return findings;
}

/**
 * What is wrong with a configuration and with what it names.
 *
 * @param withNeedless see {@link NatsCheck}
 */
export async function checkAll(
  settings: BridgeSettings,
  nats: Nats,
  jetStream: JetStream,
  azureDevOps: AzureDevOps,
  withNeedless: boolean,
): Promise<Finding[]> {
  const findings = await Promise.all([
    checkFiles(settings),
    new NatsCheck(settings, nats, jetStream).findings(withNeedless),
    checkAzureDevOps(azureDevOps, settings.hooks?.events ?? []),
  ]);
  return findings.flat();
}
