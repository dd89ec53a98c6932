import type { Bus, OutgoingMessage } from '../../shared/bus.ts';
import { DeniedError, TaskError } from '../../shared/errors.ts';
import { TimeLimit } from '../timeLimit.ts';
import { isObject, parseObject } from '../../shared/text/json.ts';
import { shortened } from '../../shared/text/safeText.ts';

/** The user may not make this request, or may not subscribe to the inboxes where answers arrive. */
export interface Denied {
  readonly kind: 'denied';
  readonly verb: DeniedError['verb'];
  /** Of the request, or the pattern of the inboxes. */
  readonly subject: string;
}

/** The error from JetStream, or on the way to it, in place of an answer. */
export type Refusal =
  /** The API's own error, by the numbers of nats-server's `errors.json`. */
  | { readonly kind: 'error'; readonly code: number; readonly errorCode: number; readonly description: string }
  | Denied
  /** JetStream is off for the account, or there is none. */
  | { readonly kind: 'off' }
  | { readonly kind: 'silent'; readonly reason: string };

export type Answer<Value> = { readonly kind: 'ok'; readonly value: Value } | Refusal;

/** A stream's configuration, as far as the bridge sets it or looks at it (nats-server, `StreamConfig`); times in nanoseconds. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects?: readonly string[];
  readonly retention?: string;
  readonly storage?: string;
  readonly discard?: string;
  readonly max_age?: number;
  readonly max_bytes?: number;
  readonly max_msgs?: number;
  readonly max_msg_size?: number;
  readonly max_msgs_per_subject?: number;
  readonly max_consumers?: number;
  readonly duplicate_window?: number;
  readonly num_replicas?: number;
  readonly allow_direct?: boolean;
  readonly allow_rollup_hdrs?: boolean;
  readonly deny_delete?: boolean;
  readonly sealed?: boolean;
  /** Other streams whose messages it holds as well. */
  readonly sources?: readonly unknown[];
  /** The stream that it copies, in place of subjects of its own. */
  readonly mirror?: unknown;
  /** Renames what it takes. */
  readonly subject_transform?: unknown;
}

export interface StreamInfo {
  /** RFC 3339; another one once the stream has been deleted and created again. */
  readonly created: string;
  readonly config: StreamConfig;
  readonly state: {
    readonly messages: number;
    readonly first_seq: number;
    readonly last_seq: number;
    /** When the newest message came, in RFC 3339. */
    readonly last_ts: string;
    /** Messages by subject, where they were asked for. */
    readonly subjects?: Readonly<Record<string, number>>;
  };
}

/** A durable consumer's configuration, as far as the bridge sets it or looks at it (nats-server, `ConsumerConfig`); times in nanoseconds. */
export interface ConsumerConfig {
  readonly durable_name: string;
  readonly deliver_policy: 'new' | 'all' | 'by_start_time';
  /** RFC 3339. */
  readonly opt_start_time?: string;
  readonly ack_policy: string;
  readonly ack_wait: number;
  readonly max_ack_pending: number;
  readonly max_deliver: number;
  readonly filter_subject?: string;
  /** Servers before 2.10 ignore it. */
  readonly filter_subjects?: readonly string[];
}

export interface ConsumerInfo {
  readonly config: Partial<ConsumerConfig> & { readonly deliver_subject?: string };
  /** Messages it has yet to deliver. */
  readonly num_pending: number;
  /** Messages it has delivered that nobody has acknowledged. */
  readonly num_ack_pending: number;
  /** All before it are acknowledged. */
  readonly ack_floor: { readonly stream_seq: number };
}

/** What a server knows of the user (nats-server, `UserInfo`). */
export interface UserInfo {
  /** Absent where nothing is refused. */
  readonly permissions?: {
    readonly publish?: { readonly allow?: readonly string[] };
    readonly subscribe?: { readonly allow?: readonly string[] };
  };
}

/** The number of the API's error where there is no such stream. */
export const STREAM_NOT_FOUND = 10059;
/** The same for a consumer. */
export const CONSUMER_NOT_FOUND = 10014;
/** Where another stream of the account captures some of a new stream's subjects. */
export const SUBJECTS_OVERLAP = 10065;
/** Where a new consumer's filter isn't within its stream's subjects. */
export const FILTER_NOT_SUBSET = 10093;

/** JetStream's API, over any bus. */
export class JetStream {
  #prefix: string | undefined;

  /** @param timeoutMs of one call */
  constructor(
    private readonly bus: Bus,
    private readonly domain: string | undefined,
    private readonly timeoutMs: number,
  ) {}

