import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import { quoted } from '../../shared/text/safeText.ts';
import { identityOf, type Identity } from './claims.ts';
import type { KeySets } from './keySets.ts';
import type { IssuerPolicy, Policy } from './policy.ts';
import { Refusal } from './refusal.ts';

/** A token with 200 groups and as many roles is smaller. */
const MOST_CHARACTERS = 32_768;
const ALGORITHMS = ['RS256', 'ES256'];
/** How far clocks may differ for a token to be valid already. None is valid for longer than it says. */
const EARLY_SECONDS = 30;

/** What a token says about itself before anything is verified: for people tracking down a mistake. */
export interface Claimed {
  readonly issuer: string;
  readonly sub: string;
}

/** A valid token and its bearer. */
export interface Verified {
  readonly issuer: IssuerPolicy;
  readonly identity: Identity;
}

/**
 * Verifies a token: signature, issuer, audience, times, and that its claims are what this issuer writes.
 *
 * @param note called with what the token claims, before any of it is verified
 * @param now in milliseconds since the epoch
 * @throws Refusal
 */
export async function verifyToken(
  token: string | undefined,
  { issuers }: Policy,
  keys: Pick<KeySets, 'keyFor'>,
  note: (claimed: Claimed) => void,
  now: number,
): Promise<Verified> {
  if (token === undefined) throw new Refusal('noToken', 'the client sent no token');
  if (token.length > MOST_CHARACTERS)
    throw new Refusal('badToken', `the token has ${token.length} characters, more than ${MOST_CHARACTERS}`);
  const claimed = claimedBy(token);
  note(claimed);
  // Keys are only ever fetched for an issuer that the policy lists, whatever the token says.
  const issuer = issuers.get(claimed.issuer);
  if (issuer === undefined)
    throw new Refusal('unknownIssuer', 'the policy does not list the issuer that the token names');
  try {
    const { payload, protectedHeader } = await jwtVerify(token, (header) => keys.keyFor(issuer.issuer, header), {
      issuer: issuer.issuer,
      audience: issuer.audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: EARLY_SECONDS,
      currentDate: new Date(now),
    });
    const { typ = 'JWT' } = protectedHeader as { typ?: unknown };
    if (typeof typ !== 'string' || !/^(at\+)?jwt$/i.test(typ))
      throw new Refusal('badToken', `the token is of type ${quoted(String(typ))}, not JWT`);
    if (!((payload.exp ?? 0) * 1_000 > now)) throw new Refusal('badToken', 'the token has expired');
    return { issuer, identity: identityOf(payload, issuer) };
  } catch (error) {
    throw explained(error);
  }
}

function claimedBy(token: string): Claimed {
  try {
    decodeProtectedHeader(token);
    const { iss, sub } = decodeJwt(token);
    return { issuer: typeof iss === 'string' ? iss : '', sub: typeof sub === 'string' ? sub : '' };
  } catch {
    throw new Refusal('badToken', 'what the client sent is not a JWT');
  }
}

/** The library's own messages may quote the token. */
function explained(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const refuse = (problem: string) => new Refusal('badToken', problem);
  if (error instanceof errors.JWTExpired) return refuse('the token has expired');
  if (error instanceof errors.JWTClaimValidationFailed) return refuse(claimProblem(error));
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return refuse("the token's signature is not the issuer's");
  if (error instanceof errors.JOSEAlgNotAllowed)
    return refuse(`the token is not signed with ${ALGORITHMS.join(' or ')}`);
  return refuse('the token cannot be verified');
}

function claimProblem({ claim, reason }: errors.JWTClaimValidationFailed): string {
  if (claim === 'nbf' && reason === 'check_failed') return 'the token is not valid yet (nbf): compare the clocks';
  if (claim === 'aud' && reason !== 'missing')
    return "the token is for someone else: its aud is not the policy's audience";
  return reason === 'missing' ? `the token has no ${claim}` : `the token has the wrong ${claim}`;
}
