import type { NatsConnection } from 'nats';
import type { Bus, Headers, OutgoingMessage, PubAck, StreamSource, Subscription, SubscriptionEvents } from '../bus.ts';
import type { ConnectionSettings, ServerAddress } from '../connection.ts';
import { TaskError } from '../errors.ts';
import type { StepClock } from '../run.ts';
import type { Agent } from '../agent.ts';
import { CoreSubscription } from './coreSubscription.ts';
import { dial, MAX_TOKEN_LENGTH, type DialFailure, type SignIn } from './dial.ts';
import { apiErrorText, apiPrefix, API_ERROR, JetStreamApi, parseAnswer, type ApiError } from './jetStreamApi.ts';
import { Link, toMsgHeaders } from './link.ts';
import { corePublishGrants, deniedError, streamPublishGrants } from './permissions.ts';
import { signInAfterRefusal, signInWith } from './signIn.ts';
import { StreamReader } from './streamReader.ts';
import { pause, unlessAborted } from './pause.ts';

/** First connection: how long servers that are not there are tried again. */
const FIRST_CONNECTION_MS = 30_000;
/** A broken link: how long refusals to sign in again are taken for a passing fault. */
const SIGN_IN_AGAIN_MS = 30_000;
const RETRY_PAUSE_MS = 250;
const ACK_TIMEOUT_MS = 5_000;
/** How long "nobody answers on this subject" may be a stream that is electing its leader. */
const LEADER_ELECTION_MS = 10_000;
const FLUSH_TIMEOUT_MS = 5_000;

type Log = Pick<Agent, 'info' | 'warning' | 'debug'>;

/** Connects to the first server that accepts. Fails with every server's own reason. */
export async function openNatsBus(settings: ConnectionSettings, clock: StepClock, log: Log): Promise<NatsBus> {
  const bus = new NatsBus(settings, clock, log);
  await bus.connect();
  return bus;
}

/** {@link Bus} over one NATS link at a time, dialled again whenever it breaks. */
export class NatsBus implements Bus {
  readonly #settings: ConnectionSettings;
  readonly #clock: StepClock;
  readonly #log: Log;
  #link: Link | undefined;
  #dialling: Promise<Link> | undefined;
  #announced: readonly ServerAddress[] = [];
  /** Once a link was encrypted, none without TLS may follow: whoever broke it might be waiting for the credentials. */
  #mustEncrypt = false;
  #hasWarnedOfLength = false;

  constructor(settings: ConnectionSettings, clock: StepClock, log: Log) {
    this.#settings = settings;
    this.#clock = clock;
    this.#log = log;
  }

  get inboxPrefix(): string {
    return this.#settings.inboxPrefix ?? '_INBOX';
  }

