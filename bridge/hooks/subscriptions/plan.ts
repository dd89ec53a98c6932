import { KNOWN_EVENTS } from '../families.ts';
import type { Project, Subscription, SubscriptionBody } from './api.ts';
import { keyOf, type Wanted } from './wanted.ts';

/** The fate of one subscription. */
export type Step =
  | {
      readonly action: 'create';
      readonly wanted: Wanted;
      readonly old?: undefined;
      /** Whether there is one, on probation. */
      readonly isBeside: boolean;
      readonly reason: string;
    }
  | {
      readonly action: 'recreate' | 'update';
      readonly wanted: Wanted;
      readonly old: Subscription;
      readonly reason: string;
    }
  | {
      readonly action: 'unchanged';
      readonly wanted: Wanted | undefined;
      readonly old: Subscription;
      /** Empty where it is as it should be. */
      readonly reason: string;
    }
  | {
      /** Plans only contain the first; the second is a direct order. */
      readonly action: 'remove-superseded' | 'remove';
      readonly wanted?: undefined;
      readonly old: Subscription;
      readonly reason: string;
    };

/** What a subscription is for, in words that people recognise. */
export function nameOf(step: Step): string {
  if (step.wanted === undefined) return `the subscription ${step.old.id} of ${step.old.eventType}`;
  const { event, project, inputs } = step.wanted;
  const filters = Object.entries(inputs).map(([name, value]) => `${name} ${value}`);
  return [`${event.eventType} in ${project.name}`, ...filters].join(', ');
}

/** How the subscriptions of a bridge post. */
export interface Target {
  /** Where the bridge takes hooks, which distinguishes its subscriptions from those of others. */
  readonly url: string;
  /** `hooks.user`. */
  readonly user: string;
}

export interface PlanOptions extends Target {
  readonly wanted: readonly Wanted[];
  /** Those of this bridge, and no other. */
  readonly existing: readonly Subscription[];
  /** All projects that the identity sees. */
  readonly projects: readonly Project[];
  /** Whether each subscription gets the newest secret: there's no telling which one it has. */
  readonly rotate?: boolean;
}

