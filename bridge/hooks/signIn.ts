import { createHmac } from 'node:crypto';
import { basicCredentials, isSecret, whichSecret } from '../http/authenticate.ts';
import type { HttpRequest } from '../http/route.ts';
import type { HooksSettings } from '../settings.ts';
import { PROJECT_ID } from './hook.ts';

/** Who has posted. */
export interface SignedIn {
  /** The one project that the post may carry; undefined with the plain secret, which is valid for all. */
  readonly projectId: string | undefined;
}

/** The password of a project's subscriptions. */
export function projectPassword(secret: string, projectId: string): string {
  return createHmac('sha256', secret).update(projectId).digest('base64url');
}

/**
 * Authenticates a post: `<user>.<project id>` with the password of that project, or the plain user and secret if
 * that is allowed. The time it takes reveals nothing about the secrets.
 *
 * @returns undefined when the credentials are wrong
 */
export function signIn(
  { user, passwords, sharedSecret }: Pick<HooksSettings, 'user' | 'passwords' | 'sharedSecret'>,
  headers: HttpRequest['headers'],
): SignedIn | undefined {
  const given = basicCredentials(headers);
  if (given === undefined) return undefined;
  const projectId = projectOf(given.user, user);
  if (projectId === undefined && !(sharedSecret && isSecret(given.user, user))) return undefined;
  const secrets = passwords.map(({ value }) => value).filter((secret) => secret !== '');
  const secret = whichSecret(given.password, secrets, (one) =>
    projectId === undefined ? one : projectPassword(one, projectId),
  );
  return secret === undefined ? undefined : { projectId };
}

/** The project in the user name `<user>.<project id>`; undefined where it has another form. */
export function projectOf(name: string, user: string): string | undefined {
  const projectId = name.startsWith(`${user}.`) ? name.slice(user.length + 1) : '';
  return PROJECT_ID.test(projectId) ? projectId : undefined;
}
