import { basicCredentials, bearerToken, unauthorized, whichSecret } from '../http/authenticate.ts';
import type { HttpRequest, Route } from '../http/route.ts';
import type { WaitsSettings, WaitToken } from '../settings.ts';
import type { Answering, Done } from './answering.ts';
import type { AllowPlanUrl, WaitsFor } from './caller.ts';
import { readClaim, type ClaimedCall, type ProvenCall } from './entry.ts';

export interface TaskRouteOptions {
  readonly settings: WaitsSettings;
  readonly allowPlanUrl: AllowPlanUrl;
  readonly answering: Answering;
}

/** A call with one of the bearer tokens. */
export interface TaskCall extends Pick<HttpRequest, 'headers' | 'body'> {
  readonly claim: ClaimedCall;
  /** The name of the bearer token. */
  readonly bearer: string;
  readonly waitsFor: WaitsFor;
  /** Says that the caller's plan is proven. */
  readonly isProven: (call: ProvenCall) => void;
}

/** A route that tasks call with their headers. */
export function taskRoute(
  path: string,
  { settings, allowPlanUrl, answering }: TaskRouteOptions,
  handle: (call: TaskCall, signal: AbortSignal) => Promise<Done>,
): Route {
  return {
    method: 'POST',
    path,
    authenticate: bearersOnly(path, settings, answering),
    async handle({ headers, body }) {
      const token = tokenOf(settings, headers);
      if (token === undefined) return unauthorized('Bearer');
      return answering.answer(token.name, (signal, isOf, waitsFor) => {
        const claim = readClaim(headers, allowPlanUrl);
        isOf(claim);
        return handle({ claim, bearer: token.name, waitsFor, isProven: isOf, headers, body }, signal);
      });
    },
  };
}

/** Lets in callers with one of the bearer tokens, and notes those without. */
export function bearersOnly(
  path: string,
  settings: WaitsSettings,
  answering: Pick<Answering, 'refusedSignIn'>,
): Route['authenticate'] {
  return (headers, peer) => {
    if (tokenOf(settings, headers) !== undefined) return undefined;
    answering.refusedSignIn(path, peer);
    return unauthorized('Bearer');
  };
}

function tokenOf({ tokens }: WaitsSettings, headers: HttpRequest['headers']): WaitToken | undefined {
  // As a generic service connection sends it, which checks have to use: as the password of anybody.
  const given = bearerToken(headers) ?? basicCredentials(headers)?.password;
  return given === undefined ? undefined : whichSecret(given, tokens, ({ value }) => value);
}