  get apiPrefix(): string {
    return apiPrefix(this.#settings.jetStreamDomain);
  }

  get log(): Log {
    return this.#log;
  }

  /** The JetStream API over a link. */
  api(link: Link): JetStreamApi {
    return new JetStreamApi(link, this.#settings.jetStreamDomain);
  }

  /** Opens the first link. */
  async connect(): Promise<void> {
    const until = Math.min(Date.now() + FIRST_CONNECTION_MS, this.#clock.deadline);
    for (;;) {
      const result = await unlessAborted(this.#dialEach(until), this.#clock.signal).catch((reason: unknown) => {
        if (reason instanceof TaskError && reason.code === 'Timeout') return [] as DialFailure[];
        throw reason;
      });
      if (result instanceof Link) return;
      if (Date.now() + RETRY_PAUSE_MS >= until || result.some((failure) => !failure.transient))
        throw connectError(result, this.#settings);
      await pause(RETRY_PAUSE_MS, this.#clock.signal);
    }
  }

  /** The link, dialled again if it is gone: until the signal, or until signing in is refused for good. */
  async liveLink(signal: AbortSignal): Promise<Link> {
    if (this.#link !== undefined && !this.#link.isClosed) return this.#link;
    this.#dialling ??= this.#redial().finally(() => {
      this.#dialling = undefined;
    });
    return unlessAborted(this.#dialling, signal);
  }

  async #redial(): Promise<Link> {
    const lostAt = Date.now();
    for (let attempt = 0; ; attempt++) {
      const result = await this.#dialEach(this.#clock.deadline);
      if (result instanceof Link) return result;
      const refused = result.find((failure) => !failure.transient);
      if (refused !== undefined && Date.now() - lostAt > SIGN_IN_AGAIN_MS) {
        throw new TaskError(
          'ConnectionLost',
          `The link broke and cannot be restored: ${refused.reason}.`,
          refused.remedy,
        );
      }
      for (const { reason } of result) this.#log.debug(`Connecting again: ${reason}`);
      await pause(Math.min(RETRY_PAUSE_MS * 2 ** Math.min(attempt, 3), 2_000), this.#clock.signal);
    }
  }

  /** Tries every known server once, in order. */
  async #dialEach(until: number): Promise<Link | DialFailure[]> {
    const failures: DialFailure[] = [];
    const signIn = await signInWith(this.#settings.authentication, this.#clock.signal);
    // Asking for an ID token has its own retries; a broken link is worth more of them.
    if ('code' in signIn) return [{ ...signIn, transient: signIn.transient && this.#link !== undefined }];
    if (signIn.kind === 'idToken') this.#checkLength(signIn.token);
    for (const address of [...this.#settings.servers, ...this.#announced]) {
      const result = await this.#dial(address, signIn, until);
      if ('code' in result) {
        failures.push(result);
        continue;
      }
      const link = new Link(result, address);
      this.#adopt(link);
      return link;
    }
    return failures;
  }

  async #dial(address: ServerAddress, signIn: SignIn, until: number): Promise<NatsConnection | DialFailure> {
    const dialWith = (authentication: SignIn) =>
      dial(
        { ...this.#settings, authentication },
        { ...address, tls: address.tls || this.#mustEncrypt },
        Math.max(1, until - Date.now()),
      );
    const result = await dialWith(signIn);
    if (!('code' in result) || result.code !== 'Denied') return result;
    const newer = await signInAfterRefusal(this.#settings.authentication, signIn, this.#clock.signal);
    return newer === undefined ? result : dialWith(newer);
  }

  #checkLength(token: string): void {
    if (token.length <= MAX_TOKEN_LENGTH || this.#hasWarnedOfLength) return;
    this.#hasWarnedOfLength = true;
    this.#log.warning(
      `The ID token of this run has ${String(token.length)} characters, more than a NATS server takes by default. Set max_control_line: 32768 in the configuration of the server if it does not answer.`,
    );
  }

  #adopt(link: Link): void {
    const first = this.#link === undefined;
    this.#link = link;
    const { info } = link.connection;
    const encrypted = info?.tls_required === true || info?.tls_available === true;
    this.#mustEncrypt ||= encrypted;
    const tlsName = link.address.tlsName ?? link.address.host;
    this.#announced = (info?.connect_urls ?? []).flatMap((url) => {
      const match = /^\[?(.+?)\]?:(\d+)$/.exec(url);
      if (match === null) return [];
      const address = { host: match[1] ?? '', port: Number(match[2]), tls: encrypted, tlsName };
      return this.#settings.servers.some((known) => known.host === address.host && known.port === address.port)
        ? []
        : [address];
    });
    if (!first) return;
    this.#log.info(
      `connected    server=${link.server} name=${JSON.stringify(info?.server_name ?? '')} version=${info?.version ?? ''} tls=${String(encrypted)}`,
    );
    const { kind } = this.#settings.authentication;
    if (!encrypted && (kind === 'token' || kind === 'userPassword')) {
      this.#log.warning(
        `The ${kind === 'token' ? 'token' : 'password'} was sent to ${link.server} without TLS, where anyone on the way can read it. Turn TLS on in the server and use tls:// in the service connection.`,
      );
    }
  }

  async publishToStream(
    message: OutgoingMessage,
    expectedStream: string | undefined,
    signal: AbortSignal,
  ): Promise<PubAck> {
    const grants = streamPublishGrants(message.subject, this.inboxPrefix);
    const headers = toMsgHeaders(
      expectedStream === undefined ? message.headers : [...message.headers, ['Nats-Expected-Stream', expectedStream]],
    );
    let silentSince: number | undefined;
    let lastLink: Link | undefined;
    for (;;) {
      const link = await this.liveLink(signal).catch((reason: unknown) => {
        throw publishInterrupted(reason, message.subject, true);
      });
      if (link !== lastLink) checkSize(message, link);
      lastLink = link;
      const reply = await unlessAborted(
        link.request(message.subject, message.payload, ACK_TIMEOUT_MS, headers),
        signal,
      ).catch((reason: unknown) => {
        throw publishInterrupted(reason, message.subject, false);
      });
      if (reply.kind === 'denied') throw deniedError(reply.violation.operation, reply.violation.subject, grants);
      if (reply.kind === 'reply') {
        const answer = parseAnswer<{ stream: string; seq: number; duplicate?: boolean }>(reply.message.data);
        if (answer.kind === 'ok' && typeof answer.response.stream === 'string') {
          return {
            stream: answer.response.stream,
            sequence: answer.response.seq,
            duplicate: answer.response.duplicate === true,
          };
        }
        if (answer.kind === 'apiError') throw refusedByStream(answer.error, message.subject, expectedStream);
        throw new TaskError(
          'NoStream',
          `The answer on "${message.subject}" does not come from a stream: a subscriber replied instead.`,
          'Create a stream that captures the subject, or set delivery to core.',
        );
      }
      if (reply.kind === 'lost') continue;
      // Nobody answers: no stream captures the subject, or its leader is being elected.
      silentSince ??= Date.now();
      const state = await this.#streamState(link, message.subject);
      if (
        state === 'none' ||
        (reply.kind === 'noResponders' && state === 'unknown' && Date.now() - silentSince > LEADER_ELECTION_MS)
      ) {
        throw noStreamError(message.subject);
      }
      if (state === 'off') throw jetStreamOffError(link);
      await pause(RETRY_PAUSE_MS, signal).catch((reason: unknown) => {
        throw publishInterrupted(reason, message.subject, false);
      });
    }
  }

  /** Whether a stream captures the subject, as far as this user may know. */
  async #streamState(link: Link, subject: string): Promise<'some' | 'none' | 'off' | 'unknown'> {
    const names = await this.api(link).streamNames(subject);
    if (names.kind === 'ok') return (names.response.streams ?? []).length > 0 ? 'some' : 'none';
    if (names.kind === 'apiError' && names.error.err_code === API_ERROR.notEnabledForAccount) return 'off';
    if (names.kind === 'noResponders' && link.connection.info?.jetstream !== true) return 'off';
    return 'unknown';
  }

  async publishCore(message: OutgoingMessage, signal: AbortSignal): Promise<void> {
    const headers = toMsgHeaders(message.headers);
    for (;;) {
      const link = await this.liveLink(signal).catch((reason: unknown) => {
        throw publishInterrupted(reason, message.subject, true);
      });
      checkSize(message, link);
      link.connection.publish(message.subject, message.payload, { headers });
      const violations = await unlessAborted(link.flush(FLUSH_TIMEOUT_MS), signal).catch((reason: unknown) => {
        throw publishInterrupted(reason, message.subject, false);
      });
      if (violations !== undefined) {
        const denied = violations.find(({ subject }) => subject === message.subject);
        if (denied !== undefined) throw deniedError('publish', message.subject, corePublishGrants(message.subject));
        return;
      }
      await link.close('the server did not answer');
    }
  }

  async readStream(source: StreamSource, events: SubscriptionEvents, signal: AbortSignal): Promise<Subscription> {
    const reader = new StreamReader(this, source, events, signal);
    await reader.begin();
    return reader;
  }

  async subscribeCore(
    subjects: readonly string[],
    events: SubscriptionEvents,
    signal: AbortSignal,
  ): Promise<Subscription> {
    const subscription = new CoreSubscription(this, subjects, events, signal);
    await subscription.begin();
    return subscription;
  }

  async close(): Promise<void> {
    const { authentication } = this.#settings;
    if (authentication.kind === 'oidc') authentication.idToken.close();
    await this.#link?.close();
  }
}

function connectError(failures: readonly DialFailure[], settings: ConnectionSettings): TaskError {
  const worst = failures.find((failure) => !failure.transient) ?? failures[0];
  if (worst === undefined) {
    const servers = settings.servers.map(({ host, port }) => `${host}:${String(port)}`).join(', ');
    return new TaskError(
      'Unreachable',
      `No connection to ${servers} within the timeout of this step.`,
      'Check the host, the port, and that this agent may reach it, or raise the timeout.',
    );
  }
  return new TaskError(
    worst.code,
    `Cannot connect to NATS: ${failures.map(({ reason }) => reason).join('; ')}.`,
    worst.remedy,
  );
}

/** What the end of the step means for a publish in flight. */
function publishInterrupted(reason: unknown, subject: string, linkDown: boolean): unknown {
  if (!(reason instanceof TaskError) || reason.code !== 'Timeout') return reason;
  const remedy =
    'Whether the event was stored is not known. Run the step again: it sends the same message id, so a stored event is not doubled within the duplicate window of the stream.';
  return linkDown
    ? new TaskError(
        'ConnectionLost',
        `The link to the server broke before the event on "${subject}" was confirmed, and did not come back within the timeout.`,
        remedy,
      )
    : new TaskError('Timeout', `The event on "${subject}" was not confirmed within the timeout.`, remedy);
}

/** Bytes a message takes: the server counts its encoded headers as well. */
function checkSize(message: OutgoingMessage, link: Link): void {
  const limit = link.connection.info?.max_payload;
  const size = encodedSize(message.headers) + message.payload.length;
  if (limit !== undefined && size > limit) {
    throw new TaskError(
      'TooLarge',
      `The event has ${String(size)} bytes with its headers, and the server takes ${String(limit)} (max_payload).`,
      'Store large content elsewhere, such as a pipeline artifact, and publish a reference to it.',
    );
  }
}

function encodedSize(headers: Headers): number {
  return headers.reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + ': \r\n'.length,
    'NATS/1.0\r\n\r\n'.length,
  );
}

function refusedByStream(error: ApiError, subject: string, expectedStream: string | undefined): TaskError {
  switch (error.err_code) {
    case API_ERROR.wrongStream:
      return new TaskError(
        'Conflict',
        `The subject "${subject}" is not captured by the stream "${expectedStream ?? ''}" but by another one.`,
        'Correct the input "stream", or leave it empty.',
      );
    case API_ERROR.wrongLastSequence:
    case API_ERROR.wrongLastMessageId:
      return new TaskError(
        'Conflict',
        `The stream did not take the event: ${apiErrorText(error)}.`,
        'Another event was stored in between.',
      );
    case API_ERROR.messageTooLarge:
    case API_ERROR.headersTooLarge:
      return new TaskError(
        'TooLarge',
        `The stream did not take the event: ${apiErrorText(error)}.`,
        'Make the event smaller, or raise max_msg_size of the stream.',
      );
    case API_ERROR.notEnabledForAccount:
      return new TaskError(
        'NoStream',
        'JetStream is not enabled for the account of this user.',
        'Enable it, or set delivery to core.',
      );
    default:
      return new TaskError(
        'StreamRefused',
        `The stream did not take the event: ${apiErrorText(error)}.`,
        'Check the limits of the stream (max_msgs, max_bytes, max_msgs_per_subject with discard new) and of its account.',
      );
  }
}

export function noStreamError(subject: string): TaskError {
  return new TaskError(
    'NoStream',
    `No stream captures the subject "${subject}".`,
    'Create one in the account of this user, or set delivery to core for events that nobody needs to find later.',
  );
}

export function jetStreamOffError(link: Link): TaskError {
  return new TaskError(
    'NoStream',
    `JetStream is not enabled for this user on ${link.server}, so there is no stream to use.`,
    'Enable JetStream for the server and the account, or set delivery to core.',
  );
}
