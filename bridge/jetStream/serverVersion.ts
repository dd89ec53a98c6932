import { error, warning, type Finding } from '../finding.ts';
import type { Nats } from '../nats.ts';
import { BRIDGE_INTENTS, BRIDGE_WAITS, namesOf } from '../names.ts';
import type { BridgeSettings } from '../settings.ts';
import type { StreamNeed } from './needs.ts';

/**
 * Servers before 2.10 that replicate a bucket let two writes of one revision both succeed, which is what leases, waits and
 * "one event, one run" rely on.
 *
 * @param needs with as many replicas as they have, or are to have
 * @throws TaskError when NATS can't be reached
 */
export async function checkServerVersion(
  settings: BridgeSettings,
  nats: Pick<Nats, 'serverVersion'>,
  needs: readonly StreamNeed[],
): Promise<Finding[]> {
  const names = namesOf(settings.instance);
  const relying = [names.of(BRIDGE_WAITS), names.of(BRIDGE_INTENTS)];
  const replicated = needs.filter(({ name, config }) => relying.includes(name) && (config.num_replicas ?? 1) > 1);
  if (replicated.length === 0) return [];
  const version = await nats.serverVersion();
  if (isSince210(version)) return [];
  return replicated.map(({ name, config }) => {
    const problem = `with ${config.num_replicas ?? 1} replicas on nats-server ${version}, two writes at the same time can both succeed: a run can start twice, and the end of a wait be lost`;
    return error(
      `bucket ${name}`,
      problem,
      `Upgrade all servers to nats-server 2.10 or later; or have one replica: streams.replicas: 1, and nats stream edit ${config.name} --replicas 1.`,
    );
  });
}

/** Servers before 2.10 don't tell a user's permissions. Undefined if they do, or if NATS can't be reached. */
export async function checkTellsPermissions(nats: Pick<Nats, 'serverVersion'>): Promise<Finding | undefined> {
  const version = await versionBefore210(nats);
  if (version === undefined) return undefined;
  return warning(
    'permissions of the user',
    `unneeded permissions can't be checked: nats-server ${version} doesn't report them`,
    'Compare them with what nats-event-bridge setup prints, or upgrade to nats-server 2.10 or later.',
  );
}

/** Servers before 2.10 have no auth callout. Undefined if they have it, or if NATS can't be reached. */
export async function checkHasCallout(nats: Pick<Nats, 'serverVersion'>): Promise<Finding | undefined> {
  const version = await versionBefore210(nats);
  if (version === undefined) return undefined;
  const problem = `nats-server ${version} has no auth callout, so no server asks this bridge`;
  return error('callout', problem, 'Upgrade all servers to nats-server 2.10 or later.');
}

async function versionBefore210(nats: Pick<Nats, 'serverVersion'>): Promise<string | undefined> {
  const version = await nats.serverVersion().catch(() => '');
  return version === '' || isSince210(version) ? undefined : version;
}

function isSince210(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 10);
}
