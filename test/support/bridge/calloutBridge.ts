import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  connect,
  credsAuthenticator,
  Events,
  jwtAuthenticator,
  nkeyAuthenticator,
  type ConnectionOptions,
  type NatsConnection,
  type TlsOptions,
} from 'nats';
import {
  createAccount,
  createOperator,
  createUser,
  encodeAccount,
  encodeOperator,
  encodeUser,
  fmtCreds,
} from 'nats-jwt';
import { temporaryFolder } from '../../../localAgent/index.ts';
import { ROOT } from '../../../scripts/build/manifest.ts';
import { createAuthority, saveCertificate } from '../nats/certificates.ts';
import { type TokenIssuer, type TokenKind } from '../identity/tokenIssuer.ts';
import { natsServerBinary, startNatsServer, type NatsServer } from '../nats/natsServer.ts';
import { storedIn } from '../nats/testStream.ts';
import { BridgeProcess, type LogLine } from './bridgeProcess.ts';
import { runHere, setUpOn } from './commandsHere.ts';

/** The example policy that administrators start from. */
export const EXAMPLE_POLICY = path.join(ROOT, 'examples/auth-callout/policy.json');

/** A policy's entry for one issuer. */
export interface PolicyEntry {
  readonly issuer: string;
  readonly audience: string;
  readonly rules: readonly object[];
}

/** The example's entries for Azure DevOps and Microsoft Entra. */
export function examplePolicy(): readonly PolicyEntry[] {
  return (JSON.parse(readFileSync(EXAMPLE_POLICY, 'utf8')) as { issuers: PolicyEntry[] }).issuers;
}

/** The test's own rules, then the example's for the test's issuers. */
export function policyFor(
  of: TokenIssuer,
  more: Partial<Record<TokenKind, readonly object[]>> = {},
): { issuers: readonly PolicyEntry[] } {
  const [azureDevOps, entra] = examplePolicy();
  const entry = (kind: TokenKind, rules: readonly object[]) => ({
    issuer: of.issuers[kind],
    audience: of.audiences[kind],
    rules: [...(more[kind] ?? []), ...rules],
  });
  return {
    issuers: [entry('azureDevOps', azureDevOps!.rules), entry('entraV2', entra!.rules), entry('entraV1', entra!.rules)],
  };
}

export interface CalloutOptions {
  /** The content of policy.json. */
  readonly policy: object;
  /** Default: `config`, in which the server's configuration lists the accounts. */
  readonly mode?: 'config' | 'operator';
  readonly line?: '2.10' | '2.15';
  /** The accounts that clients are placed in; default: CI. */
  readonly accounts?: readonly string[];
  /** Whether the server seals its requests; default true. */
  readonly sealed?: boolean;
  /** Further lines of the section `callout`. */
  readonly more?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly node?: '20' | '24';
}

const SERVERS = [
  { mode: 'config', line: '2.10' },
  { mode: 'operator', line: '2.15' },
  { mode: 'config', line: '2.15' },
  { mode: 'operator', line: '2.10' },
] as const;

/**
 * Servers of each mode and of each line: in the long form all pairs, which `test/long/callout.test.ts` plays, and otherwise
 * two of them.
 */
export function calloutServers(pairs: 'straight' | 'crossed'): readonly (typeof SERVERS)[number][] {
  if (process.env['HOSTILE_FORM'] === 'long') return SERVERS;
  return pairs === 'straight' ? SERVERS.slice(0, 2) : SERVERS.slice(2);
}

/** Both sides' configurations, before the server runs. */
interface Sides {
  readonly folder: string;
  /** The bridge's configuration. */
  readonly file: string;
  /** The server's. */
  readonly config: string;
  /** In operator mode: a bearer user of the callout's account that is denied everything. */
  readonly sentinel: string | undefined;
}

