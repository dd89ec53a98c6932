import { createRemoteJWKSet, customFetch, decodeJwt, errors, jwtVerify, type JWTPayload } from 'jose';
import { reasonOf } from '../../shared/errors.ts';
import { isObject } from '../../shared/text/json.ts';
import { quoted, safeText } from '../../shared/text/safeText.ts';
import type { ProvenPlan } from './caller.ts';
import { Unavailable } from './refusal.ts';

/** The only audience in the ID tokens of Azure DevOps. */
const AUDIENCE = 'api://AzureADTokenExchange';
/** How far the clocks of the bridge and Azure DevOps may be apart. */
const CLOCK_TOLERANCE_S = 60;
/** How long fetching an issuer's keys may take: its discovery document, and the keys it points to. */
const KEYS_MS = 2_000;

/**
 * What an ID token fails to prove about a plan's job: a clause without the last full stop; undefined when it proves everything.
 *
 * @throws Unavailable when the issuer's keys can't be fetched
 */
export type VerifiesIdToken = (token: string, plan: ProvenPlan) => Promise<string | undefined>;

export interface IdTokenOptions {
  /** Exactly these. */
  readonly issuers: readonly string[];
  /** Reads a public document as JSON. */
  readonly document: (url: string, signal: AbortSignal) => Promise<unknown>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Verifies ID tokens of jobs with the keys of their issuers, which are found by discovery and kept for ten minutes. */
export function idTokenVerifier({ issuers, document, now }: IdTokenOptions): VerifiesIdToken {
  const keys = new Map(issuers.map((issuer) => [issuer, keysOf(issuer, document)]));
  return async (token, plan) => {
    const issuer = issuerOf(token);
    // Keys are only ever fetched from an issuer on the list, whatever the token says.
    const own = keys.get(issuer);
    if (own === undefined) return `its issuer ${quoted(issuer)} is not one of waits.issuers`;
    try {
      const { payload } = await jwtVerify(token, own, {
        ...{ issuer, audience: AUDIENCE, algorithms: ['RS256'], requiredClaims: ['exp', 'iat'] },
        ...{ clockTolerance: CLOCK_TOLERANCE_S, currentDate: new Date(now()) },
      });
      return otherThan(plan, payload);
    } catch (error) {
      if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout))
        return safeText(error.message, 200);
      throw new Unavailable(`the keys of ${issuer} can't be fetched: ${safeText(reasonOf(error), 200)}`);
    }
  };
}

function issuerOf(token: string): string {
  try {
    return decodeJwt(token).iss ?? '';
  } catch {
    return '';
  }
}

/** Whether the token belongs to a different project or pipeline than the plan. */
function otherThan(
  { project, pipeline }: ProvenPlan,
  { prj_id: own, def_id: definition }: JWTPayload,
): string | undefined {
  if (typeof own !== 'string' || own.toLowerCase() !== project.toLowerCase()) return 'it belongs to another project';
  // A number in some tokens, a text in others.
  if (Number(definition ?? NaN) !== pipeline.id) return 'it belongs to another pipeline';
  return undefined;
}

function keysOf(issuer: string, document: IdTokenOptions['document']) {
  return createRemoteJWKSet(new URL(`${issuer}/.well-known/openid-configuration`), {
    timeoutDuration: KEYS_MS,
    [customFetch]: async (url, { signal }) => {
      const discovery = await document(url, signal);
      if (!isObject(discovery) || discovery['issuer'] !== issuer)
        throw new Error('its discovery document belongs to another issuer');
      const place = String(discovery['jwks_uri']);
      if (!URL.canParse(place) || new URL(place).protocol !== new URL(issuer).protocol)
        throw new Error(`its keys are not at ${new URL(issuer).protocol}//`);
      return Response.json(await document(place, signal));
    },
  });
}
