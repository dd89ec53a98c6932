import type { Headers } from '../../shared/bus.ts';
import { reasonOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { safeText } from '../../shared/text/safeText.ts';
import type { DeadLetters } from '../audit/deadLetters.ts';
import type { Decisions } from '../audit/decisions.ts';
import { FloodLimit } from '../audit/floodLimit.ts';
import { ALREADY_REPLAYED, type Replay } from '../audit/storedLetters.ts';
import { basicCredentials, unauthorized } from '../http/authenticate.ts';
import { fromPeer, type HttpAnswer, type HttpRequest, type Route } from '../http/route.ts';
import { KNOWN_EVENTS } from './families.ts';
import { readHook, type Hook } from './hook.ts';
import { eventName } from './hookEvent.ts';
import { judgeHook, type HookPost, type Judged, type JudgeOptions } from './judgeHook.ts';
import type { HookMetrics } from './metrics.ts';
import { projectOf, signIn, type SignedIn } from './signIn.ts';

export interface HookRouteOptions extends JudgeOptions {
  readonly deadLetters: DeadLetters;
  readonly decisions: Decisions;
  readonly metrics: HookMetrics;
  readonly log: Log;
  /** Whether there is a link to NATS. */
  readonly isLinkUp: () => boolean;
}

/** Azure DevOps is answered within 3 s, whatever NATS does. */
const ANSWER_MS = 2_500;
/** The part of that reserved for a dead letter. */
const LETTER_MS = 500;
const RETRY_AFTER_S = 5;
/** Without a link, the error only says what was waited for. Administrators see the answer in the history of the hook. */
const NO_LINK = {
  told: 'The event cannot be stored now: the bridge has no connection to NATS.',
  logged: 'the bridge has no connection to NATS',
};
const OTHER_CAUSE = "The event cannot be stored now; the bridge's log says why.";
/** Refused sign-ins in the audit stream per minute: anyone can try. */
const MOST_REFUSALS = 10;

/** `POST /hooks`: answers 200 only after the stream has what was posted. */
export function hookRoute(options: HookRouteOptions): Route {
  const refusals = new RefusedSignIns(options);
  const stateless = new Set<string>();
  // Called before the body is read, and again with it.
  const signedIn = new WeakMap<HttpRequest['headers'], SignedIn>();
  return {
    method: 'POST',
    path: '/hooks',
    authenticate(headers, peer) {
      const sender = signIn(options.hooks, headers);
      if (sender !== undefined) {
        signedIn.set(headers, sender);
        return undefined;
      }
      refusals.note(headers, peer);
      options.metrics.received('unknown', 'unauthorized');
      return unauthorized('Basic');
    },
    async handle({ headers, body }) {
      const sender = signedIn.get(headers) ?? signIn(options.hooks, headers);
      if (sender === undefined) return unauthorized('Basic');
      const post = { body, signedInProject: sender.projectId };
      return receive(options, post, headers, (hook) => warnOfState(hook, stateless, options.log));
    },
  };
}

/** Judges the hook in a dead letter again, with all checks but the sign-in, which it has passed. */
export function replayHook(options: JudgeOptions): Replay {
  return async ({ payload, headers }) => {
    const signedInProject = headers.get('bridge-project')?.[0];
    const judged = await judgeHook(options, { body: payload, signedInProject }, options.now() + ANSWER_MS);
    if (judged.kind === 'refused') return { done: false, reason: judged.reason, detail: judged.detail };
    const { stream, sequence, duplicate } = judged.ack;
    if (duplicate)
      return {
        ...{ done: false, reason: ALREADY_REPLAYED },
        detail: `nothing was done: its event is in the stream already, as ${stream}:${sequence}`,
      };
    return { done: true, followed: { stream, sequence } };
  };
}

async function receive(
  options: HookRouteOptions,
  post: HookPost,
  headers: HttpRequest['headers'],
  onStored: (hook: Hook) => void,
): Promise<HttpAnswer> {
  const { metrics, log, isLinkUp, now } = options;
  const receivedAt = now();
  const until = receivedAt + ANSWER_MS;
  const hook = readHook(post.body);
  const event = hook.kind === 'unusable' ? 'unknown' : (hook.name ?? 'other');
  try {
    const judged = await judgeHook(options, post, until - LETTER_MS, hook);
    if (judged.kind === 'stored') {
      const { stream, sequence, duplicate } = judged.ack;
      metrics.received(event, duplicate ? 'duplicate' : 'stored');
      onStored(judged.hook);
      return { status: 200, body: { stream, sequence, duplicate } };
    }
    const deadLetter = await keep(options, post, headers, judged, receivedAt, until);
    metrics.received(event, 'deadLetter');
    return { status: 200, body: { deadLetter } };
  } catch (error) {
    metrics.received(event, 'unavailable');
    const { told, logged } = isLinkUp() ? { told: OTHER_CAUSE, logged: reasonOf(error) } : NO_LINK;
    log.warning(`A service hook was not accepted, so Azure DevOps has to send it again: ${safeText(logged)}`);
    return {
      status: 503,
      body: { error: { code: 'Unavailable', message: `${told} Send it again.` } },
      headers: { 'retry-after': String(RETRY_AFTER_S) },
    };
  } finally {
    metrics.lastReceived(event, Math.floor(receivedAt / 1_000));
  }
}

/** Warns, once per type, of an event whose name depends on a state that its body lacks. The types are those of a table. */
function warnOfState(hook: Hook, warned: Set<string>, log: Log): void {
  const { eventType, name } = hook;
  const known = KNOWN_EVENTS.get(eventType);
  if (name !== undefined || known === undefined || typeof known.name === 'string' || warned.has(eventType)) return;
  warned.add(eventType);
  const states = Object.keys(known.name.names).join(', ');
  log.warning(
    `A hook of ${eventType} was stored as ${eventName(hook)}: its resource.${known.name.path.join('.')} is none of ${states}. Set its subscription to send all resource details; if it does, the state is newer than this bridge. Further ones of this event aren't logged.`,
  );
}

async function keep(
  { deadLetters, decisions, now }: HookRouteOptions,
  { body, signedInProject }: HookPost,
  headers: HttpRequest['headers'],
  { hook, reason, detail }: Extract<Judged, { kind: 'refused' }>,
  receivedAt: number,
  until: number,
): Promise<number | null> {
  const name = hook === undefined ? undefined : eventName(hook);
  const sequence = await deadLetters.write(
    {
      function: 'hooks',
      name: reason,
      reason,
      detail,
      source: signedInProject ?? 'the shared secret',
      headers: keptHeaders(headers),
      payload: body,
      notes: {
        ...(signedInProject === undefined ? {} : { Project: signedInProject }),
        ...(hook === undefined ? {} : { 'Event-Id': hook.id }),
        ...(name === undefined ? {} : { Event: name }),
      },
    },
    Math.max(1, until - now()),
  );
  if (sequence !== null) {
    void decisions.note({
      function: 'hooks',
      name: reason,
      decision: 'deadLetter',
      reason: detail,
      ...(hook === undefined ? {} : { event: { id: hook.id, subject: eventName(hook) } }),
      followed: { deadLetter: sequence },
      receivedAt,
    });
  }
  return sequence;
}

/** The headers of a post that may be kept: never credentials. */
function keptHeaders(headers: HttpRequest['headers']): Headers {
  return Object.entries(headers).flatMap(([name, values]) => {
    const kept = KEPT.get(name) ?? (name.startsWith('x-vss-') ? name : undefined);
    const value = firstOf(values);
    return kept === undefined || value === undefined ? [] : [[kept, safeText(value, MAX_HEADER)] as const];
  });
}

/** As Azure DevOps writes them: HTTP gives them in lower case. */
const KEPT = new Map([
  ['content-type', 'Content-Type'],
  ['x-vss-activityid', 'X-VSS-ActivityId'],
  ['x-vss-subscriptionid', 'X-VSS-SubscriptionId'],
]);
const MAX_HEADER = 1_000;

function firstOf(values: string | readonly string[] | undefined): string | undefined {
  return typeof values === 'string' ? values : values?.[0];
}

/** Reports refused sign-ins, up to a limit. */
class RefusedSignIns {
  readonly #limit: FloodLimit;
  #untold = 0;

  constructor(private readonly options: HookRouteOptions) {
    this.#limit = new FloodLimit(MOST_REFUSALS, options.now);
  }

  /**
   * @param headers the credentials in them may be nearly right, so only the project's id is reported
   * @param peer the address that it came from
   */
  note(headers: HttpRequest['headers'], peer: string | undefined): void {
    if (this.#limit.take('all') === undefined) {
      this.#untold++;
      return;
    }
    const { hooks, decisions, log, now } = this.options;
    const given = basicCredentials(headers);
    const projectId = given && projectOf(given.user, hooks.user);
    const who = projectId === undefined ? 'an unknown caller' : `the project ${projectId}`;
    const others = this.#untold === 0 ? '' : `, and ${this.#untold} more since the last one that was logged`;
    this.#untold = 0;
    const reason = `The sign-in of ${who} to /hooks${fromPeer(peer)} was refused${others}`;
    log.warning(`${reason}.`);
    void decisions.note({ function: 'hooks', name: 'sign-in', decision: 'refused', reason, receivedAt: now() });
  }
}