/** Creates the keys and configurations of both sides, as an administrator does. */
async function setUp({
  policy,
  mode,
  line,
  accounts = ['CI'],
  sealed = true,
  more = '',
}: CalloutOptions): Promise<Sides> {
  const folder = temporaryFolder('callout-');
  const file = path.join(folder, 'bridge.yml');
  const keys = await runHere(['callout', 'keys', folder], file);
  assert.equal(keys.status, 0, keys.stderr);
  writeFileSync(path.join(folder, 'policy.json'), JSON.stringify(policy));
  writeFileSync(path.join(folder, 'ca.pem'), (await createAuthority()).cert);
  const operator = mode === 'operator' ? await Operator.create(folder, accounts) : undefined;
  writeFileSync(
    file,
    `nats:
  servers: [tls://127.0.0.1:1]
  caFile: ca.pem
  ${operator === undefined ? 'nkeySeedFile: responder.nk' : 'credentialsFile: responder.creds'}
http: { admin: 127.0.0.1:0 }
timing: { secretFile: 50ms, configuration: 50ms, readiness: 10ms }
callout:
  accountKeyFile: issuer.nk
  policyFile: policy.json
${sealed ? '  xkeySeedFile: xkey.nk\n' : ''}${operator?.accountLines ?? ''}${more}`,
  );
  const { status, stdout, stderr } = await runHere(['setup'], file);
  assert.equal(status, 0, stderr);
  if (operator !== undefined)
    return { folder, file, config: await operator.config(stdout, line ?? '2.15'), sentinel: operator.sentinel };
  // The output of `setup` already has the accounts that the policy names.
  const names = accounts.map((name) => JSON.stringify(name)).filter((name) => !stdout.includes(`  ${name}: {`));
  const block = stdout
    .slice(stdout.indexOf('# Configuration of nats-server'))
    .replace(/^ *# One account for each .*$/m, names.map((name) => `  ${name}: { jetstream: enabled }`).join('\n'))
    .replace(/"each \{\w+\}"/, names.join(', '));
  const config = line === '2.10' ? block.replace(/^ *allowed_accounts: .*$/m, '') : block;
  return { folder, file, config, sentinel: undefined };
}

type KeyPair = ReturnType<typeof createAccount>;

const LIMITS = { conn: -1, subs: -1, data: -1, payload: -1, leaf: -1, imports: -1, exports: -1, wildcards: true };
const JET_STREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
const NOTHING = { allow: [], deny: ['>'] };

/** An operator with the accounts SYS, AUTH and CI, whose JWTs don't come from the bridge. */
class Operator {
  sentinel = '';
  readonly #operator = createOperator();
  readonly #system = createAccount();
  readonly #auth = createAccount();
  readonly #authSigning = createAccount();
  /** The accounts that clients are placed in. */
  readonly #accounts: readonly { readonly name: string; readonly own: KeyPair; readonly signing: KeyPair }[];
  readonly #responder = createUser();

  private constructor(
    private readonly folder: string,
    accounts: readonly string[],
  ) {
    this.#accounts = accounts.map((name) => ({ name, own: createAccount(), signing: createAccount() }));
  }

  static async create(folder: string, accounts: readonly string[]): Promise<Operator> {
    const operator = new Operator(folder, accounts);
    const save = (name: string, pair: KeyPair) => writeFileSync(path.join(folder, name), pair.getSeed());
    save('issuer.nk', operator.#authSigning);
    for (const { name, signing } of operator.#accounts) save(`${name}.nk`, signing);
    operator.sentinel = await operator.#user(createUser(), { bearer_token: true, pub: NOTHING, sub: NOTHING });
    await operator.#writeCredentials({});
    return operator;
  }

  get accountLines(): string {
    const lines = this.#accounts.map(
      ({ name, own }) => `    ${name}: { id: ${own.getPublicKey()}, keyFile: ${name}.nk }`,
    );
    return ['  accounts:', ...lines, ''].join('\n');
  }

  /** The server's configuration, with the output of `setup` in the JWTs. */
  async config(printed: string, line: string): Promise<string> {
    await this.#writeCredentials({ pub: allowedIn(printed, 'publish'), sub: allowedIn(printed, 'subscribe') });
    const claims = JSON.parse(/^\{"authorization":.*$/m.exec(printed)![0]) as object;
    const jwts: Record<string, string> = {
      [this.#system.getPublicKey()]: await this.#account('SYS', this.#system, {}),
      [this.#auth.getPublicKey()]: await this.#account('AUTH', this.#auth, {
        signing_keys: [this.#authSigning.getPublicKey()],
        ...claims,
      }),
    };
    for (const { name, own, signing } of this.#accounts)
      jwts[own.getPublicKey()] = await this.#account(name, own, { signing_keys: [signing.getPublicKey()] });
    const system = this.#system.getPublicKey();
    return [
      `operator: ${await encodeOperator('operator', this.#operator, { system_account: system })}`,
      `system_account: ${system}`,
      'resolver: MEMORY',
      `resolver_preload ${JSON.stringify(jwts)}`,
      ...(line === '2.10' ? [] : [`default_sentinel: ${this.sentinel}`]),
      printed.slice(printed.indexOf('# Configuration of nats-server')),
    ].join('\n');
  }

  #account(name: string, pair: KeyPair, more: object): Promise<string> {
    const limits = name === 'SYS' ? LIMITS : { ...LIMITS, ...JET_STREAM };
    return encodeAccount(name, pair, Object.assign({ limits }, more), { signer: this.#operator });
  }

  #user(user: ReturnType<typeof createUser>, claims: object): Promise<string> {
    return encodeUser('user', user, this.#auth, claims, { signer: this.#authSigning });
  }

  async #writeCredentials(claims: object): Promise<void> {
    const creds = fmtCreds(await this.#user(this.#responder, claims), this.#responder);
    writeFileSync(path.join(this.folder, 'responder.creds'), creds);
  }
}

function allowedIn(printed: string, operation: 'publish' | 'subscribe'): { allow: string[]; deny: string[] } {
  const [, list = ''] = new RegExp(`^  ${operation}: \\{ allow: \\[([^\\]]*)\\]`, 'm').exec(printed) ?? [];
  const allow = [...list.matchAll(/^ *"([^"]+)"/gm)].map(([, subject]) => subject!);
  return { allow, deny: [] };
}

/** Starts a server with TLS and an auth callout, and a bridge that answers it. */
export async function startCallout(options: CalloutOptions): Promise<Callout> {
  const sides = await setUp(options);
  const authority = await createAuthority();
  writeFileSync(path.join(sides.folder, 'ca.pem'), authority.cert);
  const server = await startNatsServer({
    binary: natsServerBinary(options.line ?? '2.15'),
    tls: saveCertificate(sides.folder, 'server', await authority.server()),
    config: sides.config,
  });
  try {
    const yaml = readFileSync(sides.file, 'utf8').replace('127.0.0.1:1]', `127.0.0.1:${server.port}]`);
    writeFileSync(sides.file, yaml);
    await setUpOn(sides.file, options.env);
    return new Callout(sides, server, authority.cert, await startResponder(sides.file, options), options);
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Another process with the same configuration; resolves once it answers. */
async function startResponder(file: string, options: CalloutOptions): Promise<BridgeProcess> {
  const responder = await BridgeProcess.startOn(file, options);
  await responder.logged('callout');
  return responder;
}

/** A server, its auth callout and the bridge that answers it. */
export class Callout implements AsyncDisposable {
  readonly #others: BridgeProcess[] = [];

  constructor(
    private readonly sides: Sides,
    readonly server: NatsServer,
    /** PEM text of the server's certificate authority. */
    readonly ca: string,
    readonly responder: BridgeProcess,
    private readonly options: CalloutOptions,
  ) {}

  get file(): string {
    return this.sides.file;
  }

  /** Starts one more responder. */
  async another(): Promise<BridgeProcess> {
    const other = await startResponder(this.file, this.options);
    this.#others.push(other);
    return other;
  }

  writePolicy(policy: object | string): void {
    const text = typeof policy === 'string' ? policy : JSON.stringify(policy);
    writeFileSync(path.join(this.sides.folder, 'policy.json'), text);
  }

  /** Signs in with a token as `auth_token`; in operator mode with the sentinel, since 2.10 has no default one. */
  async connect(token: string | undefined, options: ConnectionOptions = {}): Promise<Client> {
    const { sentinel } = this.sides;
    const connection = await connect({
      ...(sentinel !== undefined && this.options.line === '2.10' && { authenticator: jwtAuthenticator(sentinel) }),
      ...options,
      servers: this.server.url,
      ...(token !== undefined && { token }),
      // Without `host`, the client library checks an IP address's certificate against the name localhost.
      tls: { ca: this.ca, host: '127.0.0.1' } as TlsOptions,
    });
    return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
  }

  /** Asserts that the client is refused, that the log says why, and that the log contains nothing of the token. */
  async refuses(token: string | undefined, reason: RegExp, options: ConnectionOptions = {}): Promise<LogLine> {
    const from = this.responder.lines.length;
    await assert.rejects(this.connect(token, options), { code: 'AUTHORIZATION_VIOLATION' });
    const line = await this.responder.until(`refusal ${String(reason)}`, () =>
      this.responder.lines
        .slice(from)
        .find((one) => one.event === 'signIn' && one['outcome'] !== 'granted' && reason.test(String(one['reason']))),
    );
    for (const part of token?.split('.').filter((one) => one.length > 8) ?? [])
      assert.ok(!this.responder.text.includes(part), 'the log shows a part of the token');
    return line;
  }

  /** The sign-ins in the audit stream, read as the bridge's own user; waits until there are this many. */
  async decisions(count: number): Promise<Decided[]> {
    const read = (name: string) => readFileSync(path.join(this.sides.folder, name));
    const authenticator =
      this.sides.sentinel === undefined
        ? nkeyAuthenticator(read('responder.nk').subarray(0, 58))
        : credsAuthenticator(read('responder.creds'));
    const client = await this.connect(undefined, { authenticator });
    try {
      const jsm = await client.jetstreamManager({ checkAPI: false });
      return await this.responder.until(`${count} decisions`, async () => {
        const { state } = await jsm.streams.info('BRIDGE_AUDIT');
        if (state.messages < count) return undefined;
        return (await storedIn(jsm, 'BRIDGE_AUDIT'))
          .map((message) => ({ subject: message.subject, ...message.json<Omit<Decided, 'subject'>>() }))
          .filter((decided) => decided.function === 'callout');
      });
    } finally {
      await client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of [this.responder, ...this.#others]) await process[Symbol.asyncDispose]();
    await this.server.stop();
  }
}

/** The parts of a decision that tests check. */
export interface Decided {
  readonly subject: string;
  readonly function: string;
  readonly decision: string;
  readonly reason?: string;
  readonly signIn: Readonly<Record<string, string>>;
  readonly followed?: Readonly<Record<string, string>>;
}

export interface Client extends NatsConnection, AsyncDisposable {}

/** Collects the problems that a connection reports. */
export function problemsOf(connection: NatsConnection): unknown[] {
  const problems: unknown[] = [];
  void (async () => {
    for await (const { type, data } of connection.status()) if (type === Events.Error) problems.push(data);
  })();
  return problems;
}

export function mayPublish(connection: NatsConnection, subject: string): Promise<boolean> {
  return isAllowed(connection, () => connection.publish(subject));
}

export function maySubscribe(connection: NatsConnection, subject: string): Promise<boolean> {
  return isAllowed(connection, () => void connection.subscribe(subject, { callback: () => {} }));
}

/** The server reports a violation before it answers the flush's ping. */
async function isAllowed(connection: NatsConnection, act: () => void): Promise<boolean> {
  let violated = false;
  const status = connection.status();
  void (async () => {
    for await (const { type } of status) if (type === Events.Error) violated = true;
  })();
  act();
  await connection.flush();
  await new Promise((resolve) => setImmediate(resolve));
  return !violated;
}
