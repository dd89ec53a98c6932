import { randomUUID } from 'node:crypto';
import { isIP } from 'node:net';
import { isObject, parseJson } from '../../../shared/text/json.ts';
import { apiError } from './apiError.ts';
import type { ConsumerInputs } from './hookPost.ts';
import { PUBLISHED_EVENTS, publishersAsListed } from './hookPublishers.ts';
import { isoTime } from './isoTime.ts';
import type { Organization } from './projects.ts';
import type { ApiRequest, ApiRoute } from './routes.ts';
import type { Identity } from './signIn.ts';
import { json, type Answer } from './standInServer.ts';

export type StoredStatus =
  'enabled' | 'onProbation' | 'disabledByUser' | 'disabledBySystem' | 'disabledByInactiveIdentity';

type Inputs = Record<string, string>;

/** A subscription as stored, including secrets. */
export interface StoredSubscription {
  readonly id: string;
  status: StoredStatus;
  publisherId: string;
  eventType: string;
  resourceVersion: string;
  readonly consumerId: string;
  readonly consumerActionId: string;
  publisherInputs: Inputs;
  consumerInputs: Inputs;
  createdDate: string;
  readonly createdBy: string;
  /** The newest last. */
  readonly notifications: { readonly result: string; readonly at: number; readonly errorMessage?: string }[];
}

const MASK = '********';
const SECRETS = ['basicAuthPassword', 'httpHeaders'];
const MEMBERS =
  'id publisherId eventType resourceVersion consumerId consumerActionId publisherInputs consumerInputs status'.split(
    ' ',
  );
const CONTENT = ['all', 'minimal', 'none'];
const TEXTS = ['all', 'text', 'html', 'markdown', 'none'];
/** The inputs of the consumer `webHooks`, and the values they accept; undefined: any. */
const CONSUMER_INPUTS: Readonly<Record<string, readonly string[] | undefined>> = {
  ...{ url: undefined, httpHeaders: undefined, basicAuthUsername: undefined, basicAuthPassword: undefined },
  ...{ acceptUntrustedCerts: ['true', 'false'], businessJustification: undefined },
  ...{ resourceDetailsToSend: CONTENT, messagesToSend: TEXTS, detailedMessagesToSend: TEXTS },
};

/** What's wrong with a request, to be answered with 400. */
class Invalid extends Error {}

/** The service hook subscriptions of an organization. It's strict where the real one's behaviour isn't known. */
export class Subscriptions {
  readonly all = new Map<string, StoredSubscription>();
  /** Who may see subscriptions without being allowed to change them. */
  readonly readers = new Set<string>();

  constructor(private readonly organization: () => Organization) {}

  /** The inputs that the sender posts with, including secrets. */
  inputsOf(subscription: StoredSubscription): ConsumerInputs {
    return subscription.consumerInputs as unknown as ConsumerInputs;
  }

  /** Adds someone else's subscription, or one made by hand: nothing is checked. */
  add(given: Partial<StoredSubscription>): StoredSubscription {
    const stored: StoredSubscription = {
      ...{ id: randomUUID(), status: 'enabled', publisherId: 'tfs', eventType: 'git.push', resourceVersion: '1.0' },
      ...{ consumerId: 'webHooks', consumerActionId: 'httpRequest', publisherInputs: {}, consumerInputs: {} },
      ...{ createdDate: isoTime(Date.now()), createdBy: 'somebody', notifications: [] },
      ...given,
    };
    this.all.set(stored.id, stored);
    return stored;
  }

