import type { SigningKey } from '../../shared/nkey.ts';
import { permissionOf, type Grant } from './grant.ts';
import { signJwt } from './natsJwt.ts';
import type { SignInRequest } from './request.ts';

/** An account with the key that signs for it: its own, or one of its signing keys. */
export interface Signer {
  /** The account's public key. */
  readonly account: string;
  readonly key: SigningKey;
}

/** No limits but those of the account. */
const UNLIMITED = { subs: -1, data: -1, payload: -1 };

/**
 * The answer to a request: a user for the client, or a refusal without a reason.
 *
 * @param issuer the account of the callout
 * @param target the account that the client lands in, in operator mode; in configuration mode its name is in the grant
 * @param nowSeconds since the epoch
 */
export function answerTo(
  { userKey, serverId }: SignInRequest,
  grant: Grant | undefined,
  issuer: Signer,
  target: Signer | undefined,
  nowSeconds: number,
): string {
  const verdict =
    grant === undefined
      ? { error: 'refused' }
      : { jwt: userFor(userKey, grant, target ?? issuer, target === undefined, nowSeconds) };
  return signJwt(
    {
      sub: userKey,
      aud: serverId,
      nats: { ...verdict, ...inNameOf(issuer), type: 'authorization_response', version: 2 },
    },
    issuer.key,
    nowSeconds,
  );
}

function userFor(
  userKey: string,
  { user, account, publish, subscribe, expiresAt }: Grant,
  signer: Signer,
  namesAccount: boolean,
  nowSeconds: number,
): string {
  return signJwt(
    {
      name: user,
      sub: userKey,
      exp: expiresAt,
      ...(namesAccount ? { aud: account } : {}),
      nats: {
        pub: permissionOf(publish),
        sub: permissionOf(subscribe),
        ...UNLIMITED,
        ...(namesAccount ? {} : inNameOf(signer)),
        type: 'user',
        version: 2,
      },
    },
    signer.key,
    nowSeconds,
  );
}

/** Set when a signing key signs. */
function inNameOf({ account, key }: Signer): { issuer_account?: string } {
  return account === key.publicKey ? {} : { issuer_account: account };
}
