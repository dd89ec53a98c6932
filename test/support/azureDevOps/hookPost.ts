import { randomUUID } from 'node:crypto';
import { request, type Agent } from 'undici';
import type { HookBody } from './hookWorld.ts';

/** The inputs of the consumer `webHooks` by the names that subscriptions have for them. */
export interface ConsumerInputs {
  readonly url: string;
  readonly basicAuthUsername?: string;
  readonly basicAuthPassword?: string;
  /** One `Name: value` per line. */
  readonly httpHeaders?: string;
  /** Default `all`; `none` leaves null in the body. */
  readonly messagesToSend?: 'all' | 'text' | 'none';
  readonly detailedMessagesToSend?: 'all' | 'text' | 'none';
}

/** One post and what came of it. */
export interface Attempt {
  readonly activityId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** How long the answer took, in milliseconds. */
  readonly tookMs: number;
  /** Undefined when there was no answer. */
  readonly status: number | undefined;
  /** The answer's body, or why there was none: `timeout`, or the code of the failure. */
  readonly text: string;
}

export interface Post {
  readonly agent: Agent;
  readonly inputs: ConsumerInputs;
  readonly subscriptionId: string;
  readonly notificationId: number;
  readonly timeoutMs: number;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** Sends a body once. Redirects aren't followed. */
export async function post(body: HookBody, { agent, inputs, timeoutMs, signal, ...ids }: Post): Promise<Attempt> {
  const activityId = randomUUID();
  const at = Date.now();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const end = () => timeout.abort();
  signal.addEventListener('abort', end, { once: true });
  try {
    const answer = await request(inputs.url, {
      method: 'POST',
      headers: headersOf(inputs, ids.subscriptionId, activityId),
      body: JSON.stringify({ ...ids, ...body, ...messagesOf(inputs, body) }),
      dispatcher: agent,
      signal: timeout.signal,
    });
    const text = await answer.body.text();
    return { activityId, at, tookMs: Date.now() - at, status: answer.statusCode, text };
  } catch (error) {
    const text = signal.aborted ? 'stopped' : timeout.signal.aborted ? 'timeout' : codeOf(error);
    return { activityId, at, tookMs: Date.now() - at, status: undefined, text };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}

/** Posts that others captured: the activity is another one for each attempt, and the subscription stays. */
function headersOf(inputs: ConsumerInputs, subscriptionId: string, activityId: string): Record<string, string> {
  const { basicAuthUsername: user = '', basicAuthPassword: password = '', httpHeaders = '' } = inputs;
  const own = httpHeaders.split('\n').flatMap((line) => {
    const [, name, value] = /^([^:]+):\s*(.*?)\s*$/.exec(line) ?? [];
    return name === undefined || value === undefined ? [] : [[name.trim(), value] as const];
  });
  return {
    'Content-Type': 'application/json; charset=utf-8',
    'X-VSS-ActivityId': activityId,
    'X-VSS-SubscriptionId': subscriptionId,
    'Request-Id': `|${randomUUID()}.`,
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

function codeOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return String(code ?? message);
}
