import { probablyMeant } from '../shared/text/nearest.ts';
import { quoted } from '../shared/text/safeText.ts';
import { checkAzureDevOps } from './azureDevOps/check.ts';
import type { AzureDevOps } from './azureDevOps/client.ts';
import { checkCallout } from './callout/check.ts';
import { strangersIn } from './callout/publishers.ts';
import { readContracts, warningsOf } from './config/contracts.ts';
import { error, warning, type Finding } from './finding.ts';
import { EVENT_NAMES } from './hooks/families.ts';
import { checkFeeds } from './hooks/feeds/check.ts';
import { checkPipelines } from './runs/check.ts';
import type { BridgeSettings } from './settings.ts';

const SHORTEST_PASSWORD = 16;

/** What the files themselves say. */
export async function checkFiles(settings: BridgeSettings): Promise<Finding[]> {
  const { contracts, findings: unusable } = await readContracts(settings);
  const findings: Finding[] = [...unusable, ...warningsOf(contracts)];
  for (const { label, value } of [...(settings.hooks?.passwords ?? []), ...(settings.waits?.tokens ?? [])])
    if (value.length < SHORTEST_PASSWORD)
      findings.push(warning(label, `it has fewer than ${SHORTEST_PASSWORD} characters`, 'Use a long random text.'));
  if (settings.hooks?.events.length === 0 && settings.hooks.feeds.length === 0)
    findings.push(
      warning('hooks.events', 'it is empty, so every hook becomes a dead letter', 'List the events that may come.'),
    );
  findings.push(...checkPublishers(settings));
  if (settings.waits?.rules.length === 0)
    findings.push(warning('waits.rules', 'it is empty, so nobody may wait', 'Say who may wait on what.'));
  for (const [index, { event }] of (settings.hooks?.events ?? []).entries())
    if (!EVENT_NAMES.includes(event)) {
      const meant = probablyMeant(event, EVENT_NAMES);
      const remedy = meant === undefined ? 'Check its name.' : `Did you mean ${quoted(meant)}?`;
      const problem = `the bridge knows no event "${event}", so it would be stored as other.<event>`;
      findings.push(warning(`hooks.events[${index}].event`, problem, remedy));
    }
  return findings;
}

/** Whether the publisher that events name is proven when no signature proves it. */
function checkPublishers({ publisherPolicy, runs }: BridgeSettings): Finding[] {
  if (publisherPolicy === undefined) return [];
  const trusting = runs.filter(
    ({ publishers, criteria }) => publishers.length > 0 && criteria.trustedKeys === undefined,
  );
  return trusting.flatMap((route) =>
    strangersIn(publisherPolicy.current, route).map((stranger) =>
      error(
        `route ${route.name}`,
        `its publishers aren't proven: ${stranger}`,
        'Bind that rule to the publisher by its sub or by {project} in the subject, or add trustedKeys to the route.',
      ),
    ),
  );
}

/**
 * Problems of a configuration and of everything it names.
 *
 * @param checkNats what is found about NATS
 */
export async function checkAll(
  settings: BridgeSettings,
  checkNats: () => Promise<readonly Finding[]>,
  azureDevOps: AzureDevOps,
  now: () => number,
): Promise<Finding[]> {
  if (settings.callout !== undefined) {
    const found = await Promise.all([checkFiles(settings), checkNats(), checkCallout(settings.callout, settings, now)]);
    return found.flat();
  }
  const [files, inNats, identity] = await Promise.all([
    checkFiles(settings),
    checkNats(),
    checkAzureDevOps(azureDevOps, settings.hooks?.events ?? []),
  ]);
  // Without a sign-in, each feed and route would report the same.
  if (identity.length > 0) return [...files, ...inNats, ...identity];
  const feeds = await checkFeeds(settings.hooks?.feeds ?? [], azureDevOps);
  const pipelines = await checkPipelines(settings, azureDevOps, now);
  return [...files, ...inNats, ...feeds, ...pipelines];
}
