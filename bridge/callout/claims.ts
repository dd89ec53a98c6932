import type { JWTPayload } from 'jose';
import { isObject } from '../../shared/text/json.ts';
import type { Placeholder } from './placeholders.ts';
import type { IssuerPolicy } from './policy.ts';
import { Refusal } from './refusal.ts';

/** The identity that a verified token gives its bearer. */
export interface Identity {
  readonly sub: string;
  /** Who it is, for people. Applications and persons choose their own names. */
  readonly owner: string;
  readonly names: Readonly<Partial<Record<Placeholder, string>>>;
  readonly roles: readonly string[];
  /** `tooMany`: the bearer is in more than the token could hold, and it doesn't say which. */
  readonly groups: readonly string[] | 'tooMany';
  /** In seconds since the epoch. */
  readonly expiresAt: number;
}

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MOST_SUB = 1_024;

/**
 * Identifies the bearer of a token whose signature, issuer, audience and times are already verified.
 *
 * @throws Refusal when its claims aren't what this issuer writes
 */
export function identityOf(payload: JWTPayload, { tenant }: IssuerPolicy): Identity {
  const { sub, exp } = payload;
  if (typeof sub !== 'string' || sub === '' || sub.length > MOST_SUB || !sub.isWellFormed())
    throw wrong(`sub is not a string of 1 to ${MOST_SUB} characters`);
  const common = { sub, expiresAt: Math.floor(exp ?? 0), roles: textsOf(payload, 'roles'), groups: groupsOf(payload) };
  if (tenant !== undefined) return { ...common, ...entra(payload, sub, tenant) };
  return { ...common, owner: sub, names: azureDevOps(payload, sub) };
}

/** Azure DevOps says `sc://` for a service connection and `p://` for a pipeline. Other issuers' subjects are taken as they are. */
function azureDevOps(payload: JWTPayload, sub: string): Identity['names'] {
  const [, kind] = /^(sc|p):\/\//.exec(sub) ?? [];
  if (kind === undefined) return {};
  const parts = sub.slice(kind.length + '://'.length).split('/');
  const [organisation, project, last] = parts;
  if (parts.length !== 3 || !organisation || !project || !last)
    throw wrong(`sub is not ${kind}://<organization>/<project>/<${kind === 'sc' ? 'service connection' : 'pipeline'}>`);
  const projectId = payload['prj_id'];
  if (projectId !== undefined && !isGuid(projectId)) throw wrong('prj_id is not a GUID');
  return {
    organisation,
    project,
    ...(kind === 'sc' ? { connection: last } : { pipeline: last }),
    ...(projectId === undefined ? {} : { projectId: projectId.toLowerCase() }),
  };
}

function entra(
  payload: JWTPayload,
  sub: string,
  { id, version }: NonNullable<IssuerPolicy['tenant']>,
): Pick<Identity, 'owner' | 'names'> {
  const { tid, ver, oid } = payload;
  if (!isGuid(tid) || tid.toLowerCase() !== id) throw wrong('tid is not the tenant of this issuer');
  if (ver !== version) throw wrong(`ver is not ${version}, the version that this issuer's tokens must have`);
  if (!isGuid(oid)) throw wrong('oid is not a GUID');
  // An ID token has none: it tells an application who signed in to it, and opens nothing.
  const claim = version === '1.0' ? 'appid' : 'azp';
  const client = payload[claim];
  if (!isGuid(client)) throw wrong(`${claim} is not a GUID, so this isn't an access token`);
  const name = [payload['app_displayname'], payload['preferred_username'], payload['upn'], payload['name']].find(
    (one): one is string => typeof one === 'string' && one !== '',
  );
  const owner = name === undefined ? `application ${client}, object ${oid}` : `${name} (object ${oid})`;
  return { owner: owner || sub, names: { client: client.toLowerCase(), object: oid.toLowerCase() } };
}

/** When there are too many groups, Microsoft Entra leaves them out and says so in one of two ways. */
function groupsOf(payload: JWTPayload): Identity['groups'] {
  const names = payload['_claim_names'];
  if (payload['hasgroups'] === true || (isObject(names) && Object.hasOwn(names, 'groups'))) return 'tooMany';
  return textsOf(payload, 'groups');
}

function textsOf(payload: JWTPayload, claim: 'roles' | 'groups'): readonly string[] {
  const list = Object.hasOwn(payload, claim) ? payload[claim] : [];
  if (Array.isArray(list) && list.every((one): one is string => typeof one === 'string')) return list;
  throw wrong(`${claim} is not a list of strings`);
}

function isGuid(value: unknown): value is string {
  return typeof value === 'string' && GUID.test(value);
}

function wrong(problem: string): Refusal {
  return new Refusal('badClaims', `in the token, ${problem}`);
}
