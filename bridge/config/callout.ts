import { holdsCertificates } from '../../shared/connection/certificate.ts';
import { TaskError } from '../../shared/errors.ts';

import { isObject, parseObject } from '../../shared/text/json.ts';
import type { ConnectionSettings } from '../../shared/connection/settings.ts';
import { isAccountKey, parseAccountSeed, parseCurveSeed } from '../callout/keys.ts';
import { openPolicy } from '../callout/policyFile.ts';
import type { AzureDevOpsSettings, CalloutSettings } from '../settings.ts';
import { readProxy } from './azureDevOps.ts';
import { readPemFile } from './pemFile.ts';
import type { Reading } from './secrets.ts';
import type { Reread, Section } from './section.ts';
import { shown } from './shown.ts';

const HOUR_MS = 3_600_000;
/** Longer than any token lives. */
const MOST_SESSION_MS = 7 * 24 * HOUR_MS;
/** The sections that turn on other functions. */
const OTHERS = ['hooks', 'runs', 'waits'];

/** Reads `callout`. */
export function readCallout(
  root: Section,
  section: Section,
  nats: () => ConnectionSettings,
  azureDevOps: AzureDevOpsSettings,
): CalloutSettings {
  for (const other of OTHERS)
    if (root.has(other))
      root.note(
        other,
        'is on beside callout',
        'Run the callout in a process and a configuration of its own: it holds keys that sign in anybody.',
      );
  const accountKey = section.parsedSecret('accountKey', parsedBy(parseAccountSeed));
  if (accountKey === undefined && !section.has('accountKeyFile') && !section.has('accountKeyEnv'))
    section.note('accountKeyFile', 'is required');
  const xkey = section.parsedSecret('xkeySeed', parsedBy(parseCurveSeed));
  const accounts = readAccounts(section.section('accounts'));
  const names = accounts.length === 0 ? undefined : accounts.map(({ name }) => name);
  return {
    accountKey: () => signerOf(accountKey, names === undefined ? undefined : accountOfUser(nats())),
    xkey: () => xkey?.value,
    isSealed: xkey !== undefined,
    accounts: names === undefined ? undefined : new Map(accounts.map(({ name, signer }) => [name, signer])),
    policy: readPolicyFile(section, names),
    maxSessionMs: section.duration('maxSession', HOUR_MS, MOST_SESSION_MS),
    connection: {
      proxy: section.has('proxy') ? readProxy(section) : azureDevOps.proxy,
      ca: section.has('caFile') ? readPemFile(section, 'caFile', holdsCertificates) : azureDevOps.ca,
    },
  };
}

function parsedBy<Key>(parse: (text: string) => Key) {
  return (text: string): Reading<Key> => {
    try {
      return { value: parse(text) };
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      return { problem: `can't be used. ${error.problem}`, remedy: error.remedy };
    }
  };
}

interface Account {
  readonly name: string;
  readonly signer: CalloutSettings['accountKey'];
}

/** A string is the key's file; a section also names the account, which a signing key doesn't reveal. */
function readAccounts(section: Section): Account[] {
  return section.keys.map((name) => {
    const isFile = section.text(name) !== undefined;
    const account = section.section(name);
    const key = isFile
      ? section.parsedFile(name, parsedBy(parseAccountSeed))
      : account.parsedSecret('key', parsedBy(parseAccountSeed));
    const id = isFile ? undefined : account.text('id');
    if (id !== undefined && !isAccountKey(id))
      account.note('id', `${shown(id)} is not a public account key`, 'It begins with A.');
    return { name, signer: () => signerOf(key, id ?? (isAccountKey(name) ? name : undefined)) };
  });
}

function signerOf(key: Reread<ReturnType<typeof parseAccountSeed>> | undefined, account: string | undefined) {
  if (key === undefined) throw new TaskError('InvalidInput', 'There is no account key');
  return { account: account ?? key.value.publicKey, key: key.value };
}

/** In operator mode, the responder is a user of the account that it answers for. */
function accountOfUser({ authentication }: ConnectionSettings): string | undefined {
  if (authentication.kind !== 'jwt') return undefined;
  const claims = parseObject(Buffer.from(authentication.jwt.split('.')[1] ?? '', 'base64url').toString());
  const nats = claims?.['nats'];
  const account = (isObject(nats) ? nats['issuer_account'] : undefined) ?? claims?.['iss'];
  return isAccountKey(account) ? account : undefined;
}

function readPolicyFile(section: Section, accounts: readonly string[] | undefined): CalloutSettings['policy'] {
  const policy = readPolicy(section, 'policyFile', 'callout.policyFile', accounts);
  if (policy === undefined) section.note('policyFile', 'is required');
  return policy ?? NO_POLICY;
}

const NO_POLICY: CalloutSettings['policy'] = { current: { issuers: new Map() } };

/** Reads a policy of the callout that a setting names; undefined where it names none. */
export function readPolicy(
  section: Section,
  key: string,
  setting: string,
  accounts: readonly string[] | undefined,
): CalloutSettings['policy'] | undefined {
  const file = section.file(key);
  if (file === undefined) return undefined;
  const given = shown(section.text(key) ?? '');
  const opened = openPolicy(setting, file, accounts, section.surroundings);
  if ('current' in opened) return opened;
  section.surroundings.uses(file);
  for (const problem of opened.problems)
    section.note(key, `${given}: ${problem}`, 'The schema is callout-policy.schema.json.');
  return NO_POLICY;
}