/** Where a bridge takes hooks. @param publicUrl `http.publicUrl` */
export function hooksUrl(publicUrl: string): string {
  const url = new URL(publicUrl);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/hooks`;
  return url.href;
}

/** Whether a subscription posts to a URL. */
export function postsTo({ consumerInputs }: Pick<Subscription, 'consumerInputs'>, url: string): boolean {
  const given = consumerInputs['url'] ?? '';
  return URL.canParse(given) && new URL(given).href === url;
}

/**
 * A subscription as sent to Azure DevOps.
 *
 * @param old the one it replaces
 * @param isNew whether it is created: Azure DevOps fills in masked values only for existing subscriptions
 */
export function bodyOf(
  wanted: Wanted,
  { url, user }: Target,
  password: string,
  old: Subscription | undefined,
  isNew: boolean,
): SubscriptionBody {
  // Someone may have added headers for a gateway in front of the bridge.
  const httpHeaders = old?.consumerInputs['httpHeaders'] ?? '';
  const areKept = httpHeaders !== '' && !(isNew && MASKED.test(httpHeaders));
  const { event, project, inputs, resourceVersion } = wanted;
  return {
    publisherId: event.publisherId,
    eventType: event.eventType,
    resourceVersion,
    consumerId: 'webHooks',
    consumerActionId: 'httpRequest',
    publisherInputs: { projectId: project.id, ...inputs },
    consumerInputs: {
      url,
      ...CONTENT,
      basicAuthUsername: userOf(user, project),
      basicAuthPassword: password,
      ...(areKept ? { httpHeaders } : {}),
    },
  };
}

/** What to post: an event is useless without its resource, and nobody reads the messages. */
const CONTENT = { resourceDetailsToSend: 'all', messagesToSend: 'none', detailedMessagesToSend: 'none' };
/** Azure DevOps' default. */
const DEFAULT = 'all';
/** What Azure DevOps returns in place of a secret. */
const MASKED = /^\*+$/;

function userOf(user: string, { id }: Project): string {
  return `${user}.${id}`;
}

/** The steps from the existing subscriptions to the wanted ones. Calls nothing and changes nothing. */
export function planSubscriptions(options: PlanOptions): Step[] {
  const { wanted, existing, projects, rotate = false } = options;
  const twins = twinsOf(wanted, existing);
  const steps = wanted.flatMap((one) => stepsFor(one, twins.get(one) ?? [], options, rotate));
  const placed = new Set([...twins.values()].flat());
  const seen = new Set(projects.map(({ id }) => id.toLowerCase()));
  for (const old of existing) {
    if (placed.has(old)) continue;
    const projectId = old.publisherInputs['projectId'] ?? '';
    // It may only be out of sight for now, and its events with it.
    if (projectId !== '' && !seen.has(projectId.toLowerCase()))
      steps.push({ action: 'unchanged', wanted: undefined, old, reason: "the identity doesn't see its project" });
    else steps.push({ action: 'remove-superseded', old, reason: "hooks.events doesn't ask for it" });
  }
  return steps;
}

/** The existing subscriptions for each wanted one. */
function twinsOf(wanted: readonly Wanted[], existing: readonly Subscription[]): Map<Wanted, Subscription[]> {
  const byKey = new Map<string, Wanted>();
  /** Filters by event: Azure DevOps adds inputs of its own to the given ones. */
  const filters = new Map<string, Set<string>>();
  for (const one of wanted) {
    const { eventType, inputs } = one.event;
    byKey.set(keyOf(eventType, one.project.id, one.inputs), one);
    const names = filters.get(eventType) ?? new Set([...inputs, ...filtersOf(eventType)]);
    for (const name of Object.keys(one.inputs)) names.add(name);
    filters.set(eventType, names);
  }
  const twins = new Map<Wanted, Subscription[]>();
  for (const old of existing) {
    const { projectId = '', ...inputs } = old.publisherInputs;
    const names = filters.get(old.eventType);
    const counted = Object.entries(inputs).filter(([name, value]) => value !== '' && names?.has(name) === true);
    const one = byKey.get(keyOf(old.eventType, projectId, Object.fromEntries(counted)));
    if (one !== undefined) twins.set(one, [...(twins.get(one) ?? []), old]);
  }
  return twins;
}

/** The filters of an event that the bridge itself knows. */
function filtersOf(eventType: string): string[] {
  return Object.keys(KNOWN_EVENTS.get(eventType)?.family.inputs ?? {});
}

export function isDisabled({ status }: Pick<Subscription, 'status'>): boolean {
  return /^disabled/i.test(status);
}

export function isOnProbation({ status }: Pick<Subscription, 'status'>): boolean {
  return /^onProbation$/i.test(status);
}

/** The steps for one wanted subscription and all existing ones for the same event. */
function stepsFor(wanted: Wanted, twins: readonly Subscription[], target: Target, rotate: boolean): Step[] {
  const disabled = twins.filter(isDisabled);
  const onProbation = twins.filter(isOnProbation);
  const working = twins
    .filter((one) => !isDisabled(one) && !isOnProbation(one))
    .sort((one, next) => differences(one, wanted, target).length - differences(next, wanted, target).length);
  const [keeper, ...doubles] = working;
  const steps: Step[] = [];
  let rest: readonly Subscription[] = disabled;
  if (keeper !== undefined) {
    const different = differences(keeper, wanted, target);
    if (rotate) different.push('it gets the newest secret');
    const reason = different.join(', ');
    steps.push({ action: reason === '' ? 'unchanged' : 'update', wanted, old: keeper, reason });
  } else if (onProbation.length > 0) {
    const reason = "the existing one is on probation: Azure DevOps doesn't use it for new events";
    steps.push({ action: 'create', wanted, isBeside: true, reason });
  } else {
    const [old, ...others] = disabled;
    rest = others;
    // Azure DevOps won't re-enable any of these.
    if (old !== undefined) steps.push({ action: 'recreate', wanted, old, reason: whyRecreated(old) });
    else steps.push({ action: 'create', wanted, isBeside: false, reason: 'there is none' });
  }
  // One on probation still has an event to deliver: removing it would lose that event.
  for (const old of onProbation) {
    const reason = 'Azure DevOps is still trying to deliver an event through it';
    if (rotate) steps.push({ action: 'update', wanted, old, reason: 'it gets the newest secret' });
    else steps.push({ action: 'unchanged', wanted: undefined, old, reason });
  }
  for (const old of [...doubles, ...rest])
    steps.push({ action: 'remove-superseded', old, reason: 'there is another one for the same event' });
  return steps;
}

function whyRecreated({ status, consumerInputs }: Subscription): string {
  const areLost = MASKED.test(consumerInputs['httpHeaders'] ?? '');
  return `its status is ${status}${areLost ? '; its httpHeaders, which are masked, have to be set again' : ''}`;
}

/** What a subscription has that it shouldn't, as clauses. Its password can't be seen. */
function differences(old: Subscription, wanted: Wanted, { user }: Target): string[] {
  const { consumerInputs: given, resourceVersion } = old;
  const different: string[] = [];
  const differs = (name: string, value: string, right: string) => {
    if (value !== right) different.push(`${name} is ${value === '' ? 'not set' : value} instead of ${right}`);
  };
  differs('resourceVersion', resourceVersion, wanted.resourceVersion);
  for (const [name, right] of Object.entries(CONTENT)) differs(name, given[name] || DEFAULT, right);
  const name = given['basicAuthUsername'] ?? '';
  if (!MASKED.test(name)) differs('basicAuthUsername', name, userOf(user, wanted.project));
  if (/^true$/i.test(given['acceptUntrustedCerts'] ?? '')) differs('acceptUntrustedCerts', 'true', 'false');
  return different;
}