  /** What the user may do; servers before 2.10, and permissions that leave it out, don't say. */
  async userInfo(): Promise<UserInfo | undefined> {
    const answer = await this.#request<{ data: UserInfo }>(messageTo('$SYS.REQ.USER.INFO', undefined), ({ data }) =>
      isObject(data),
    );
    return answer.kind === 'ok' ? answer.value.data : undefined;
  }

  /** @param subjects counts the messages of the subjects in this pattern */
  stream(name: string, subjects?: string): Promise<Answer<StreamInfo>> {
    const request = subjects === undefined ? undefined : { subjects_filter: subjects };
    return this.#call(`STREAM.INFO.${name}`, request, ({ config, state }) => isObject(config) && isObject(state));
  }

  /** Names of the streams that capture a subject, or some of the subjects in a pattern. */
  async streamNames(subject: string): Promise<Answer<readonly string[]>> {
    const answer = await this.#call<{ streams: readonly string[] | null }>(
      'STREAM.NAMES',
      { subject },
      ({ streams = null }) => streams === null || Array.isArray(streams),
    );
    return answer.kind === 'ok' ? { kind: 'ok', value: answer.value.streams ?? [] } : answer;
  }

  createStream(config: StreamConfig): Promise<Answer<StreamInfo>> {
    return this.#call(`STREAM.CREATE.${config.name}`, config, ({ config: made }) => isObject(made));
  }

  consumer(stream: string, name: string): Promise<Answer<ConsumerInfo>> {
    return this.#call(`CONSUMER.INFO.${stream}.${name}`, undefined, ({ config }) => isObject(config));
  }

  createConsumer(stream: string, config: ConsumerConfig): Promise<Answer<ConsumerInfo>> {
    const filter = config.filter_subject === undefined ? '' : `.${config.filter_subject}`;
    const request = { stream_name: stream, config };
    return this.#call(`CONSUMER.CREATE.${stream}.${config.durable_name}${filter}`, request, ({ config: made }) =>
      isObject(made),
    );
  }

  /** The first message of a subject at or after a sequence, and when it came in milliseconds since the epoch. */
  async next(
    stream: string,
    sequence: number,
    subject: string,
  ): Promise<Answer<{ readonly sequence: number; readonly storedAt: number }>> {
    const answer = await this.#call<{ message: { seq: number; time: string } }>(
      `STREAM.MSG.GET.${stream}`,
      { seq: sequence, next_by_subj: subject },
      ({ message }) => isObject(message) && !Number.isNaN(Date.parse(String(message['time']))),
    );
    if (answer.kind !== 'ok') return answer;
    const { seq, time } = answer.value.message;
    return { kind: 'ok', value: { sequence: seq, storedAt: Date.parse(time) } };
  }

  /**
   * Whether the user may publish on a subject. Nothing is stored: the message expects a stream of another name.
   *
   * @returns the refusal; undefined when only that expectation fails
   */
  async mayPublish(subject: string): Promise<Refusal | undefined> {
    const headers = [['Nats-Expected-Stream', 'none.of.this.name']] as const;
    const answer = await this.#request({ subject, headers, payload: new Uint8Array() }, () => false);
    return answer.kind === 'error' || answer.kind === 'off' ? undefined : (answer as Refusal);
  }

  /**
   * Whether the user may acknowledge a consumer's messages. Changes nothing: it says that a message is still being worked on
   * whose sequence no stream will reach, which servers answer at once.
   */
  async mayAcknowledge(stream: string, consumer: string): Promise<boolean> {
    const subject = `$JS.ACK.${stream}.${consumer}.1.${Number.MAX_SAFE_INTEGER}.1.1.0`;
    const answer = await this.#request({ subject, headers: [], payload: Buffer.from('+WPI') }, () => false);
    return answer.kind !== 'denied';
  }

  /** Whether the user may ask JetStream for something. Asks for nothing: servers refuse a request that isn't whole. */
  async mayAsk(subject: string): Promise<boolean> {
    const answer = await this.#request({ subject, headers: [], payload: Buffer.from('{') }, () => false);
    return answer.kind !== 'denied';
  }

  /** Of the domain, as the servers there call it for their own clients. */
  async apiPrefix(): Promise<string> {
    if (this.#prefix !== undefined) return this.#prefix;
    if (this.domain === undefined) return (this.#prefix = '$JS.API');
    const here = await this.#request<{ domain?: string }>(messageTo('$JS.API.INFO', undefined), isObject);
    this.#prefix = here.kind === 'ok' && here.value.domain === this.domain ? '$JS.API' : `$JS.${this.domain}.API`;
    return this.#prefix;
  }

  async #call<Value>(
    operation: string,
    request: unknown,
    isAnswer: (answer: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<Answer<Value>> {
    return this.#request(messageTo(`${await this.apiPrefix()}.${operation}`, request), isAnswer);
  }

  async #request<Value>(
    message: OutgoingMessage,
    isAnswer: (answer: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<Answer<Value>> {
    const { subject } = message;
    const late = () => new TaskError('Timeout', `JetStream did not answer within ${this.timeoutMs} ms`);
    const limit = new TimeLimit(this.timeoutMs, undefined, late);
    try {
      const { payload } = await this.bus.request(message, limit.signal);
      const answer = parseObject(Buffer.from(payload).toString());
      if (isObject(answer?.['error'])) return apiError(answer['error']);
      if (answer !== undefined && isAnswer(answer)) return { kind: 'ok', value: answer as Value };
      return { kind: 'silent', reason: `what answers on ${subject} is not JetStream` };
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      if (error instanceof DeniedError)
        return { kind: 'denied', verb: error.verb, subject: error.verb === 'publish' ? subject : error.grant };
      if (error.code === 'NoResponders') return { kind: 'off' };
      return { kind: 'silent', reason: error.problem };
    } finally {
      limit.end();
    }
  }
}

/** What is refused, as an error. */
export function deniedError({ verb, subject }: Denied): DeniedError {
  const otherwise = verb === 'publish' ? '' : ' Or set nats.inboxPrefix to the prefix that it may subscribe to.';
  return new DeniedError(
    verb,
    subject,
    `The NATS server does not let this user ${verb} to "${subject}"`,
    `Grant it ${verb} permission for "${subject}"; nats-event-bridge setup prints all that it needs.${otherwise}`,
  );
}

function messageTo(subject: string, request: unknown): OutgoingMessage {
  return { subject, headers: [], payload: Buffer.from(request === undefined ? '' : JSON.stringify(request)) };
}

function apiError({ code, err_code, description }: Readonly<Record<string, unknown>>): Refusal {
  const errorCode = Number(err_code ?? 0);
  if (errorCode === 10039 || errorCode === 10076) return { kind: 'off' };
  return {
    kind: 'error',
    code: Number(code ?? 0),
    errorCode,
    description: typeof description === 'string' ? shortened(description, 500) : '',
  };
}
