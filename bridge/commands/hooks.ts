import { TaskError } from '../../shared/errors.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { auditOf } from '../audit/audit.ts';
import { AzureDevOps } from '../azureDevOps/client.ts';
import { describeFinding } from '../finding.ts';
import { SubscriptionsApi } from '../hooks/subscriptions/api.ts';
import { applyPlan, type StepResult } from '../hooks/subscriptions/apply.ts';
import { Calls, describePause } from '../hooks/subscriptions/calls.ts';
import { findSubscriptions, managerOf, ownerOf, ownSubscriptions, type Owner } from '../hooks/subscriptions/find.ts';
import { planSubscriptions, type Step } from '../hooks/subscriptions/plan.ts';
import { Metrics } from '../metrics.ts';
import type { BridgeSettings, Secret } from '../settings.ts';
import type { World } from '../world.ts';
import { checkHooks } from './hooksCheck.ts';
import { configurationOf, withSession, type Session } from './session.ts';
import { FACT_COLUMNS, factsOf, inputsText, printJson, printTable, tally } from './subscriptionRows.ts';

export type HooksCommand =
  | { readonly kind: 'plan' | 'check'; readonly json: boolean }
  | { readonly kind: 'apply'; readonly rotate: boolean; readonly reason: string; readonly json: boolean }
  | { readonly kind: 'remove'; readonly reason: string; readonly json: boolean };

/** What a command about subscriptions works with. */
interface Work {
  readonly settings: BridgeSettings;
  readonly owner: Owner;
  readonly api: SubscriptionsApi;
  readonly world: World;
}

/**
 * Plans, applies, checks or removes the service hook subscriptions.
 *
 * @returns the exit code
 */
export async function hooks(command: HooksCommand, file: string, world: World): Promise<number> {
  const { settings } = configurationOf(file, world);
  const owner = ownerOf(settings);
  const now = () => world.now();
  const { timing } = settings;
  const metrics = new Metrics();
  const azureDevOps = new AzureDevOps({ settings: managerOf(settings), timing, metrics, version: world.version, now });
  const onPause = (ms: number, why: string) => world.err(`${safeText(describePause(ms, why))}\n`);
  const api = new SubscriptionsApi(new Calls({ azureDevOps, timing, now, onPause }));
  const work = { settings, owner, api, world };
  try {
    switch (command.kind) {
      case 'plan':
        return await plan(command.json, work);
      case 'check': {
        const steps = await stepsOf(work, false, NOTHING.check);
        return steps === undefined ? 1 : await checkHooks(steps, owner, api, command.json, world);
      }
      case 'apply':
        return await withSession(settings, world, (session) => apply(command, session, work));
      case 'remove':
        return await withSession(settings, world, (session) => remove(command, session, work));
    }
  } finally {
    await azureDevOps.close();
  }
}

/** What hasn't happened when Azure DevOps can't be asked. */
const NOTHING = {
  plan: 'There is no plan, and nothing was changed',
  check: 'Nothing was checked',
  change: 'Nothing was changed',
};

/** Says what hasn't happened if the first questions to Azure DevOps fail. */
async function orSay<Value>(asked: Promise<Value>, nothing: string, world: World): Promise<Value> {
  return asked.catch((error: unknown) => {
    world.err(`${nothing}, since a question to Azure DevOps failed.\n`);
    throw error;
  });
}

/** @returns undefined when the configuration asks for the impossible; the problems are then printed */
async function stepsOf(
  { owner, api, world }: Work,
  rotate: boolean,
  nothing: string,
): Promise<readonly Step[] | undefined> {
  const found = await orSay(findSubscriptions(api, owner), nothing, world);
  if (found.problems.length === 0) return planSubscriptions({ ...found, ...owner, rotate });
  for (const problem of found.problems) world.err(`${safeText(describeFinding(problem))}\n`);
  return undefined;
}

async function plan(json: boolean, work: Work): Promise<number> {
  const { world } = work;
  const steps = await stepsOf(work, false, NOTHING.plan);
  if (steps === undefined) return 1;
  const rows = steps.map((step) => ({ action: step.action, ...factsOf(step), reason: step.reason }));
  if (json) printJson({ subscriptions: rows }, world);
  else
    printTable(rows, [['ACTION', ({ action }) => action], ...FACT_COLUMNS, ['REASON', ({ reason }) => reason]], world);
  world.err(`${tally(rows.map(({ action }) => action)) || 'There are no subscriptions, and none is asked for'}.\n`);
  return 0;
}

