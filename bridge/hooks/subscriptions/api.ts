import { isObject } from '../../../shared/text/json.ts';
import { CallError, type Calls } from './calls.ts';

/** An event that can be subscribed to. */
export interface PublisherEvent {
  readonly publisherId: string;
  readonly eventType: string;
  /** Of what it posts. */
  readonly resourceVersions: readonly string[];
  /** Names of its filters. */
  readonly inputs: readonly string[];
}

export interface Project {
  readonly id: string;
  readonly name: string;
}

/** The desired state of a subscription. */
export interface SubscriptionBody {
  readonly publisherId: string;
  readonly eventType: string;
  readonly resourceVersion: string;
  readonly consumerId: string;
  readonly consumerActionId: string;
  /** The filters, and the project. */
  readonly publisherInputs: Readonly<Record<string, string>>;
  /** Where to post, and how. Secrets come back masked. */
  readonly consumerInputs: Readonly<Record<string, string>>;
}

/** A subscription as Azure DevOps has it. All texts are foreign. */
export interface Subscription extends SubscriptionBody {
  readonly id: string;
  /** `enabled`, `onProbation`, `disabledBySystem`, `disabledByUser`, `disabledByInactiveIdentity`, or one that is new. */
  readonly status: string;
  /** Milliseconds since the epoch; undefined when unknown. */
  readonly createdAt: number | undefined;
}

/** One event that a subscription has posted or is trying to. */
export interface Delivery {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** `pending`, `succeeded`, `failed` or `filtered`. */
  readonly result: string;
  /** What went wrong; empty where Azure DevOps doesn't say. */
  readonly message: string;
}

const VERSION = 'api-version=7.1';
const PROJECTS_AT_ONCE = 100;
/** How many of the last deliveries are checked. */
const DELIVERIES = 20;

/** The API of service hooks. All methods throw a {@link CallError} when Azure DevOps refuses. */
export class SubscriptionsApi {
  constructor(private readonly calls: Calls) {}

  async events(): Promise<PublisherEvent[]> {
    const what = 'Listing the publishers of service hooks';
    const found: PublisherEvent[] = [];
    for (const publisher of await this.calls.list(`_apis/hooks/publishers?${VERSION}`, what)) {
      const id = textOf(publisher['id']);
      const path = `_apis/hooks/publishers/${encodeURIComponent(id)}?${VERSION}`;
      const whole = Array.isArray(publisher['supportedEvents'])
        ? publisher
        : await this.calls.call({ method: 'GET', path }, what);
      found.push(...eventsIn(id, isObject(whole) ? whole : {}));
    }
    return found;
  }

  /** The projects that the identity sees. */
  async projects(): Promise<Project[]> {
    const list = await this.calls.list(`_apis/projects?${VERSION}`, 'Listing the projects', PROJECTS_AT_ONCE);
    return list.map(({ id, name }) => ({ id: textOf(id), name: textOf(name) })).filter(({ id }) => id !== '');
  }

  /** The subscriptions of web hooks that the identity sees, in all projects. */
  async subscriptions(): Promise<Subscription[]> {
    const path = `_apis/hooks/subscriptions?consumerId=webHooks&${VERSION}`;
    const list = await this.calls.list(path, 'Listing the subscriptions of service hooks');
    return list.map(subscriptionIn).filter(({ id, consumerId }) => id !== '' && consumerId === 'webHooks');
  }

  /** @returns the id of what was created */
  async create(body: SubscriptionBody, what: string): Promise<string> {
    const answer = await this.calls.call({ method: 'POST', path: `_apis/hooks/subscriptions?${VERSION}`, body }, what);
    return isObject(answer) ? textOf(answer['id']) : '';
  }

  async replace(id: string, body: SubscriptionBody, what: string): Promise<void> {
    await this.calls.call({ method: 'PUT', path: pathOf(id), body: { id, ...body } }, what);
  }

  /** Also succeeds if it is already gone. */
  async remove(id: string, what: string): Promise<void> {
    try {
      await this.calls.call({ method: 'DELETE', path: pathOf(id) }, what);
    } catch (error) {
      if (!(error instanceof CallError) || !error.isMissing) throw error;
    }
  }

  /** The last deliveries of a subscription, the newest first. */
  async deliveries(id: string): Promise<Delivery[]> {
    const path = pathOf(id, '/notifications', `&maxResults=${DELIVERIES}`);
    const list = await this.calls.list(path, 'Listing the deliveries of a subscription');
    return list
      .map(({ createdDate, result, details }) => ({
        at: timeOf(createdDate) ?? 0,
        result: textOf(result),
        message: isObject(details) ? textOf(details['errorMessage']) : '',
      }))
      .sort((one, next) => next.at - one.at);
  }
}

function pathOf(id: string, below = '', more = ''): string {
  return `_apis/hooks/subscriptions/${encodeURIComponent(id)}${below}?${VERSION}${more}`;
}

function eventsIn(publisherId: string, publisher: Readonly<Record<string, unknown>>): PublisherEvent[] {
  const ofAll = idsIn(publisher['inputDescriptors']);
  return objectsIn(publisher['supportedEvents']).map((event) => ({
    publisherId,
    eventType: textOf(event['id']),
    resourceVersions: [event['supportedResourceVersions']].flat().map(textOf).filter(Boolean),
    inputs: [...ofAll, ...idsIn(event['inputDescriptors'])],
  }));
}

function subscriptionIn(given: Readonly<Record<string, unknown>>): Subscription {
  return {
    id: textOf(given['id']),
    status: textOf(given['status']),
    createdAt: timeOf(given['createdDate']),
    publisherId: textOf(given['publisherId']),
    eventType: textOf(given['eventType']),
    resourceVersion: textOf(given['resourceVersion']),
    consumerId: textOf(given['consumerId']),
    consumerActionId: textOf(given['consumerActionId']),
    publisherInputs: textsIn(given['publisherInputs']),
    consumerInputs: textsIn(given['consumerInputs']),
  };
}

function idsIn(descriptors: unknown): string[] {
  return objectsIn(descriptors).map(({ id }) => textOf(id));
}

function objectsIn(list: unknown): Record<string, unknown>[] {
  return Array.isArray(list) ? list.filter(isObject) : [];
}

function textsIn(values: unknown): Record<string, string> {
  if (!isObject(values)) return {};
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, textOf(value)]));
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

function timeOf(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : NaN;
  return Number.isNaN(ms) ? undefined : ms;
}
