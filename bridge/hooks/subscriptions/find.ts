import { TaskError } from '../../../shared/errors.ts';
import type { Finding } from '../../finding.ts';
import type { AzureDevOpsSettings, BridgeSettings, HooksSettings } from '../../settings.ts';
import type { Project, Subscription, SubscriptionsApi } from './api.ts';
import { hooksUrl, postsTo, type Target } from './plan.ts';
import { wantedSubscriptions, type Wanted } from './wanted.ts';

/** What identifies this bridge's subscriptions, from the configuration. */
export interface Owner extends Target {
  readonly hooks: HooksSettings;
}

/** What there is, and what there should be. */
export interface Found {
  readonly wanted: readonly Wanted[];
  /** Those of this bridge, and no other. */
  readonly existing: readonly Subscription[];
  /** Everything the identity sees. */
  readonly projects: readonly Project[];
  /** What keeps the configuration from being applied. */
  readonly problems: readonly Finding[];
}

/** @throws TaskError when the configuration doesn't say */
export function ownerOf({ hooks, http }: Pick<BridgeSettings, 'hooks' | 'http'>): Owner {
  if (hooks === undefined)
    throw new TaskError('InvalidInput', 'The configuration has no section hooks', 'List the events in hooks.events.');
  if (http.publicUrl === undefined)
    throw new TaskError(
      'InvalidInput',
      'http.publicUrl is missing, so it is unclear where Azure DevOps should post and which subscriptions belong to this bridge',
      'Set it to the address by which Azure DevOps reaches the bridge, such as https://bridge.example.com/.',
    );
  return { hooks, url: hooksUrl(http.publicUrl), user: hooks.user };
}

/** Azure DevOps as seen by the identity that manages the subscriptions. */
export function managerOf({ azureDevOps, hooks }: Pick<BridgeSettings, 'azureDevOps' | 'hooks'>): AzureDevOpsSettings {
  return { ...azureDevOps, identity: hooks?.identity ?? azureDevOps.identity };
}

/** The bridge's subscriptions among all that the identity sees. */
export async function ownSubscriptions(api: SubscriptionsApi, { url }: Target): Promise<Subscription[]> {
  return (await api.subscriptions()).filter((one) => postsTo(one, url));
}

/** Asks Azure DevOps. */
export async function findSubscriptions(api: SubscriptionsApi, owner: Owner): Promise<Found> {
  const events = await api.events();
  const projects = await api.projects();
  return {
    ...wantedSubscriptions(owner.hooks, events, projects),
    projects,
    existing: await ownSubscriptions(api, owner),
  };
}
