import { TaskError } from '../errors.ts';
import { isObject, parseObject } from '../text/json.ts';
import { quoted, shortened } from '../text/safeText.ts';
import type { Link, Reply } from './link/link.ts';

const REQUEST_TIMEOUT_MS = 5_000;
/** Characters kept of what an error says. */
const MAX_DESCRIPTION = 500;

/** Error numbers of the JetStream API (nats-server, `server/errors.json`). */
export const API_ERROR = {
  notLeader: 10009,
  insufficientResources: 10023,
  notEnabledForAccount: 10039,
  notEnabled: 10076,
  consumerNotFound: 10014,
  messageNotFound: 10037,
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  wrongLastMessageId: 10070,
  wrongStream: 10060,
  messageTooLarge: 10054,
  headersTooLarge: 10097,
  storeFailed: 10077,
  duplicateInProcess: 10158,
  tooManyRequests: 10167,
} as const;

/** What a stream is, as far as a reader must know (nats-server, `StreamInfo`). */
export interface StreamInfo {
  /** RFC 3339; another one when the stream was deleted and created again. */
  readonly created: string;
  readonly state: { readonly messages: number; readonly last_seq: number; readonly num_subjects?: unknown };
  readonly config: StreamConfig;
}

/** How a stream is set up (nats-server, `StreamConfig`). Only what is checked is certain to be of its type. */
export interface StreamConfig {
  readonly retention: 'limits' | 'interest' | 'workqueue';
  /** Absent for a mirror. */
  readonly subjects?: readonly string[];
  readonly sources?: readonly unknown[];
  readonly mirror?: unknown;
  readonly subject_transform?: unknown;
  /** It stores messages and acknowledges none. */
  readonly no_ack?: unknown;
}

/** A stream in a list of streams. */
export interface ListedStream {
  readonly config: StreamConfig & { readonly name: string };
}

/** Which subjects a consumer delivers: one, several (nats-server 2.10 and later), or all. */
export interface ConsumerFilter {
  readonly filter_subject?: string;
  readonly filter_subjects?: readonly string[];
}

/** Where a consumer starts. */
export interface ConsumerStart {
  readonly deliver_policy: 'all' | 'last' | 'last_per_subject' | 'by_start_sequence' | 'by_start_time';
  readonly opt_start_seq?: number;
  /** RFC 3339. */
  readonly opt_start_time?: string;
}

/** The consumers these tasks create (nats-server, `ConsumerConfig`). Durations in nanoseconds. */
export interface ConsumerConfig extends ConsumerFilter, ConsumerStart {
  readonly name: string;
  readonly ack_policy: 'none';
  readonly replay_policy: 'instant';
  readonly mem_storage: boolean;
  readonly num_replicas: number;
  readonly inactive_threshold: number;
  readonly headers_only?: boolean;
}

export interface ConsumerInfo {
  /** RFC 3339, by the server's clock. */
  readonly created: string;
  /** Messages it has yet to deliver. */
  readonly num_pending: number;
  readonly config: ConsumerFilter & {
    /** The largest pull request it takes; absent or 0: any. */
    readonly max_batch?: number;
  };
}

/** A message as the API writes it (nats-server, `StoredMsg`). Headers and data in base64, absent where there are none. */
export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  /** RFC 3339. */
  readonly time: string;
  readonly hdrs?: string;
  readonly data?: string;
}

export interface StoredMessageResponse {
  readonly message: StoredMessage;
}

/** Which message of a stream (nats-server, `JSApiMsgGetRequest`). */
export type MessageQuery = { readonly seq: number; readonly next_by_subj?: string } | { readonly last_by_subj: string };

/** An error as the API reports it. */
export interface ApiError {
  readonly code: number;
  readonly err_code: number;
  readonly description: string;
}

