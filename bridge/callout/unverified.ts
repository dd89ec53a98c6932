import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import { decide, type DecideOptions, type SignInDecision } from './decide.ts';

/**
 * What a token would get if its signature were the issuer's: judged by the same code, signed again with a key made for that.
 * For people only, who can't reach the issuer.
 *
 * @param token of an issuer and an algorithm that the callout takes
 */
export async function decideUnverified(token: string, options: Omit<DecideOptions, 'keys'>): Promise<SignInDecision> {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const header = { ...decodeProtectedHeader(token), alg: 'ES256' };
  const signed = await new SignJWT(decodeJwt(token)).setProtectedHeader(header).sign(privateKey);
  return decide(signed, { ...options, keys: { keyFor: () => Promise.resolve(publicKey) } });
}
