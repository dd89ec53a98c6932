/** From a client's OIDC token to what it may do in NATS. Reads policy.json, described by policy.schema.json. */
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { createRemoteJWKSet, customFetch, decodeJwt, jwtVerify } from 'jose';

/**
 * @typedef {{ sub: string, account: string, publish: string[], subscribe: string[], maxLifetime?: number }} Rule
 * @typedef {{ issuer: string, audience: string, rules: Rule[] }} Issuer
 * @typedef {Map<string, Issuer & { keys: import('jose').RemoteJWKSet }>} Policy by issuer
 * @typedef {{ sub: string, rule: string, account: string, exp: number, permissions: object }} Grant
 */

/** Why a client or a request is refused, in words that are safe to log. */
export class Refusal extends Error {}

/**
 * Reads and checks a policy. Throws an Error that lists what is wrong with it.
 * @param {string} file
 * @returns {Policy}
 */
export function readPolicy(file) {
  const schema = /** @type {object} */ (
    JSON.parse(readFileSync(new URL('policy.schema.json', import.meta.url), 'utf8'))
  );
  /** @type {unknown} */
  const content = JSON.parse(readFileSync(file, 'utf8'));
  const ajv = new Ajv2020({ allErrors: true });
  if (!ajv.validate(schema, content)) throw new Error(`${file}: ${ajv.errorsText(undefined, { dataVar: 'policy' })}`);
  const { issuers } = /** @type {{ issuers: Issuer[] }} */ (content);
  return new Map(issuers.map((issuer) => [issuer.issuer, { ...issuer, keys: keySet(issuer.issuer) }]));
}

/**
 * What the policy grants to the bearer of a token. Throws a Refusal, or an error of jose.
 * @param {Policy} policy
 * @param {string | undefined} token
 * @param {(claimed: { iss: unknown, sub: unknown, jti: unknown }) => void} note is told who the client says it is, before that is checked
 * @returns {Promise<Grant>}
 */
export async function grantFor(policy, token, note) {
  if (!token) throw new Refusal('the client sent no token');
  const claimed = /** @type {import('jose').JWTPayload} */ (decodeJwt(token));
  note({ iss: claimed.iss, sub: claimed.sub, jti: claimed.jti });
  // Keys are only ever fetched for an issuer the policy lists, whatever the token says.
  const issuer = policy.get(claimed.iss ?? '');
  if (!issuer) throw new Refusal('the policy does not list this issuer');
  /** @type {import('jose').JWTVerifyResult<import('jose').JWTPayload>} */
  const { payload } = await jwtVerify(token, issuer.keys, {
    issuer: issuer.issuer,
    audience: issuer.audience,
    algorithms: ['RS256'],
    requiredClaims: ['exp', 'sub'],
  });
  const { sub = '', exp = 0 } = payload;
  const rule = issuer.rules.find((candidate) => matches(candidate.sub, sub));
  if (!rule) throw new Refusal('no rule of the policy matches this sub');
  return {
    sub,
    rule: rule.sub,
    account: rule.account,
    exp: Math.min(Math.floor(exp), Math.floor(Date.now() / 1000) + (rule.maxLifetime ?? Infinity)),
    permissions: { pub: allow(rule.publish, sub), sub: allow(rule.subscribe, sub) },
  };
}

/**
 * A `*` in the pattern stands for one part of the sub, between slashes.
 * @param {string} pattern
 * @param {string} sub
 */
function matches(pattern, sub) {
  const [wanted, parts] = [pattern.split('/'), sub.split('/')];
  return wanted.length === parts.length && wanted.every((want, index) => want === '*' || want === parts[index]);
}

/**
 * To NATS an empty list of what is allowed means everything, so "nothing" is said as "everything is denied".
 * @param {string[]} subjects
 * @param {string} sub
 */
function allow(subjects, sub) {
  return subjects.length > 0 ? { allow: subjects.map((subject) => fill(subject, sub)) } : { deny: ['>'] };
}

/**
 * Replaces `{project}` and the like. A name that is not one plain token of a subject could widen the grant: it is refused.
 * @param {string} subject
 * @param {string} sub
 */
function fill(subject, sub) {
  const [, organisation, project, connection] = /^sc:\/\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(sub) ?? [];
  const names = { organisation, project, connection };
  return subject.replace(/\{(\w+)\}/g, (_, /** @type {keyof names} */ variable) => {
    const name = names[variable];
    if (name !== undefined && /^[\w-]+$/.test(name)) return name;
    throw new Refusal(`the ${variable} in this sub is not letters, digits, - and _ only: give it a rule of its own`);
  });
}

/**
 * The keys an issuer signs with, found through its discovery document. They are kept for ten minutes; an unknown key id
 * makes them be fetched again, at most every 30 seconds.
 * @param {string} issuer
 */
function keySet(issuer) {
  return createRemoteJWKSet(new URL(`${issuer}/.well-known/openid-configuration`), {
    [customFetch]: async (url, options) => {
      try {
        const discovery = /** @type {{ issuer: string, jwks_uri: string }} */ (
          await (await fetch(url, options)).json()
        );
        if (discovery.issuer !== issuer) throw new Refusal('its discovery document is that of another issuer');
        const keys = new URL(discovery.jwks_uri);
        if (keys.protocol !== new URL(issuer).protocol) throw new Refusal(`its keys are not at ${url.split(':')[0]}:`);
        return await fetch(keys, options);
      } catch (error) {
        const { message, cause } = /** @type {Error & { cause?: Error & { code?: string } }} */ (error);
        throw new Refusal(`no keys from ${issuer}: ${cause?.code ?? cause?.message ?? message}`);
      }
    },
  });
}