/** The answer of one API call: the response, an error of the API, or what became of the request. */
export type ApiAnswer<Response> =
  | { readonly kind: 'ok'; readonly response: Response }
  | { readonly kind: 'apiError'; readonly error: ApiError }
  | Exclude<Reply, { kind: 'reply' }>;

/** The JetStream API of one link. */
export class JetStreamApi {
  constructor(
    readonly link: Link,
    readonly prefix: string,
  ) {}

  /** Names of the streams that capture subjects inside the pattern; of all, a thousand at most, without one. */
  streamNames(
    pattern: string | undefined,
    timeoutMs?: number,
  ): Promise<ApiAnswer<{ readonly streams: readonly string[] | null }>> {
    return this.#call(
      'STREAM.NAMES',
      pattern === undefined ? undefined : { subject: pattern },
      ({ streams }) => streams === null || isListOf(streams, isName),
      timeoutMs,
    );
  }

  /** How the streams are set up, 256 of them at most. */
  streamList(timeoutMs: number): Promise<ApiAnswer<{ readonly streams: readonly ListedStream[] | null }>> {
    const isListed = (stream: unknown) =>
      isObject(stream) && isObject(stream.config) && isName(stream.config.name) && hasSubjects(stream.config);
    return this.#call(
      'STREAM.LIST',
      undefined,
      ({ streams }) => streams === null || isListOf(streams, isListed),
      timeoutMs,
    );
  }

  streamInfo(stream: string, timeoutMs?: number): Promise<ApiAnswer<StreamInfo>> {
    return this.#call(
      `STREAM.INFO.${stream}`,
      undefined,
      ({ created, state, config }) =>
        typeof created === 'string' &&
        isObject(state) &&
        isCount(state.messages) &&
        isCount(state.last_seq) &&
        isObject(config) &&
        hasSubjects(config),
      timeoutMs,
    );
  }

  /** How many messages each subject inside the pattern has; 100,000 subjects at most. */
  streamSubjects(
    stream: string,
    pattern: string,
    timeoutMs: number,
  ): Promise<ApiAnswer<{ readonly state: { readonly subjects?: Readonly<Record<string, unknown>> } }>> {
    return this.#call(
      `STREAM.INFO.${stream}`,
      { subjects_filter: pattern },
      ({ state }) => isObject(state) && (state.subjects === undefined || isObject(state.subjects)),
      timeoutMs,
    );
  }

  /** A message by its sequence, the first one from there on whose subject is in a pattern, or the last one in a pattern. */
  message(stream: string, query: MessageQuery, timeoutMs?: number): Promise<ApiAnswer<StoredMessageResponse>> {
    const isResponse = ({ message }: JsonObject) => {
      if (!isObject(message)) return false;
      const { subject, seq, time, hdrs = '', data = '' } = message;
      return isCount(seq) && [subject, time, hdrs, data].every((text) => typeof text === 'string');
    };
    return this.#call(`STREAM.MSG.GET.${stream}`, query, isResponse, timeoutMs);
  }

  /** The consumer's name and its one filter are part of the request's subject, so that permissions can limit them. */
  createConsumer(stream: string, config: ConsumerConfig): Promise<ApiAnswer<ConsumerInfo>> {
    const filter = config.filter_subject === undefined ? '' : `.${config.filter_subject}`;
    return this.#call(
      `CONSUMER.CREATE.${stream}.${config.name}${filter}`,
      { stream_name: stream, config },
      ({ created, num_pending, config: made }) =>
        typeof created === 'string' && !Number.isNaN(Date.parse(created)) && isCount(num_pending) && isObject(made),
    );
  }

  deleteConsumer(stream: string, consumer: string, timeoutMs: number): Promise<ApiAnswer<unknown>> {
    return this.#call(`CONSUMER.DELETE.${stream}.${consumer}`, undefined, () => true, timeoutMs);
  }

  async #call<Response>(
    operation: string,
    request: unknown,
    isResponse: (response: JsonObject) => boolean,
    timeoutMs = REQUEST_TIMEOUT_MS,
  ): Promise<ApiAnswer<Response>> {
    const payload = Buffer.from(request === undefined ? '' : JSON.stringify(request));
    const reply = await this.link.request(`${this.prefix}.${operation}`, payload, timeoutMs);
    if (reply.kind !== 'reply') return reply;
    const answer = parseAnswer<Response>(reply.message.data, isResponse);
    if (answer !== undefined) return answer;
    const ack = parseAnswer<{ readonly stream: string }>(reply.message.data, isPubAck);
    if (ack?.kind === 'ok') throw capturesApiError(ack.response.stream);
    throw new TaskError(
      'Unreachable',
      `JetStream on ${this.link.server} does not answer as it should: ${quoted(Buffer.from(reply.message.data).toString())}`,
      'Check which service listens on the JetStream subjects.',
    );
  }
}

