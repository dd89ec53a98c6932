import { TaskError } from '../../../shared/errors.ts';
import { knownSecrets } from '../../../shared/text/masker.ts';
import type { Secret } from '../../settings.ts';
import { projectPassword } from '../signIn.ts';
import type { Subscription, SubscriptionsApi } from './api.ts';
import { CallError } from './calls.ts';
import { bodyOf, nameOf, type Step, type Target } from './plan.ts';
import type { Wanted } from './wanted.ts';

/** The outcome of a step. */
export interface StepResult {
  readonly step: Step;
  /** `left`: it wasn't tried. */
  readonly result: 'done' | 'failed' | 'left';
  /** The resulting subscription, or the removed one; empty when none is known. */
  readonly id: string;
  /** Why it failed or was left, in sentences; empty when done. */
  readonly detail: string;
}

export interface ApplyOptions extends Target {
  readonly api: SubscriptionsApi;
  /** The newest secret, which the passwords are derived from. */
  readonly secret: Secret;
  /** Called with each result as it arrives. */
  readonly onResult: (result: StepResult) => Promise<void>;
}

/**
 * Carries out a plan: what is missing comes first and what is superseded goes last, so that no event is lost in between. A
 * step that fails doesn't keep the others from being done, unless they would fail in the same way.
 */
export async function applyPlan(steps: readonly Step[], options: ApplyOptions): Promise<void> {
  const removals = steps.filter(isRemoval);
  const others = steps.filter((step) => !isRemoval(step) && step.action !== 'unchanged');
  const results: StepResult[] = [];
  let obstacle = '';
  for (const step of [...others, ...removals]) {
    // A superseded subscription may be the only one that still brings these events.
    if (obstacle === '' && isRemoval(step) && results.some(isGap))
      obstacle = 'It is removed once all others are in place.';
    const result =
      obstacle === '' ? await carryOut(step, options, (why) => (obstacle = why)) : resultOf(step, 'left', obstacle);
    results.push(result);
    await options.onResult(result);
  }
}

function isRemoval({ action }: Step): boolean {
  return action === 'remove-superseded' || action === 'remove';
}

function isGap({ step, result }: StepResult): boolean {
  return result !== 'done' && !isRemoval(step);
}

/** @param onObstacle called when further steps would fail in the same way */
async function carryOut(step: Step, options: ApplyOptions, onObstacle: (why: string) => void): Promise<StepResult> {
  let id = step.old?.id ?? '';
  try {
    const name = nameOf(step);
    switch (step.action) {
      case 'create':
      case 'recreate':
        id = await create(step.wanted, step.old, `Creating ${name}`, options);
        if (step.old !== undefined) await options.api.remove(step.old.id, `Removing the disabled ${name}`);
        break;
      case 'update': {
        const body = bodyOf(step.wanted, options, passwordOf(step.wanted, options), step.old, false);
        await options.api.replace(id, body, `Updating ${name}`);
        break;
      }
      case 'remove-superseded':
      case 'remove':
        await options.api.remove(id, `Removing ${name}`);
        break;
      case 'unchanged':
        break;
    }
    return { step, result: 'done', id, detail: '' };
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    if (error instanceof CallError && error.isOfAll) onObstacle('It would fail for the same reason.');
    return { step, result: 'failed', id, detail: error.message };
  }
}

function resultOf(step: Step, result: 'left', detail: string): StepResult {
  return { step, result, id: step.old?.id ?? '', detail };
}

function create(wanted: Wanted, old: Subscription | undefined, what: string, options: ApplyOptions): Promise<string> {
  return options.api.create(bodyOf(wanted, options, passwordOf(wanted, options), old, true), what);
}

function passwordOf({ project }: Wanted, { secret }: ApplyOptions): string {
  const password = projectPassword(secret.value, project.id);
  // Azure DevOps may repeat what it was sent.
  knownSecrets.add(password, secret.label);
  return password;
}
