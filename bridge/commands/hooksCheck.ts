import { TaskError } from '../../shared/errors.ts';
import { describeMs, roundedMs } from '../../shared/text/duration.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { describeFinding, warning, type Finding } from '../finding.ts';
import type { Delivery, SubscriptionsApi } from '../hooks/subscriptions/api.ts';
import {
  deliveryFindings,
  lastDelivery,
  silenceFindings,
  silentMs,
  subscriptionFindings,
} from '../hooks/subscriptions/check.ts';
import type { Owner } from '../hooks/subscriptions/find.ts';
import type { Step } from '../hooks/subscriptions/plan.ts';
import type { World } from '../world.ts';
import { FACT_COLUMNS, factsOf, printJson, printTable, tally } from './subscriptionRows.ts';

/** A subscription and its deliveries. */
interface Seen {
  readonly step: Step;
  /** Undefined when there is no subscription, or they can't be read. */
  readonly deliveries: readonly Delivery[] | undefined;
}

/**
 * Prints the state of the subscriptions, and every problem once with its fix.
 *
 * @returns the exit code: 0 when there are only warnings
 */
export async function checkHooks(
  steps: readonly Step[],
  owner: Owner,
  api: SubscriptionsApi,
  json: boolean,
  world: World,
): Promise<number> {
  const findings: Finding[] = [...subscriptionFindings(steps)];
  const seen: Seen[] = [];
  for (const step of steps) {
    const deliveries = await deliveriesOf(step, api, findings);
    seen.push({ step, deliveries });
    if (step.old?.status === 'enabled') findings.push(...deliveryFindings(step, deliveries ?? []));
  }
  const now = world.now();
  const silences = seen.flatMap((one) => (one.deliveries === undefined ? [] : [silenceOf(one, now)]));
  findings.push(...silenceFindings(silences, owner.hooks.silenceAlarmMs));
  const problems = [...new Map(findings.map((finding) => [describeFinding(finding), finding])).values()];

  const rows = seen.map((one) => rowOf(one, now));
  if (json) printJson({ subscriptions: rows, problems }, world);
  else
    printTable(
      rows,
      [
        ['STATUS', ({ status }) => status],
        ...FACT_COLUMNS,
        ['LAST DELIVERY', ({ last, at, message }) => [last, at, message].filter(Boolean).join(' ')],
        ['SILENT FOR', ({ silent }) => silent],
      ],
      world,
    );
  for (const finding of problems) world.err(`${safeText(`${finding.level}: ${describeFinding(finding)}`)}\n`);
  const errors = problems.filter(({ level }) => level === 'error').length;
  const states = tally(rows.map(({ status }) => status)) || 'There are no subscriptions, and none is asked for';
  world.err(`${safeText(states)}; ${errors === 0 ? 'no' : errors} ${errors === 1 ? 'problem' : 'problems'}.\n`);
  return errors === 0 ? 0 : 1;
}

/** Notes why deliveries can't be read. */
async function deliveriesOf(
  { old }: Step,
  api: SubscriptionsApi,
  findings: Finding[],
): Promise<readonly Delivery[] | undefined> {
  if (old === undefined) return undefined;
  try {
    return await api.deliveries(old.id);
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    findings.push(warning('deliveries', error.problem, error.remedy));
    return undefined;
  }
}

function silenceOf({ step, deliveries = [] }: Seen, now: number): number | undefined {
  return step.old === undefined ? undefined : silentMs(step.old, deliveries, now);
}

function rowOf(seen: Seen, now: number) {
  const { step, deliveries } = seen;
  const last = lastDelivery(deliveries ?? []);
  const silent = deliveries === undefined ? undefined : silenceOf(seen, now);
  return {
    status: step.old?.status ?? 'missing',
    ...factsOf(step),
    /** Of the last delivery. */
    last: last?.result ?? (step.old !== undefined && deliveries === undefined ? 'unknown' : 'none'),
    at: last === undefined ? '' : new Date(last.at).toISOString(),
    message: last?.message ?? '',
    silent: silent === undefined ? '' : describeMs(roundedMs(silent)),
  };
}