/** The subject prefix of the JetStream API in a domain. */
export function apiPrefix(domain: string | undefined): string {
  return domain === undefined ? '$JS.API' : `$JS.${domain}.API`;
}

type JsonObject = Readonly<Record<string, unknown>>;

/** Reads a JSON answer of JetStream, a PubAck included; undefined when it is neither such a response nor an error. */
export function parseAnswer<Response>(
  bytes: Uint8Array,
  isResponse: (response: JsonObject) => boolean,
): Extract<ApiAnswer<Response>, { kind: 'ok' | 'apiError' }> | undefined {
  const answer = parseObject(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  if (answer === undefined) return undefined;
  const { error } = answer;
  if (error === undefined) return isResponse(answer) ? { kind: 'ok', response: answer as Response } : undefined;
  if (!isObject(error)) return undefined;
  const { code = 0, err_code = 0, description = '' } = error;
  if (typeof code !== 'number' || typeof err_code !== 'number' || typeof description !== 'string') return undefined;
  return { kind: 'apiError', error: { code, err_code, description: shortened(description, MAX_DESCRIPTION) } };
}

/** Whether it is the acknowledgement of an event by a stream. */
export function isPubAck({ stream, seq, duplicate }: JsonObject): boolean {
  return isName(stream) && isCount(seq) && (duplicate === undefined || typeof duplicate === 'boolean');
}

function hasSubjects({ subjects }: JsonObject): boolean {
  return subjects === undefined || isListOf(subjects, (subject) => typeof subject === 'string');
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** A name becomes a part of subjects, where a space or line break would begin something else. */
function isName(value: unknown): boolean {
  return typeof value === 'string' && /^[^\s.*>\p{Cc}]{1,255}$/u.test(value);
}

/** Whether the API may answer otherwise in a moment: no leader, or a server that is starting. */
export function isTransient(answer: ApiAnswer<unknown>): boolean {
  if (answer.kind !== 'apiError') return answer.kind !== 'ok' && answer.kind !== 'denied';
  const { code, err_code } = answer.error;
  return code === 503 && err_code !== API_ERROR.notEnabledForAccount && err_code !== API_ERROR.storeFailed;
}

/** An API error's description with its number, which you can search the NATS documentation for. */
export function apiErrorText(error: ApiError): string {
  return `${error.description} (JetStream error ${error.err_code})`;
}

/** The error of a stream that acknowledges requests to JetStream: servers before 2.10 let one capture them. */
export function capturesApiError(stream: string): TaskError {
  return new TaskError(
    'Unsupported',
    `The stream "${stream}" captures the requests to JetStream itself and answers in its place, as a stream with the subject ">" does on servers before 2.10`,
    'Give it the subjects of events only, such as "ci.>".',
  );
}

export function jetStreamOffError(link: Link): TaskError {
  return new TaskError(
    'NoStream',
    `JetStream is not enabled for this user on ${link.server}, so there is no stream to use`,
    'Enable JetStream for the server and the account, or set delivery to core.',
  );
}