  routes(): ApiRoute[] {
    const path = '_apis/hooks/subscriptions';
    const one = `${path}/{subscription}`;
    return [
      {
        method: 'GET',
        path: '_apis/hooks/publishers',
        answer: () => listOf(publishersAsListed(this.organization().url)),
      },
      { method: 'GET', path, answer: (request) => this.#list(request) },
      { method: 'POST', path, answer: (request) => this.#create(request) },
      { method: 'GET', path: one, answer: (request) => this.#with(request, (found) => json(200, this.#shown(found))) },
      { method: 'PUT', path: one, answer: (request) => this.#with(request, (found) => this.#replace(found, request)) },
      {
        method: 'DELETE',
        path: one,
        answer: (request) => this.#with(request, (found) => this.#delete(found, request)),
      },
      {
        method: 'GET',
        path: `${one}/notifications`,
        answer: (request) => this.#with(request, (found) => notificationsOf(found, request)),
      },
    ];
  }

  #list({ query, identity }: ApiRequest): Answer {
    const filters = ['publisherId', 'eventType', 'consumerId', 'consumerActionId'] as const;
    const fits = (one: StoredSubscription) => filters.every((name) => (query.get(name) ?? one[name]) === one[name]);
    const visible = [...this.all.values()].filter((one) => fits(one) && this.#isVisible(one, identity));
    return listOf(visible.map((one) => this.#shown(one)));
  }

  #with(request: ApiRequest, work: (found: StoredSubscription) => Answer): Answer {
    const id = request.parameters['subscription']!;
    const found = this.all.get(id);
    if (found !== undefined && this.#isVisible(found, request.identity)) return work(found);
    return hooksError(404, 'SubscriptionNotFoundException', `The subscription with ID ${id} could not be found.`);
  }

  #create(request: ApiRequest): Answer {
    return this.#checked(request, {}, (given) =>
      this.add({ ...given, createdDate: isoTime(Date.now()), createdBy: request.identity.id }),
    );
  }

  #replace(found: StoredSubscription, request: ApiRequest): Answer {
    if (found.status === 'disabledBySystem')
      return hooksError(
        400,
        'SubscriptionInputException',
        'A subscription that the system has disabled can only be deleted.',
      );
    return this.#checked(request, found.consumerInputs, (given) => Object.assign(found, given));
  }

  #delete(found: StoredSubscription, { identity }: ApiRequest): Answer {
    if (this.readers.has(identity.id)) return this.#forbidden(identity);
    this.all.delete(found.id);
    return { status: 204 };
  }

  #checked(
    request: ApiRequest,
    secrets: Readonly<Inputs>,
    store: (given: Partial<StoredSubscription>) => StoredSubscription,
  ): Answer {
    if (this.readers.has(request.identity.id)) return this.#forbidden(request.identity);
    try {
      const given = this.#read(request, secrets);
      return json(200, this.#shown(store(given)));
    } catch (error) {
      if (!(error instanceof Invalid)) throw error;
      return hooksError(400, 'SubscriptionInputException', error.message);
    }
  }

  #read({ body, identity }: ApiRequest, secrets: Readonly<Inputs>): Partial<StoredSubscription> {
    const given = parseJson(body)?.value;
    if (!isObject(given)) throw new Invalid('The body is no subscription.');
    for (const name of Object.keys(given)) if (!MEMBERS.includes(name)) throw new Invalid(`Unknown member '${name}'.`);
    const { publisherId, eventType, resourceVersion, consumerId, consumerActionId } = given;
    const event = PUBLISHED_EVENTS.find(({ id, publisher }) => id === eventType && publisher === publisherId);
    if (event === undefined)
      throw new Invalid(`The publisher '${String(publisherId)}' has no event '${String(eventType)}'.`);
    if (!event.versions.includes(String(resourceVersion)))
      throw new Invalid(`The event '${event.id}' does not support the resource version '${String(resourceVersion)}'.`);
    if (consumerId !== 'webHooks' || consumerActionId !== 'httpRequest')
      throw new Invalid(`The consumer '${String(consumerId)}' has no action '${String(consumerActionId)}'.`);
    const publisherInputs = inputsIn(given['publisherInputs'], { projectId: undefined, ...event.inputs });
    const consumerInputs = inputsIn(given['consumerInputs'], CONSUMER_INPUTS);
    const { projectId = '' } = publisherInputs;
    if (!this.#isProject(projectId, identity)) throw new Invalid(`There is no project with the ID '${projectId}'.`);
    checkUrl(consumerInputs['url'] ?? '');
    if ((consumerInputs['basicAuthPassword'] ?? '').length > 256) throw new Invalid('The password is too long.');
    for (const name of SECRETS)
      if (consumerInputs[name] === MASK) {
        if (secrets[name] === undefined) throw new Invalid(`The value of '${name}' is a mask.`);
        consumerInputs[name] = secrets[name];
      }
    const all = Object.fromEntries(Object.keys(event.inputs).map((name) => [name, publisherInputs[name] ?? '']));
    const own = event.publisher === 'tfs' ? { tfsSubscriptionId: randomUUID() } : {};
    return {
      ...{ publisherId: event.publisher, eventType: event.id, resourceVersion: String(resourceVersion) },
      ...{ publisherInputs: { ...all, projectId, ...own }, consumerInputs },
    };
  }

  #isProject(id: string, identity: Identity): boolean {
    const found = this.organization().projects.find((one) => one.id === id);
    return found !== undefined && (identity.projects?.includes(found.name) ?? true);
  }

  #isVisible({ publisherInputs: { projectId = '' } }: StoredSubscription, identity: Identity): boolean {
    return projectId === '' || this.#isProject(projectId, identity);
  }

