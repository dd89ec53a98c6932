import { createHash, timingSafeEqual } from 'node:crypto';
import type { HttpAnswer, HttpRequest } from './route.ts';

export interface BasicCredentials {
  readonly user: string;
  readonly password: string;
}

/** The user and password of a request; undefined when it has no readable ones. */
export function basicCredentials(headers: HttpRequest['headers']): BasicCredentials | undefined {
  const encoded = schemeValue(headers, 'basic');
  if (encoded === undefined || !/^[A-Za-z0-9+/]+=*$/.test(encoded)) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The bearer token of a request; undefined where it has none. */
export function bearerToken(headers: HttpRequest['headers']): string | undefined {
  return schemeValue(headers, 'bearer');
}

function schemeValue(headers: HttpRequest['headers'], scheme: string): string | undefined {
  const { authorization } = headers;
  if (typeof authorization !== 'string') return undefined;
  const [, given, value] = /^(\S+) +(\S+) *$/.exec(authorization) ?? [];
  return given?.toLowerCase() === scheme ? value : undefined;
}

/** Whether a text is this secret, in constant time. */
export function isSecret(given: string, secret: string): boolean {
  return timingSafeEqual(digestOf(given), digestOf(secret));
}

/** The secret that matches a text; undefined when none does. The time doesn't reveal which. */
export function whichSecret<Secret>(
  given: string,
  secrets: readonly Secret[],
  valueOf: (secret: Secret) => string,
): Secret | undefined {
  const digest = digestOf(given);
  let found: Secret | undefined;
  for (const secret of secrets) if (timingSafeEqual(digest, digestOf(valueOf(secret)))) found = secret;
  return found;
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The answer to an unauthenticated caller. It doesn't say why. */
export function unauthorized(scheme: 'Basic' | 'Bearer'): HttpAnswer {
  return {
    status: 401,
    headers: { 'www-authenticate': `${scheme} realm="nats-event-bridge"` },
    body: { error: { code: 'Unauthorized', message: 'The credentials are missing or wrong.' } },
  };
}