async function apply(
  { rotate, reason, json }: Extract<HooksCommand, { kind: 'apply' }>,
  session: Session,
  work: Work,
): Promise<number> {
  const steps = await stepsOf(work, rotate, NOTHING.change);
  return steps === undefined ? 1 : carryOut(steps, { name: 'hooks-apply', reason, json, rotate }, session, work);
}

async function remove(
  { reason, json }: Extract<HooksCommand, { kind: 'remove' }>,
  session: Session,
  work: Work,
): Promise<number> {
  const existing = await orSay(ownSubscriptions(work.api, work.owner), NOTHING.change, work.world);
  const steps = existing.map((old): Step => ({ action: 'remove', old, reason: 'all of this bridge are removed' }));
  return carryOut(steps, { name: 'hooks-remove', reason, json, rotate: false }, session, work);
}

/** What a person has ordered. */
interface Order {
  readonly name: 'hooks-apply' | 'hooks-remove';
  readonly reason: string;
  readonly rotate: boolean;
  readonly json: boolean;
}

/** Carries out the plan, and prints the results. */
async function carryOut(steps: readonly Step[], order: Order, session: Session, work: Work): Promise<number> {
  const { world } = work;
  const changes = steps.filter(({ action }) => action !== 'unchanged');
  const results = changes.length === 0 ? [] : await ordered(changes, order, session, work);
  const rows = results.map(({ step, result, id, detail }) => ({
    result,
    action: step.action,
    ...factsOf(step),
    subscription: id,
    reason: detail || step.reason,
  }));
  if (order.json) printJson({ subscriptions: rows }, world);
  else
    printTable(
      rows,
      [
        ['RESULT', ({ result }) => result],
        ['ACTION', ({ action }) => action],
        ...FACT_COLUMNS,
        ['REASON', ({ reason }) => reason],
      ],
      world,
    );
  return tellResults(results, steps.length - changes.length, order, work);
}

/** Carries it out, with a note in the audit stream before and after. */
async function ordered(
  changes: readonly Step[],
  { name, reason, rotate }: Order,
  session: Session,
  { settings, owner, api, world }: Work,
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const { decisions, deadLetters } = auditOf({ ...session, settings, now: () => world.now() }, world.version);
  const order = { function: 'orders', name, user: world.user, reason } as const;
  // Nothing happens on a person's behalf that can't be looked up later.
  const followed = { url: owner.url, changes: changes.length, ...(rotate ? { rotate: 'true' } : {}) };
  await decisions.order({ ...order, decision: 'ordered', followed });
  const onResult = async (result: StepResult) => {
    results.push(result);
    const { step, id, detail } = result;
    if (detail !== '') world.err(`${safeText(`${result.result}: ${detail}`)}\n`);
    if (result.result === 'left') return;
    const facts = factsOf(step);
    const replaced = step.action === 'recreate' ? { replaced: step.old.id } : {};
    await decisions.note({
      ...order,
      decision: result.result === 'failed' ? 'failed' : PAST[step.action],
      ...(detail === '' ? {} : { reason: detail }),
      followed: { ...facts, inputs: inputsText(facts.inputs), subscription: id, ...replaced },
    });
  };
  await applyPlan(changes, { ...owner, api, secret: newestSecret(owner), onResult });
  await deadLetters.close();
  return results;
}

/** What to call a completed step. */
const PAST: Readonly<Record<Step['action'], string>> = {
  create: 'created',
  recreate: 'recreated',
  update: 'updated',
  'remove-superseded': 'removed',
  remove: 'removed',
  unchanged: 'unchanged',
};

function tellResults(results: readonly StepResult[], unchanged: number, order: Order, { world, owner }: Work): number {
  if (results.length === 0) {
    const isRemoval = order.name === 'hooks-remove';
    const nothing = isRemoval ? `no subscription posts to ${owner.url}` : `${unchanged} unchanged`;
    world.err(`${safeText(`There is nothing to do: ${nothing}`)}.\n`);
    return 0;
  }
  const words = results.map(({ step, result }) => (result === 'done' ? PAST[step.action] : result));
  const isDone = results.every(({ result }) => result === 'done');
  const rest = unchanged === 0 ? '' : `, ${unchanged} unchanged`;
  world.err(`${tally(words)}${rest}.${isDone ? '' : ' Run the command again to do the rest.'}\n`);
  return isDone ? 0 : 1;
}

function newestSecret({ hooks: { passwords } }: Owner): Secret {
  const [newest] = passwords;
  if (newest === undefined) throw new TaskError('InvalidInput', 'hooks has no secret', 'Set hooks.passwordFiles.');
  return newest;
}
