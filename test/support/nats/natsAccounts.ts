import { hashSync } from 'bcryptjs';
import {
  createAccount,
  createOperator,
  createUser,
  encodeAccount,
  encodeOperator,
  encodeUser,
  fmtCreds,
} from 'nats-jwt';

/** The subjects that a user may use. A missing side isn't restricted. */
export interface UserPermissions {
  readonly publish?: SubjectRules;
  readonly subscribe?: SubjectRules;
}

/** Subjects or patterns. With `allow`, everything else is denied; `deny` wins. */
export interface SubjectRules {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

/** A user in a server's configuration: signs in with a password or, by its public key, with an NKey. */
export type ConfiguredUser = { readonly permissions?: UserPermissions } & (
  { readonly user: string; readonly password: string } | { readonly nkey: string }
);

/** Configuration text: everyone signs in with this token. */
export function tokenConfig(token: string): string {
  return `authorization: ${JSON.stringify({ token })}`;
}

/** Configuration text: these users may sign in. */
export function usersConfig(...users: readonly ConfiguredUser[]): string {
  return `authorization: ${JSON.stringify({ users })}`;
}

/** The form in which a server's configuration keeps a password secret, as `ConfiguredUser.password`. */
export function bcryptHash(password: string): string {
  return hashSync(password, 4);
}

/** A user's NKey pair: the seed (`SU…`) signs in, the public key (`U…`) is what the server knows. */
export function createNKey(): { seed: string; publicKey: string } {
  const pair = createUser();
  return { seed: new TextDecoder().decode(pair.getSeed()), publicKey: pair.getPublicKey() };
}

/** A server on which an operator's JWTs say who may sign in. */
export interface OperatorMode {
  /** Configuration text for the server. */
  readonly config: string;
  /** The text of a credentials file of a new user in the one account. */
  creds(options?: { permissions?: UserPermissions; expires?: Date }): Promise<string>;
}

/** Creates an operator, a system account and an account with JetStream. Two operators don't share users. */
export async function createOperatorMode(): Promise<OperatorMode> {
  const operator = createOperator();
  const account = createAccount();
  const system = createAccount();
  const preload = {
    [system.getPublicKey()]: await encodeAccount('SYS', system, {}, { signer: operator }),
    [account.getPublicKey()]: await encodeAccount(
      'CI',
      account,
      // An account JWT has no JetStream unless it says so; -1 means unlimited.
      {
        limits: {
          mem_storage: -1,
          disk_storage: -1,
          streams: -1,
          consumer: -1,
          conn: -1,
          subs: -1,
          data: -1,
          payload: -1,
        },
      },
      { signer: operator },
    ),
  };
  return {
    config: [
      `operator: ${await encodeOperator('Test', operator)}`,
      `system_account: ${system.getPublicKey()}`,
      'resolver: MEMORY',
      `resolver_preload: ${JSON.stringify(preload)}`,
    ].join('\n'),

    async creds({ permissions = {}, expires } = {}) {
      const user = createUser();
      const jwt = await encodeUser(
        'ci',
        user,
        account,
        { pub: jwtRules(permissions.publish), sub: jwtRules(permissions.subscribe) },
        expires && { exp: Math.floor(expires.getTime() / 1000) },
      );
      return new TextDecoder().decode(fmtCreds(jwt, user));
    },
  };
}

function jwtRules({ allow = [], deny = [] }: SubjectRules = {}): { allow: string[]; deny: string[] } {
  return { allow: [...allow], deny: [...deny] };
}
