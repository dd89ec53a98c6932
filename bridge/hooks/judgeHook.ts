import type { PubAck, StreamPublisher } from '../../shared/bus.ts';
import { TaskError } from '../../shared/errors.ts';
import type { SigningKey } from '../../shared/nkey.ts';
import { probablyMeant } from '../../shared/text/nearest.ts';
import { quoted } from '../../shared/text/safeText.ts';
import type { HooksSettings } from '../settings.ts';
import { entriesFor, isForProject, isNamed } from './configuredEvents.ts';
import { EVENT_NAMES } from './families.ts';
import { readHook, type Hook, type Unusable } from './hook.ts';
import { hookEvent, type EventProject } from './hookEvent.ts';
import type { Clash, Projects } from './projects.ts';

export interface JudgeOptions {
  readonly hooks: HooksSettings;
  /** With closing slash. */
  readonly organization: string;
  readonly organizationName: string;
  /** Whether a URL is one of that organization. */
  readonly isOurs: (url: unknown) => boolean;
  /** The key as it is now; undefined: events are unsigned. */
  readonly signingKey: () => SigningKey | undefined;
  readonly publisher: StreamPublisher;
  readonly projects: Projects;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** A post from an authenticated sender. */
export interface HookPost {
  readonly body: Uint8Array;
  /** The one project that it may carry; undefined: any. */
  readonly signedInProject: string | undefined;
}

/** Why a post does not become an event: part of the subject of its dead letter. */
export type Refusal = 'unusable' | 'otherOrganization' | 'otherProject' | 'notConfigured' | 'projectClash' | 'tooLarge';

export type Judged =
  | { readonly kind: 'stored'; readonly hook: Hook; readonly ack: PubAck }
  | {
      readonly kind: 'refused';
      readonly reason: Refusal;
      /** A sentence without full stop. */
      readonly detail: string;
      /** Undefined where the post is none. */
      readonly hook: Hook | undefined;
    };

/**
 * Turns a post into an event and stores it, or says why not.
 *
 * @param until when it must be done, in milliseconds since the epoch
 * @param hook what is read from the post
 * @throws TaskError when NATS can't store the event now, so that it has to be sent again
 */
export async function judgeHook(
  options: JudgeOptions,
  post: HookPost,
  until: number,
  hook: Hook | Unusable = readHook(post.body),
): Promise<Judged> {
  const { hooks, organization, organizationName, publisher, projects, now } = options;
  const { body, signedInProject } = post;
  if (hook.kind === 'unusable') return refused('unusable', `The post isn't a service hook: ${hook.problem}`);

  const foreignUrl = hook.organizationUrls.find((url) => !options.isOurs(url));
  if (foreignUrl !== undefined) {
    const named = typeof foreignUrl === 'string' ? quoted(foreignUrl) : "which isn't text";
    return refused('otherOrganization', `It comes from the organization ${named}, not from ${organization}`, hook);
  }
  if (!mayCarry(signedInProject, hook.projectId)) {
    const detail = `It was signed in for the project ${signedInProject ?? ''} and carries ${hook.projectId ?? ''}`;
    return refused('otherProject', detail, hook);
  }
  const entries = entriesFor(hook, hooks.events);
  const notConfigured = `hooks.events has no entry for ${quoted(hook.eventType)}`;
  if (entries.length === 0) {
    const inputs = hooks.events.some((entry) => isNamed(hook, entry)) ? ' with such inputs' : misspelt(hook, hooks);
    return refused('notConfigured', `${notConfigured}${inputs}`, hook);
  }

  const id = hook.projectId ?? signedInProject ?? hook.resourceProjectId;
  const project = id === undefined ? NO_PROJECT : await projectOf(id, hook, projects, until - now());
  if (isClash(project)) {
    const detail = `Its project ${quoted(project.name)} would have the same subject part "${project.token}" as the project ${project.owner}, which was there first`;
    return refused('projectClash', detail, hook);
  }
  if (!isForProject(entries, project))
    return refused('notConfigured', `${notConfigured} of the project ${quoted(project.name)}`, hook);

  const settings = { ...hooks, organization, organizationName };
  const key = options.signingKey();
  const signing = key === undefined ? undefined : { key, now: new Date(now()) };
  const message = hookEvent(hook, body, project, settings, signing);
  try {
    return { kind: 'stored', hook, ack: await publisher.publish(message, Math.max(1, until - now())) };
  } catch (error) {
    if (!(error instanceof TaskError) || error.code !== 'TooLarge') throw error;
    return refused('tooLarge', error.problem, hook);
  }
}

/** The project is unknown, as for a sample that Azure DevOps sends on request. */
export const NO_PROJECT: EventProject = { id: '', name: '', token: '-' };

function refused(reason: Refusal, detail: string, hook?: Hook): Judged {
  return { kind: 'refused', reason, detail, hook };
}

/** An entry that the configuration probably has for the hook's event, but misspells: a clause to append, or nothing. */
function misspelt({ eventType }: Hook, { events }: HooksSettings): string {
  const unknown = events.map(({ event }) => event).filter((event) => !EVENT_NAMES.includes(event));
  const given = probablyMeant(eventType, unknown);
  return given === undefined ? '' : `; is its entry ${quoted(given)} misspelt?`;
}

/** An event that names no project, such as an approval, belongs to the project that signed in. */
function mayCarry(signedIn: string | undefined, carried: string | undefined): boolean {
  return signedIn === undefined || carried === undefined || signedIn.toLowerCase() === carried.toLowerCase();
}

function projectOf(id: string, hook: Hook, projects: Projects, ms: number): Promise<EventProject | Clash> {
  const name = hook.projectName(id);
  const known = projects.known(id, name);
  return known === undefined ? inTime(projects.resolve(id, name), ms) : Promise.resolve(known);
}

function isClash(project: EventProject | Clash): project is Clash {
  return 'kind' in project;
}

/** The outcome of work within this many milliseconds, otherwise `Timeout`. */
async function inTime<Value>(work: Promise<Value>, ms: number): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new TaskError(
          'Timeout',
          `NATS did not answer within ${ms} ms when asked for the project's part of the subject`,
        ),
      );
    }, ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
