import type { HookEventSettings } from '../settings.ts';
import { textsAt } from './bodyPath.ts';
import type { Input } from './families.ts';
import type { Hook } from './hook.ts';

/** The entries of `hooks.events` that a hook may belong to, whatever its project. */
export function entriesFor(hook: Hook, entries: readonly HookEventSettings[]): readonly HookEventSettings[] {
  return entries.filter(
    (entry) =>
      isNamed(hook, entry) && Object.entries(entry.inputs).every(([name, filter]) => takes(hook, name, filter)),
  );
}

/** Whether an entry is for the event of a hook, whatever its inputs. */
export function isNamed(hook: Hook, { event }: Pick<HookEventSettings, 'event'>): boolean {
  return event === hook.eventType || event === hook.name;
}

/** Whether one of the entries is for this project. */
export function isForProject(
  entries: readonly HookEventSettings[],
  project: { readonly id: string; readonly name: string },
): boolean {
  return entries.some((entry) =>
    ['*', project.id.toLowerCase(), project.name.toLowerCase()].includes(entry.project.toLowerCase()),
  );
}

/**
 * Whether a subscription's filter accepts the hook. The body doesn't answer many filters: who belongs to a group, or what has
 * changed in a pull request. Azure DevOps has already applied those, so they count as matching.
 */
function takes(hook: Hook, name: string, filter: string): boolean {
  // In Azure DevOps, an empty filter accepts anything.
  if (filter === '') return true;
  const input: Input | undefined = Object.hasOwn(hook.family.inputs, name) ? hook.family.inputs[name] : undefined;
  if (input === undefined) return true;
  const { paths, takes: isTaken = (one: string, other: string) => one === other } = input;
  const told = textsAt(hook.resource, paths);
  return told.length === 0 || told.some((text) => isTaken(filter.toLowerCase(), text.toLowerCase()));
}
