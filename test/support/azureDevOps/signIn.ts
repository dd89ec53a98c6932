import { randomBytes, randomUUID } from 'node:crypto';
import { apiError } from './apiError.ts';
import { AZURE_DEVOPS_RESOURCE, type Entra } from './entra.ts';
import type { Answer } from './standInServer.ts';

/** An identity that the organization knows. */
export interface Identity {
  readonly id: string;
  readonly name: string;
  /** A person's address, a service principal's application id. */
  readonly account: string;
  /** Names of the projects it may see; undefined: all. */
  readonly projects?: readonly string[] | undefined;
  /** The plan and the job whose token it is; undefined for people and applications. */
  readonly job?: { readonly plan: string; readonly id: string };
}

/**
 * Why a caller is refused: missing or unknown credentials (or an expired token), a personal access token
 * that was once valid, or a valid Entra token of someone who isn't a member of the organization.
 */
export type Refusal = 'unknown' | 'lapsedPat' | 'stranger';

/** How refused callers are answered: like the real one, by method and route, or always the same way. */
export type RefusalForm = 'byRoute' | 'page' | 'redirect' | 'unauthorized';

/** Who may sign in. */
export class SignIn {
  readonly #pats = new Map<string, { readonly identity: Identity; lapsed: boolean }>();
  readonly #jobTokens = new Map<string, { readonly identity: Identity; expiresAt: number }>();
  readonly #removed = new Set<string>();
  readonly #entra: Entra | undefined;

  constructor(entra: Entra | undefined) {
    this.#entra = entra;
  }

  /** A new personal access token. */
  addPat({ name = 'Ada Example', projects }: { name?: string; projects?: readonly string[] } = {}): string {
    const pat = randomBytes(42).toString('base64url');
    const account = `${name.toLowerCase().replaceAll(' ', '.')}@contoso.example`;
    this.#pats.set(pat, { identity: { id: randomUUID(), name, account, projects }, lapsed: false });
    return pat;
  }

  /** Revokes a personal access token, or lets it expire: callers can't tell which. */
  revokePat(pat: string): void {
    this.#pats.get(pat)!.lapsed = true;
  }

  /** A token that a job gets when it starts, of the build service of its project. */
  addJobToken(job: { readonly plan: string; readonly id: string }, project: string, lifetimeMs: number): string {
    const token = [
      'eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9',
      ...[90, 64].map((n) => randomBytes(n).toString('base64url')),
    ];
    const identity = {
      id: randomUUID(),
      name: `${project} Build Service`,
      account: randomUUID(),
      projects: [project],
      job,
    };
    this.#jobTokens.set(token.join('.'), { identity, expiresAt: Date.now() + lifetimeMs });
    return token.join('.');
  }

  /** Expires a job's token at once. */
  expireJobToken(token: string): void {
    this.#jobTokens.get(token)!.expiresAt = 0;
  }

  /** The application is still in Entra and gets tokens, but it's no longer a member of the organization. */
  removeMember(objectId: string): void {
    this.#removed.add(objectId);
  }

  identify(authorization: string | undefined): Identity | Refusal {
    const [, scheme, credentials = ''] = /^(basic|bearer) (.+)$/i.exec(authorization ?? '') ?? [];
    if (scheme?.toLowerCase() === 'basic') {
      // The user name doesn't matter, but the colon must be there.
      const password = /^[^:]*:(.*)$/s.exec(Buffer.from(credentials, 'base64').toString())?.[1];
      const ofJob = this.#ofJob(password ?? '');
      if (ofJob !== undefined) return ofJob;
      const found = this.#pats.get(password ?? '');
      return found === undefined ? 'unknown' : found.lapsed ? 'lapsedPat' : found.identity;
    }
    const ofJob = this.#ofJob(credentials);
    if (ofJob !== undefined) return ofJob;
    const app = this.#entra?.appOf(credentials, AZURE_DEVOPS_RESOURCE);
    if (app === undefined) return 'unknown';
    if (this.#removed.has(app.objectId)) return 'stranger';
    return { id: app.objectId, name: app.name, account: app.clientId };
  }

  /** Which job's token it is; undefined: it isn't one, or it has expired, which looks the same. */
  #ofJob(token: string): Identity | undefined {
    const found = this.#jobTokens.get(token);
    return found !== undefined && found.expiresAt > Date.now() ? found.identity : undefined;
  }
}

export interface RefusedRequest {
  readonly method: string;
  /** Scheme, host and port of the server. */
  readonly origin: string;
  readonly form: RefusalForm;
  readonly redirectsToSignIn: boolean;
}

/**
 * The responses to refused callers:
 * - azure-devops-auth-samples issue 52: an expired token gets 203 with the sign-in page for GET and POST, and 401 with
 *   TF400813 for PATCH;
 * - che-server pull request 755 and arcade pull request 5472: some routes redirect to the sign-in page;
 * - a public account of measured responses: a lapsed personal access token gets 401 without a body, and a stranger's
 *   Entra token 401 with TF400813 after a byte order mark.
 */
export function refused(refusal: Refusal, { method, origin, form, redirectsToSignIn }: RefusedRequest): Answer {
  if (form === 'byRoute' && refusal === 'lapsedPat') {
    return { status: 401, headers: { 'WWW-Authenticate': `Basic realm="${origin}/"` } };
  }
  const isRedirected = form === 'redirect' || (form === 'byRoute' && redirectsToSignIn);
  const isUnauthorized =
    form === 'unauthorized' || (form === 'byRoute' && (refusal === 'stranger' || !/^(GET|POST)$/.test(method)));
  if (isUnauthorized) return unauthorized(refusal === 'stranger');
  const headers = { 'Content-Type': 'text/html; charset=utf-8' };
  if (!isRedirected) return { status: 203, headers, body: signInPage() };
  const location = `${origin}/_signin?realm=dev.azure.com&reply_to=${encodeURIComponent(origin)}`;
  const body = `<html><head><title>Object moved</title></head><body><h2>Object moved to <a href="${location}">here</a>.</h2>`;
  return { status: 302, headers: { ...headers, Location: location }, body };
}

/** The page where a browser user would sign in; where the redirects lead, it comes with 200. */
export function signInPage(): string {
  return [
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">',
    '<html lang="en-US"><head><title>Azure DevOps Services | Sign In</title></head><body></body></html>',
  ].join('\n');
}

function unauthorized(isStranger: boolean): Answer {
  const message = isStranger
    ? 'TF400813: The user is not authorized to access this resource. '
    : "TF400813: The user '' is not authorized to access this resource.";
  return apiError(401, isStranger ? 'InvalidIdentityException' : 'UnauthorizedRequestException', message, {
    headers: { 'WWW-Authenticate': 'Bearer', 'X-TFS-ServiceError': encodeURIComponent(message) },
    byteOrderMark: isStranger,
  });
}
