import { quoted } from '../../../shared/text/safeText.ts';
import { error, type Finding } from '../../finding.ts';
import { nearestOf } from '../../../shared/text/nearest.ts';
import type { HooksSettings } from '../../settings.ts';
import { EVENT_NAMES, KNOWN_EVENTS } from '../families.ts';
import type { Project, PublisherEvent } from './api.ts';

/** A subscription the configuration asks for. */
export interface Wanted {
  readonly event: PublisherEvent;
  readonly resourceVersion: string;
  readonly project: Project;
  /** Filters, without empty ones. */
  readonly inputs: Readonly<Record<string, string>>;
}

/**
 * The body versions that the bridge reads; a newer one may appear some day. 1.0 of builds is the shape of
 * XAML builds, and 1.0 of work items has people as text.
 */
const RESOURCE_VERSIONS: readonly (readonly [events: RegExp, version: string])[] = [
  [/^build\.complete$/, '2.0'],
  [/^ms\.vss-pipelines\.(run|stage|job)-state-changed-event$/, '5.1-preview.1'],
  [/^ms\.vss-pipelinechecks-events\.approval-(pending|completed)$/, '5.1-preview.1'],
  [/^git\.(push|pullrequest\.(created|updated|merged))$/, '1.0'],
  [/^ms\.vss-code\.git-pullrequest-comment-event$/, '2.0'],
  [/^workitem\.(created|updated|commented|deleted|restored)$/, '5.1-preview.3'],
  [/^ms\.vss-release\./, '3.0-preview.1'],
];

/** What may have happened to a pull request: the body doesn't say, so each has a subscription of its own. */
const PULL_REQUEST_CHANGES = [
  'PushNotification',
  'ReviewersUpdateNotification',
  'StatusUpdateNotification',
  'ReviewerVoteNotification',
];

/** The subscriptions that a configuration asks for, each once, in its order; and what is wrong with it. */
export function wantedSubscriptions(
  { events }: Pick<HooksSettings, 'events'>,
  known: readonly PublisherEvent[],
  projects: readonly Project[],
): { readonly wanted: readonly Wanted[]; readonly problems: readonly Finding[] } {
  const wanted = new Map<string, Wanted>();
  const problems: Finding[] = [];
  for (const [index, entry] of events.entries()) {
    const about = `hooks.events[${index}]`;
    const named = eventNamed(entry.event, known);
    const inProjects = projectsNamed(entry.project, projects);
    if (named === undefined) problems.push(noEvent(`${about}.event`, entry.event, known));
    if (inProjects.length === 0) problems.push(noProject(`${about}.project`, entry.project, projects));
    if (named === undefined) continue;
    const given = Object.entries({ ...named.inputs, ...entry.inputs }).filter(([, value]) => value !== '');
    for (const project of inProjects)
      for (const inputs of variantsOf(named.event.eventType, Object.fromEntries(given))) {
        const one = { event: named.event, resourceVersion: resourceVersionOf(named.event), project, inputs };
        wanted.set(keyOf(one.event.eventType, project.id, inputs), one);
      }
  }
  return { wanted: [...wanted.values()], problems };
}

/** What identifies a subscription, apart from where it posts. */
export function keyOf(eventType: string, projectId: string, inputs: Readonly<Record<string, string>>): string {
  const sorted = Object.entries(inputs).sort(([one], [next]) => (one < next ? -1 : 1));
  return JSON.stringify([eventType, projectId.toLowerCase(), sorted]);
}

/** The event by Azure DevOps' name, or by the bridge's own, which may be one of its states. */
function eventNamed(
  name: string,
  known: readonly PublisherEvent[],
): { readonly event: PublisherEvent; readonly inputs: Readonly<Record<string, string>> } | undefined {
  const event = known.find(({ eventType }) => eventType === name);
  if (event !== undefined) return { event, inputs: {} };
  for (const [eventType, { name: own }] of KNOWN_EVENTS) {
    const state = typeof own === 'string' ? '' : Object.entries(own.names).find(([, text]) => text === name)?.[0];
    const other = known.find((one) => one.eventType === eventType);
    if (other === undefined || state === undefined || (state === '' && own !== name)) continue;
    // The filter of a stage is `stageStateId`, with values such as `NotStarted`.
    const filter = typeof own === 'string' ? {} : { [`${own.path[0] ?? ''}StateId`]: capitalized(state) };
    return { event: other, inputs: filter };
  }
  return undefined;
}

function capitalized(word: string): string {
  return `${word.charAt(0).toUpperCase()}${word.slice(1)}`;
}

function projectsNamed(name: string, projects: readonly Project[]): readonly Project[] {
  if (name === '*') return projects;
  return projects.filter((one) => [one.id.toLowerCase(), one.name.toLowerCase()].includes(name.toLowerCase()));
}

function variantsOf(eventType: string, inputs: Readonly<Record<string, string>>): Readonly<Record<string, string>>[] {
  if (eventType !== 'git.pullrequest.updated' || inputs['notificationType'] !== undefined) return [inputs];
  return PULL_REQUEST_CHANGES.map((notificationType) => ({ ...inputs, notificationType }));
}

function resourceVersionOf({ eventType, resourceVersions }: PublisherEvent): string {
  const [, pinned] = RESOURCE_VERSIONS.find(([events]) => events.test(eventType)) ?? [];
  if (pinned !== undefined) return pinned;
  const newest = [...resourceVersions].sort((one, next) => one.localeCompare(next, 'en', { numeric: true })).at(-1);
  return newest ?? '1.0';
}

function noEvent(about: string, name: string, known: readonly PublisherEvent[]): Finding {
  const own = EVENT_NAMES.filter((one) => eventNamed(one, known) !== undefined);
  const [nearest] = nearestOf(name, [...new Set([...known.map(({ eventType }) => eventType), ...own])]) ?? [];
  const problem = `no publisher of the organization knows an event ${quoted(name)}`;
  return error(about, problem, nearest === undefined ? '' : `The nearest one is ${quoted(nearest)}.`);
}

function noProject(about: string, name: string, projects: readonly Project[]): Finding {
  if (name === '*') return error(about, 'the identity sees no project', 'Make it a member of the projects.');
  const names = projects.map((project) => project.name);
  const [nearest] = nearestOf(name, names) ?? [];
  return error(
    about,
    `there is no project ${quoted(name)}, or the identity may not see it`,
    nearest === undefined
      ? 'Make the identity a member of the project.'
      : `The nearest one is ${quoted(nearest)}. Correct the name, or make the identity a member of the project.`,
  );
}
