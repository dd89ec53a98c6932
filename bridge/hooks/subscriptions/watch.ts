import { TaskError } from '../../../shared/errors.ts';
import { AzureDevOps, type AzureDevOpsOptions } from '../../azureDevOps/client.ts';
import { warning, type Finding } from '../../finding.ts';
import type { BridgeSettings } from '../../settings.ts';
import { SubscriptionsApi } from './api.ts';
import { Calls } from './calls.ts';
import { statesOf, subscriptionFindings, type StateCount } from './check.ts';
import { findSubscriptions, managerOf, ownerOf } from './find.ts';
import { planSubscriptions } from './plan.ts';

/** The state of the subscriptions at the bridge's last check. */
export type SubscriptionStates =
  | { readonly kind: 'seen'; readonly states: readonly StateCount[]; readonly findings: readonly Finding[] }
  /** Why they can't be seen: a clause. */
  | { readonly kind: 'unknown'; readonly why: string };

/** A line of the log for each, every hour. */
const MOST_FINDINGS = 20;

/**
 * Checks a running bridge's subscriptions, if it may.
 *
 * @returns undefined when it's unclear which they are, because hooks or `http.publicUrl` aren't configured
 */
export async function lookAtSubscriptions(
  settings: BridgeSettings,
  outside: Pick<AzureDevOpsOptions, 'metrics' | 'version' | 'now'>,
): Promise<SubscriptionStates | undefined> {
  if (settings.hooks === undefined || settings.http.publicUrl === undefined) return undefined;
  const { timing } = settings;
  const azureDevOps = new AzureDevOps({ ...outside, settings: managerOf(settings), timing });
  const api = new SubscriptionsApi(new Calls({ azureDevOps, timing, now: outside.now, onPause: () => {} }));
  const owner = ownerOf(settings);
  try {
    const found = await findSubscriptions(api, owner);
    const steps = planSubscriptions({ ...found, ...owner });
    const findings = [...found.problems, ...subscriptionFindings(steps)];
    return { kind: 'seen', states: statesOf(steps), findings: shortened(findings) };
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    return { kind: 'unknown', why: error.problem };
  } finally {
    await azureDevOps.close();
  }
}

function shortened(findings: readonly Finding[]): readonly Finding[] {
  if (findings.length <= MOST_FINDINGS) return findings;
  const more = `there are ${findings.length - MOST_FINDINGS} more problems with its subscriptions`;
  return [...findings.slice(0, MOST_FINDINGS), warning('hooks.events', more, 'Run nats-event-bridge hooks check.')];
}
