import type { NatsConnection } from 'nats';
import { pause, unlessAborted, type Clock } from '../../clock.ts';
import type { ConnectionSettings, ConnectionWords, ServerAddress } from '../../connection/settings.ts';
import { reasonOf, TaskError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { apiPrefix, JetStreamApi } from '../jetStreamApi.ts';
import { dial } from './dial.ts';
import { silence, type DialFailure } from './dialFailure.ts';
import { Link } from './link.ts';
import { longToken, secretSentBy, signInAfterRefusal, signInWith, tokenSourceOf, type SignIn } from './signIn.ts';
import { STEP_WORDS } from './words.ts';

/** First connection: how long to retry servers that aren't there. */
const FIRST_CONNECTION_MS = 30_000;
/** A broken link: how long a rejected sign-in counts as a passing fault. */
const SIGN_IN_AGAIN_MS = 30_000;
const RETRY_PAUSE_MS = 250;
/** The longest pause between two dials of a broken link. */
const MOST_RETRY_PAUSE_MS = 2_000;
/** A link that is kept: the pause after a dial that was given up. */
const KEEP_PAUSE_MS = 1_000;
/** Servers of a cluster that are tried besides those of the service connection, with which they share the time. */
const MAX_ANNOUNCED = 32;

/** Called with the reason why there's no link, and what to do about it. */
export type OnLinkDown = (trouble: Pick<DialFailure, 'reason' | 'remedy'>) => void;

/** The link broke, and a server refuses another one. */
class RefusedLink extends TaskError {
  constructor(readonly refusal: DialFailure) {
    super('ConnectionLost', `The link broke and cannot be restored: ${refusal.reason}`, refusal.remedy);
  }

  /** The same where dialling goes on. */
  whileTrying(): string {
    const { reason, remedy } = this.refusal;
    const trying = `Trying again every ${MOST_RETRY_PAUSE_MS / 1_000} s.`;
    return [`The link is still down: ${reason}. ${trying}`, remedy].filter(Boolean).join(' ');
  }
}

/** Keeps one link to the servers of a service connection: dials it, and dials again whenever it breaks. */
export class Links {
  #link: Link | undefined;
  #linkedAt = 0;
  #dialling: Promise<Link> | undefined;
  #announced: readonly ServerAddress[] = [];
  /** The JetStream domain of the server of the link. */
  #serverDomain: string | undefined;
  /**
   * With `tls://`, or once the step has signed in over TLS, no server is dialled without it: whoever broke the link might be
   * waiting for the credentials.
   */
  #mustEncrypt: boolean;
  #hasWarnedOfLength = false;
  #hasWarnedOfClearText = false;
  readonly #closing = new AbortController();
  /** Aborts when the clock's does, and when this is closed. */
  readonly #signal: AbortSignal;
  #settings: ConnectionSettings;

  /**
   * Connects to the first server that accepts; see {@link connect}.
   *
   * @param settings how to connect now: asked before each dial, since secrets may have changed by then
   * @param onDown called with each reason why there's no link while connecting goes on
   */
  static async open(
    settings: () => ConnectionSettings,
    clock: Clock,
    log: Log,
    onDown: OnLinkDown = () => {},
  ): Promise<Links> {
    const links = new Links(settings, clock, log, onDown);
    try {
      await links.connect();
    } catch (error) {
      await links.close();
      throw error;
    }
    return links;
  }

  private constructor(
    private readonly settings: () => ConnectionSettings,
    private readonly clock: Clock,
    readonly log: Log,
    private readonly onDown: OnLinkDown,
  ) {
    this.#settings = settings();
    this.#mustEncrypt = this.#settings.servers.some(({ tls }) => tls);
    this.#signal = AbortSignal.any([clock.signal, this.#closing.signal]);
  }

  /** The latest link, which may be gone; undefined before the first. */
  get last(): Link | undefined {
    return this.#link;
  }

  get isLinkUp(): boolean {
    return this.#link?.isClosed === false;
  }

  get #words(): ConnectionWords {
    return this.#settings.words ?? STEP_WORDS;
  }

  #isOver(): boolean {
    return this.#signal.aborted;
  }

  get inboxPrefix(): string {
    return this.#settings.inboxPrefix ?? '_INBOX';
  }

  /**
   * A server of the domain itself maps its prefix to the plain one before it looks at permissions, and then names the
   * plain one in its refusals. So the prefix with the domain is for other servers only, such as leaf nodes.
   */
  get apiPrefix(): string {
    const { jetStreamDomain } = this.#settings;
    return apiPrefix(jetStreamDomain === this.#serverDomain ? undefined : jetStreamDomain);
  }

  /** The JetStream API over a link. */
  api(link: Link): JetStreamApi {
    return new JetStreamApi(link, this.apiPrefix);
  }

  /** Opens the first link, to the first server that accepts. Fails with every server's own reason. */
  private async connect(): Promise<void> {
    const until = Math.min(Date.now() + FIRST_CONNECTION_MS, this.clock.deadline);
    let failures: DialFailure[] = [];
    for (;;) {
      const before = failures;
      failures = [];
      const link = await unlessAborted(this.#dialEach(until, failures), this.#signal).catch((reason: unknown) => {
        if (!isTimeout(reason)) throw reason;
        const awaited = tokenSourceOf(this.#settings.authentication)?.awaited();
        // Servers that haven't had a turn yet, or didn't answer in theirs.
        const servers = this.#settings.servers.slice(failures.length);
        failures.push(
          ...(awaited === undefined
            ? servers.map((server) => silence(server, this.#settings.words))
            : [signInFailure(awaited, false)]),
        );
        return undefined;
      });
      if (link !== undefined) return;
      // A try that the deadline cuts short says less than the one before, if that said anything.
      failures = failures.map((failure, index) => {
        const earlier = before[index];
        return failure.nature === 'silent' && earlier && earlier.nature !== 'closed' ? earlier : failure;
      });
      if (Date.now() + RETRY_PAUSE_MS >= until || failures.some((failure) => !failure.transient))
        throw connectError(failures);
      this.onDown(summary(failures));
      await pause(RETRY_PAUSE_MS, this.#signal).catch((reason: unknown) => {
        throw isTimeout(reason) ? connectError(failures) : reason;
      });
    }
  }

  /**
   * The link, dialled again if it is gone: until the signal, or until signing in is refused for good. A deadline that
   * passes meanwhile is `ConnectionLost`.
   */
  async liveLink(signal: AbortSignal): Promise<Link> {
    if (this.#link !== undefined && !this.#link.isClosed) return this.#link;
    try {
      signal.throwIfAborted();
      this.#dialling ??= this.#redial().finally(() => {
        this.#dialling = undefined;
      });
      return await unlessAborted(this.#dialling, signal);
    } catch (reason) {
      if (!isTimeout(reason)) throw reason;
      throw new TaskError(
        'ConnectionLost',
        'The link to the server broke and did not come back within the timeout',
        `Check whether the server is reachable${this.#words.again}.`,
      );
    }
  }

  /** Like {@link liveLink}, for this many milliseconds: many calls per second leave no timers behind while the link is up. */
  async linkWithin(ms: number): Promise<Link> {
    return this.#link?.isClosed === false ? this.#link : this.liveLink(AbortSignal.timeout(ms));
  }

  /** Dials again whenever the link breaks, also while nobody needs it, and says so, until this is closed. Never rejects. */
  async keepAlive(): Promise<void> {
    let brokeAt: number | undefined;
    while (!this.#isOver()) {
      try {
        const link = await this.liveLink(this.#signal);
        if (brokeAt !== undefined) this.log.info(`connected    server=${link.server} downMs=${Date.now() - brokeAt}`);
        const reason = await link.closed;
        brokeAt = Date.now();
        if (this.#isOver()) return;
        this.onDown({ reason: `the link to ${link.server} broke: ${reason}`, remedy: '' });
        this.log.warning(`The link to ${link.server} broke: ${reason}. Connecting again.`);
      } catch (error) {
        if (error instanceof RefusedLink) this.onDown(error.refusal);
        if (!this.#isOver()) this.log.warning(error instanceof RefusedLink ? error.whileTrying() : reasonOf(error));
        await pause(KEEP_PAUSE_MS, this.#signal).catch(() => undefined);
      }
    }
  }

  async #redial(): Promise<Link> {
    const lostAt = Date.now();
    // Don't dial a server that ends each link at once at the speed of the network.
    if (lostAt - this.#linkedAt < RETRY_PAUSE_MS) await pause(RETRY_PAUSE_MS, this.#signal);
    for (let attempt = 0; ; attempt++) {
      const failures: DialFailure[] = [];
      const link = await this.#dialEach(this.clock.deadline, failures);
      if (link !== undefined) return link;
      const refused = failures.find((failure) => !failure.transient);
      if (refused !== undefined && Date.now() - lostAt > SIGN_IN_AGAIN_MS) {
        throw new RefusedLink(refused);
      }
      this.onDown(summary(failures));
      for (const { reason } of failures) this.log.debug(`Connecting again: ${reason}`);
      await pause(Math.min(RETRY_PAUSE_MS * 2 ** Math.min(attempt, 3), MOST_RETRY_PAUSE_MS), this.#signal);
    }
  }

  /** Tries every known server once, in order, each with its share of the time, until one accepts; notes what the others said. */
  async #dialEach(until: number, failures: DialFailure[]): Promise<Link | undefined> {
    const unreadable = this.#readSettings();
    if (unreadable !== undefined) {
      failures.push(unreadable);
      return undefined;
    }
    const signIn = await signInWith(this.#settings.authentication, this.#signal);
    // Asking for a token has its own retries; a broken link is worth more of them.
    if (signIn instanceof TaskError) {
      failures.push(signInFailure(signIn, signIn.code === 'Unreachable' && this.#link !== undefined));
      return undefined;
    }
    this.#warnOfLength(signIn);
    const addresses = [...this.#settings.servers, ...this.#announced];
    for (const [index, address] of addresses.entries()) {
      const share = (until - Date.now()) / (addresses.length - index);
      const result = await this.#dial(address, signIn, Date.now() + share);
      if ('code' in result) {
        failures.push(result);
        continue;
      }
      const link = new Link(result, address);
      if (this.#isOver()) await link.close();
      this.#signal.throwIfAborted();
      this.#adopt(link);
      return link;
    }
    return undefined;
  }

  /** Why the settings for the next dial aren't available; undefined once they are. */
  #readSettings(): DialFailure | undefined {
    try {
      this.#settings = this.settings();
      return undefined;
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      // A secret that is being replaced may be gone for a moment.
      return { code: error.code, reason: error.problem, remedy: error.remedy, transient: this.#link !== undefined };
    }
  }

  async #dial(address: ServerAddress, signIn: SignIn, until: number): Promise<NatsConnection | DialFailure> {
    const dialWith = (authentication: SignIn) =>
      dial(
        { ...this.#settings, authentication },
        { ...address, tls: address.tls || this.#mustEncrypt },
        Math.max(1, until - Date.now()),
        (isEncrypted) => {
          if (isEncrypted) this.#mustEncrypt = true;
          else this.#warnOfClearText(address, authentication);
        },
      );
    const result = await dialWith(signIn);
    if (!('code' in result) || result.code !== 'Denied') return result;
    const newer = await signInAfterRefusal(this.#settings.authentication, signIn, this.#signal);
    return newer === undefined ? result : dialWith(newer);
  }

  #warnOfLength(signIn: SignIn): void {
    const token = longToken(signIn);
    if (token === undefined || this.#hasWarnedOfLength) return;
    this.#hasWarnedOfLength = true;
    this.log.warning(
      `The ${secretSentBy(signIn) ?? 'token'} of this run has ${token.length} characters, more than a NATS server takes by default. Set max_control_line: 32768 in the configuration of the server if it does not answer.`,
    );
  }

  #adopt(link: Link): void {
    const first = this.#link === undefined;
    this.#link = link;
    this.#linkedAt = Date.now();
    const { info } = link.connection;
    this.#serverDomain = (info as { readonly domain?: string } | undefined)?.domain;
    const tlsName = link.address.tlsName ?? link.address.host;
    this.#announced = announced(info?.connect_urls ?? [])
      .map((server) => ({ ...server, tls: this.#mustEncrypt, tlsName }))
      .filter(({ host, port }) => !this.#settings.servers.some((known) => known.host === host && known.port === port));
    if (!first) return;
    this.log.info(
      `connected    server=${link.server} name=${JSON.stringify(info?.server_name ?? '')} version=${info?.version ?? ''} tls=${String(link.isEncrypted)}`,
    );
  }

  #warnOfClearText({ host, port }: ServerAddress, signIn: SignIn): void {
    const secret = secretSentBy(signIn);
    if (secret === undefined || this.#hasWarnedOfClearText) return;
    this.#hasWarnedOfClearText = true;
    this.log.warning(
      `The ${secret} was sent to ${host}:${port} without TLS, where anyone on the way can read it. Turn TLS on in the server and use tls:// in ${this.#words.servers}.`,
    );
  }

  /** Closes the link at once, even one being dialled, and the source of tokens. Never rejects. */
  async close(): Promise<void> {
    this.#closing.abort(new TaskError('Cancelled', 'The connection to NATS was closed'));
    const { authentication } = this.#settings;
    tokenSourceOf(authentication)?.close();
    await this.#link?.close();
  }
}

/** The cluster's servers that a server names, without entries that can't be servers. */
function announced(urls: readonly string[]): { readonly host: string; readonly port: number }[] {
  return urls.slice(0, MAX_ANNOUNCED).flatMap((url) => {
    const [, bracketed, plain, port] = /^(?:\[([\da-f:.%]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(url) ?? [];
    const host = bracketed ?? plain;
    return host === undefined || Number(port) > 65_535 ? [] : [{ host, port: Number(port) }];
  });
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof TaskError && reason.code === 'Timeout';
}

/** A dial that failed before it began, for lack of anything to sign in with. */
function signInFailure({ code, problem, remedy }: TaskError, transient: boolean): DialFailure {
  return { code, reason: problem, remedy, transient };
}

function connectError(failures: readonly DialFailure[]): TaskError {
  const { code, reason, remedy } = summary(failures);
  return new TaskError(code, `Cannot connect to NATS: ${reason}`, remedy);
}

/** Every server's own reason, and what to do about the worst. */
function summary(failures: readonly DialFailure[]): DialFailure {
  const worst = failures.reduce((one, next) => (one.transient && !next.transient ? next : one));
  return { ...worst, reason: failures.map(({ reason }) => reason).join('; ') };
}
