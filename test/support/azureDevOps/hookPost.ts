import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { request, type Agent } from 'undici';
import type { HookBody } from './hookWorld.ts';

/** The inputs of the consumer `webHooks`, by their names in subscriptions. */
export interface ConsumerInputs {
  readonly url: string;
  readonly basicAuthUsername?: string;
  readonly basicAuthPassword?: string;
  /** One `Name: value` per line. */
  readonly httpHeaders?: string;
  /** Default `all`; `none` puts null into the body. */
  readonly messagesToSend?: 'all' | 'text' | 'none';
  readonly detailedMessagesToSend?: 'all' | 'text' | 'none';
}

/** One post and its result. */
export interface Attempt {
  readonly activityId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** How long the answer took, in milliseconds. */
  readonly tookMs: number;
  /** Undefined when there was no answer. */
  readonly status: number | undefined;
  /** The answer's body, or why there was none: `timeout`, `stopped` or the code of the failure. */
  readonly text: string;
}

export interface Post {
  readonly agent: Agent;
  readonly inputs: ConsumerInputs;
  /** The headers of all the subscription's posts. */
  readonly headers: Readonly<Record<string, string>>;
  readonly subscriptionId: string;
  readonly notificationId: number;
  readonly timeoutMs: number;
}

/** Sends a body once. Redirects aren't followed. */
export async function post(body: HookBody, { agent, inputs, headers, timeoutMs, ...ids }: Post): Promise<Attempt> {
  const activityId = randomUUID();
  const at = Date.now();
  // An emitter costs a fraction of an AbortController, which matters with thousands of posts per second.
  const timeout = new EventEmitter();
  const timer = setTimeout(() => timeout.emit('abort'), timeoutMs);
  try {
    const answer = await request(inputs.url, {
      method: 'POST',
      headers: { ...headers, 'X-VSS-ActivityId': activityId, 'Request-Id': `|${randomUUID()}.` },
      body: JSON.stringify({ ...ids, ...body, ...messagesOf(inputs, body) }),
      dispatcher: agent,
      signal: timeout,
    });
    const text = await answer.body.text();
    return { activityId, at, tookMs: Date.now() - at, status: answer.statusCode, text };
  } catch (error) {
    return { activityId, at, tookMs: Date.now() - at, status: undefined, text: failureOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

/** The headers that all posts of a subscription share. In others' captures, the activity id differs per attempt. */
export function headersOf(inputs: ConsumerInputs, subscriptionId: string): Record<string, string> {
  const { basicAuthUsername: user = '', basicAuthPassword: password = '', httpHeaders = '' } = inputs;
  const own = httpHeaders.split('\n').flatMap((line) => {
    const [, name, value] = /^([^:]+):\s*(.*?)\s*$/.exec(line) ?? [];
    return name === undefined || value === undefined ? [] : [[name.trim(), value] as const];
  });
  return {
    'Content-Type': 'application/json; charset=utf-8',
    'X-VSS-SubscriptionId': subscriptionId,
    ...(`${user}${password}` !== '' && {
      Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    }),
    ...Object.fromEntries(own),
  };
}

function messagesOf({ messagesToSend = 'all', detailedMessagesToSend = 'all' }: ConsumerInputs, body: HookBody) {
  const chosen = (messages: unknown, which: 'all' | 'text' | 'none') => {
    if (which !== 'text') return which === 'all' ? messages : null;
    return { text: (messages as { readonly text: string }).text };
  };
  return {
    message: chosen(body.message, messagesToSend),
    detailedMessage: chosen(body.detailedMessage, detailedMessagesToSend),
  };
}

function failureOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  if (code === 'UND_ERR_ABORTED') return 'timeout';
  return code === 'UND_ERR_DESTROYED' ? 'stopped' : String(code ?? message);
}