  /** Secrets are never shown again. */
  #shown({ notifications, createdBy, ...shown }: StoredSubscription): unknown {
    const masked = Object.entries(shown.consumerInputs).map(([name, value]) =>
      SECRETS.includes(name) && value !== '' ? [name, MASK] : [name, value],
    );
    return {
      ...shown,
      consumerInputs: Object.fromEntries(masked) as Inputs,
      url: `${this.organization().url}_apis/hooks/subscriptions/${shown.id}`,
      createdBy: { id: createdBy },
      probationRetries: notifications.length > 0 ? '0' : undefined,
    };
  }

  #forbidden({ name }: Identity): Answer {
    const message = `Access denied: ${name} needs the following permission(s) on the resource ServiceHooks: Edit Subscriptions`;
    return hooksError(403, 'AccessCheckException', message);
  }
}

function inputsIn(given: unknown, known: Readonly<Record<string, readonly string[] | undefined>>): Inputs {
  if (!isObject(given)) throw new Invalid('Inputs are missing.');
  const inputs: Inputs = {};
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, name)) throw new Invalid(`There is no input '${name}'.`);
    if (typeof value !== 'string') throw new Invalid(`The input '${name}' is no text.`);
    const values = known[name];
    if (value !== '' && values?.includes(value) === false)
      throw new Invalid(`'${value}' is no value of the input '${name}'.`);
    inputs[name] = value;
  }
  return inputs;
}

/** The real one refuses loopback addresses; tests have no others. */
function checkUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHere = url?.protocol === 'http:' && isIP(url.hostname) === 4 && url.hostname.startsWith('127.');
  if (url?.protocol !== 'https:' && !isHere) throw new Invalid(`The URL '${text}' must use HTTPS.`);
}

function notificationsOf({ id, notifications }: StoredSubscription, { query }: ApiRequest): Answer {
  const most = Number(query.get('maxResults') ?? 100);
  const listed = notifications.map(({ result, at, errorMessage }, index) => ({
    ...{ id: index + 1, subscriptionId: id, eventId: randomUUID(), status: 'completed', result },
    ...{ createdDate: isoTime(at), modifiedDate: isoTime(at), details: { requestAttempts: 1, errorMessage } },
  }));
  return listOf(listed.reverse().slice(0, most));
}

function listOf(value: readonly unknown[]): Answer {
  return json(200, { count: value.length, value });
}

function hooksError(status: number, typeKey: string, message: string): Answer {
  return apiError(status, typeKey, message, { space: 'Microsoft.VisualStudio.Services.ServiceHooks.WebApi' });
}
