import { setTimeout as delay } from 'node:timers/promises';
import { apiError } from './apiError.ts';
import { refused, signInPage, type Refusal, type RefusalForm } from './signIn.ts';
import type { Mood } from './standInServer.ts';
import { refuseParameters, type ValidationForm } from './templateParameters.ts';

export interface Throttle {
  /** Seconds to back off, which a test may shorten to a fraction; default 30. */
  readonly retryAfter?: number;
  /** How many seconds the request was delayed, which is only stated; default 0. */
  readonly delay?: number;
  /** Usage left in the window, in TSTUs; default 0. */
  readonly remaining?: number;
}

/** Rate limits page: these headers come only near the limit, also with a 200; Reset is in seconds since 1970. */
function limitHeaders({ retryAfter = 30, delay: held = 0, remaining = 0 }: Throttle): Record<string, string> {
  return {
    'Retry-After': String(retryAfter),
    'X-RateLimit-Resource': 'Concurrency',
    'X-RateLimit-Delay': held.toFixed(3),
    'X-RateLimit-Limit': '200',
    'X-RateLimit-Remaining': String(remaining),
    'X-RateLimit-Reset': String(Math.ceil(Date.now() / 1_000) + 300),
  };
}

/** Rate limits page: an identity over its budget gets 429 with TF400733 and how long to wait. Nothing is done. */
export function throttled(throttle: Throttle = {}): Mood {
  return async () =>
    apiError(
      429,
      'RequestBlockedException',
      "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource 'Concurrency' " +
        "in namespace 'User'.",
      { headers: limitHeaders(throttle) },
    );
}

/** Rate limits page: near the limit a request is served, and its response asks for a pause before the next one. */
export function retryAfterOnSuccess(throttle: Throttle = {}): Mood {
  return async (_, answer) => {
    const given = await answer();
    return { ...given, headers: { ...given.headers, ...limitHeaders({ remaining: 10, ...throttle }) } };
  };
}

/** The front door answers, in HTML. */
export function unavailable(status: 502 | 503 | 504 = 503): Mood {
  const page =
    "<!DOCTYPE html><html><head><title>Error</title></head><body>Our services aren't available right now</body>";
  return async () => ({ status, headers: { 'Content-Type': 'text/html' }, body: page });
}

/** An internal error: JSON, and the outcome of the request is unknown. */
export function broken({ done = false } = {}): Mood {
  return async (_, answer) => {
    if (done) await answer();
    return apiError(500, 'VssServiceException', 'TF400898: An Internal Error Occurred. Activity Id: 0.');
  };
}

/** The sign-in is refused in one of the forms, whatever the token. Nothing is done. */
export function signInAsked(form: Exclude<RefusalForm, 'byRoute'>, refusal: Refusal = 'unknown'): Mood {
  return async ({ method, headers }) =>
    refused(refusal, { method, origin: `http://${headers.host}`, form, redirectsToSignIn: false });
}

/** Any parameters are refused with one of the two errors. Nothing is done. */
export function parametersRefused(form: Exclude<ValidationForm, 'byProblem'>, message: string): Mood {
  return async () => refuseParameters([{ kind: 'value', message }], form);
}

/** A redirect to another host: a caller that follows sends its token there. Nothing is done. */
export function redirected(to: string, status: 301 | 302 | 307 | 308 = 302): Mood {
  return async () => ({ status, headers: { Location: to } });
}

/** The response is cut off in the middle, after the request was carried out. */
export function cut(): Mood {
  return async (_, answer) => ({ ...(await answer()), isCut: true });
}

/**
 * The connection breaks.
 * @param done whether the request was carried out first, which the caller can't know
 */
export function reset({ done = false } = {}): Mood {
  return async (_, answer) => {
    if (done) await answer();
    return 'reset';
  };
}

/**
 * The response is late.
 * @param done whether the request is carried out `before` the pause or after it, even if the caller has gone by then
 */
export function slow(ms: number, { done = 'before' }: { readonly done?: 'before' | 'after' } = {}): Mood {
  return async (_, answer) => {
    const given = done === 'before' ? await answer() : undefined;
    await delay(ms, undefined, { ref: false });
    return given ?? answer();
  };
}

/** A sign-in page or a proxy's page: HTML with 200. */
export function htmlWithSuccess(): Mood {
  return async () => ({ status: 200, headers: { 'Content-Type': 'text/html; charset=utf-8' }, body: signInPage() });
}
