import type { Authentication } from '../../connection/settings.ts';
import { TaskError } from '../../errors.ts';
import type { DialFailure, SignIn } from './dial.ts';

/** What to sign in with now, or why there is nothing to sign in with. Rejects with the signal's reason only. */
export async function signInWith(authentication: Authentication, signal: AbortSignal): Promise<SignIn | DialFailure> {
  if (authentication.kind !== 'oidc') return authentication;
  try {
    return { kind: 'idToken', token: await authentication.idToken.current(signal) };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof TaskError)) throw error;
    const { code, problem, remedy } = error;
    return { code, reason: problem, remedy, transient: code === 'Unreachable' };
  }
}

/** What to sign in with after a server refused an ID token: a newer one; undefined when there is none. */
export async function signInAfterRefusal(
  authentication: Authentication,
  refused: SignIn,
  signal: AbortSignal,
): Promise<SignIn | undefined> {
  if (authentication.kind !== 'oidc' || refused.kind !== 'idToken') return undefined;
  try {
    const token = await authentication.idToken.newerThan(refused.token, signal);
    return token === undefined ? undefined : { kind: 'idToken', token };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof TaskError)) throw error;
    return undefined;
  }
}
