import type { Authentication } from '../../shared/connection/settings.ts';
import { grantNeeds, permissionLines } from '../jetStream/needs.ts';
import type { BridgeSettings, CalloutSettings } from '../settings.ts';
import { CALLOUT_ACCOUNT as ACCOUNT } from './grant.ts';

const isPlaceholder = (account: string): boolean => account.startsWith('{');

/** The server configuration that the callout needs, or in operator mode the account's claims. */
export function serverLines(settings: BridgeSettings, callout: CalloutSettings): string[] {
  const user = userOf(settings.nats().authentication);
  return callout.accounts === undefined
    ? configurationLines(settings, callout, user)
    : operatorLines(callout, callout.accounts, user);
}

function configurationLines(settings: BridgeSettings, callout: CalloutSettings, user: User): string[] {
  const rules = [...callout.policy.current.issuers.values()].flatMap((issuer) => issuer.rules);
  const accounts = [...new Set(rules.map(({ account }) => account))].filter((name) => name !== ACCOUNT).sort();
  const xkey = callout.xkey()?.publicKey;
  return [
    '# Configuration of nats-server. Merge it with your accounts and restart the servers:',
    '# a reload does not pick up changes to the callout.',
    'accounts {',
    ...accounts.map((name) =>
      isPlaceholder(name)
        ? `  # One account for each ${name}, by the name that "callout try" prints: { jetstream: enabled }`
        : `  ${JSON.stringify(name)}: { jetstream: enabled }`,
    ),
    `  ${ACCOUNT}: {`,
    '    jetstream: enabled # for the audit stream of the bridge',
    '    users: [',
    '      {',
    ...user.lines.map((line) => `        ${line}`),
    ...permissionLines(grantNeeds(settings)).map((line) => `        ${line}`),
    '      }',
    '    ]',
    '  }',
    '}',
    'authorization {',
    '  timeout: 2 # seconds that a client waits for the responder',
    '  auth_callout {',
    `    issuer: ${callout.accountKey().account}`,
    `    account: ${ACCOUNT}`,
    `    auth_users: [${user.name}] # add all others that sign in without the callout`,
    `    allowed_accounts: [${accounts.map((name) => JSON.stringify(isPlaceholder(name) ? `each ${name}` : name)).join(', ')}] # nats-server 2.10 rejects this line: remove it there`,
    ...(xkey === undefined ? [] : [`    xkey: ${xkey}`]),
    '  }',
    '}',
    "max_control_line: 32KB # a client's token is part of one line",
  ];
}

function operatorLines(
  callout: CalloutSettings,
  accounts: NonNullable<CalloutSettings['accounts']>,
  user: User,
): string[] {
  const xkey = callout.xkey()?.publicKey;
  const allowed = [...accounts.values()].map((signer) => signer().account);
  return [
    `# Claims of the callout's account ${callout.accountKey().account}, for example with nsc:`,
    [
      `# nsc edit authcallout --account ${ACCOUNT} --auth-user ${user.name}`,
      ...allowed.map((account) => `--allowed-account ${account}`),
      ...(xkey === undefined ? [] : [`--curve ${xkey}`]),
    ].join(' '),
    JSON.stringify({ authorization: { auth_users: [user.name], allowed_accounts: allowed, xkey } }),
    '# Configuration of nats-server:',
    'authorization { timeout: 2 } # seconds that a client waits for the responder',
    '# default_sentinel: <JWT of a user of that account, with bearer_token and everything denied>, from nats-server 2.11 on',
    "max_control_line: 32KB # a client's token is part of one line",
  ];
}

interface User {
  /** As in `auth_users`. */
  readonly name: string;
  /** As in the server's configuration. */
  readonly lines: readonly string[];
}

function userOf(authentication: Authentication): User {
  switch (authentication.kind) {
    case 'nkey':
      return { name: authentication.key.publicKey, lines: [`nkey: ${authentication.key.publicKey}`] };
    case 'jwt':
      return { name: authentication.key?.publicKey ?? '<its public key>', lines: [] };
    case 'userPassword': {
      const name = JSON.stringify(authentication.username);
      return { name, lines: [`user: ${name}`, 'password: "<its password, or a bcrypt hash of it>"'] };
    }
    default:
      return { name: '<the user of the bridge>', lines: ['user: "<the user of the bridge>"'] };
  }
}
