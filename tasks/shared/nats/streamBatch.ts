import { createInbox, type Msg, type Subscription } from 'nats';
import type { Chunks, OutgoingMessage, PubAck, PublishResult } from '../bus.ts';
import { TaskError } from '../errors.ts';
import type { ApiError } from './jetStreamApi.ts';
import { parseAnswer } from './jetStreamApi.ts';
import { encodeHeaders, type EncodedHeaders } from './headerBytes.ts';
import type { Link, Violation } from './link.ts';
import { pause, unlessAborted } from './pause.ts';

/** Unconfirmed messages at a time: by number, and by bytes, so that memory does not grow with the size of the events. */
const WINDOW = 4_096;
const WINDOW_BYTES = 8 * 1_024 * 1_024;
const ACK_TIMEOUT_MS = 5_000;
const RETRY_PAUSE_MS = 250;
/** Positions named of those that are out of order. */
const MOST_NAMED = 10;

/** What a batch needs of the bus that runs it. */
export interface BatchHost {
  liveLink(signal: AbortSignal): Promise<Link>;
  readonly inboxPrefix: string;
  /** Throws when waiting longer for a stream makes no sense. */
  checkStream(link: Link, subject: string, silentSince: number): Promise<void>;
  checkSize(message: OutgoingMessage, link: Link, headerBytes: number): void;
  refused(error: ApiError, subject: string): TaskError;
  denied(violation: Violation, subject: string): TaskError;
}

interface Sent {
  readonly message: OutgoingMessage;
  readonly headers: EncodedHeaders;
  /** The server answered that nobody takes the message. */
  unanswered: boolean;
}

/**
 * Sends many messages to one stream in order, with a window of unacknowledged ones. At the first acknowledgement that
 * stays out, it stops, waits for what is under way, and sends again from the lowest unconfirmed position, with the same
 * message ids, so that the stream stores each message once.
 */
export class StreamBatch {
  /** Sent and unconfirmed, by position and in that order. */
  readonly #pending = new Map<number, Sent>();
  #pendingBytes = 0;
  #sent = 0;
  #confirmed = 0;
  #duplicates = 0;
  /** Acknowledgements behind a gap, by position. */
  readonly #early = new Map<number, PubAck>();
  /** All positions up to here are confirmed. */
  #frontier = 0;
  #last: PubAck | undefined;
  #outOfOrder = 0;
  readonly #outOfOrderPositions: number[] = [];
  #lastAnswerAt = 0;
  #silentSince: number | undefined;
  #isStalled = false;
  #failure: TaskError | undefined;
  #wake: () => void = () => {};
  #link: Link | undefined;
  #subscription: Subscription | undefined;
  #stopWatching: () => void = () => {};
  #inbox = '';

  constructor(
    private readonly host: BatchHost,
    private readonly expectedStream: string | undefined,
    private readonly signal: AbortSignal,
    private readonly onProgress: (confirmed: number) => void,
  ) {}

  /** Never rejects for what happens to messages: the result says which are unconfirmed and why. */
  async run(chunks: Chunks): Promise<PublishResult> {
    let error: unknown;
    try {
      for await (const chunk of chunks) {
        for (const message of chunk) {
          if (this.#isFull || this.#needsAttention) await this.#settle(() => !this.#isFull);
          this.#send(message);
        }
      }
      await this.#settle(() => this.#pending.size === 0);
    } catch (thrown) {
      error = thrown;
    }
    this.#stopWatching();
    if (this.#link?.isClosed === false) this.#subscription?.unsubscribe();
    return {
      confirmed: this.#confirmed,
      duplicates: this.#duplicates,
      last: this.#last,
      unconfirmed: rangesOf(this.#pending.keys()),
      sent: this.#sent,
      outOfOrder: { count: this.#outOfOrder, positions: this.#outOfOrderPositions },
      error,
    };
  }

  get #isFull(): boolean {
    return this.#pending.size >= WINDOW || this.#pendingBytes >= WINDOW_BYTES;
  }

  get #needsAttention(): boolean {
    return this.#isStalled || this.#failure !== undefined || this.#link?.isClosed !== false;
  }

  #send(message: OutgoingMessage): void {
    const headers = encodeHeaders(
      this.expectedStream === undefined
        ? message.headers
        : [...message.headers, ['Nats-Expected-Stream', this.expectedStream]],
    );
    const sent: Sent = { message, headers, unanswered: false };
    this.#sent++;
    this.#pending.set(this.#sent, sent);
    this.#pendingBytes += message.payload.length + sent.headers.bytes.length;
    this.#publish(this.#sent, sent);
  }

  #publish(position: number, sent: Sent): void {
    sent.unanswered = false;
    if (this.#link?.isClosed !== false) return;
    this.host.checkSize(sent.message, this.#link, sent.headers.bytes.length);
    this.#link.connection.publish(sent.message.subject, sent.message.payload, {
      headers: sent.headers,
      reply: `${this.#inbox}.${String(position)}`,
    });
  }

  /** Waits until the condition holds, sending again whenever that is needed. */
  async #settle(condition: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#needsAttention) await this.#sendAgain();
      else if (condition()) return;
      else await this.#nextAnswer();
    }
  }

  /** Resolves at the next answer, or when one is overdue. */
  async #nextAnswer(): Promise<void> {
    const overdue = setTimeout(() => {
      this.#isStalled = true;
      this.#wake();
    }, ACK_TIMEOUT_MS);
    try {
      await unlessAborted(
        Promise.race([
          new Promise<void>((resolve) => {
            this.#wake = resolve;
          }),
          this.#link?.closed,
        ]),
        this.signal,
      );
    } finally {
      clearTimeout(overdue);
    }
  }

  async #sendAgain(): Promise<void> {
    if (this.#isStalled) {
      await this.#quiesce();
      const first = this.#pending.values().next().value;
      if (first !== undefined && this.#link?.isClosed === false) {
        this.#silentSince ??= Date.now();
        await this.host.checkStream(this.#link, first.message.subject, this.#silentSince);
      }
      await pause(RETRY_PAUSE_MS, this.signal);
    }
    const link = await this.host.liveLink(this.signal);
    if (link !== this.#link) this.#listen(link);
    this.#isStalled = false;
    for (const [position, sent] of this.#pending) this.#publish(position, sent);
  }

  /** Waits for the answers to what is under way, so that what is sent again keeps its order. */
  async #quiesce(): Promise<void> {
    const until = Date.now() + ACK_TIMEOUT_MS;
    const isQuiet = () =>
      [...this.#pending.values()].every((sent) => sent.unanswered) || Date.now() - this.#lastAnswerAt > 1_000;
    while (!isQuiet() && Date.now() < until && this.#link?.isClosed === false && this.#failure === undefined) {
      await pause(20, this.signal);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #listen(link: Link): void {
    this.#stopWatching();
    this.#link = link;
    this.#inbox = createInbox(this.host.inboxPrefix);
    const inbox = this.#inbox;
    const prefix = inbox.length + 1;
    this.#subscription = link.connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error === null && inbox === this.#inbox) this.#onAnswer(Number(message.subject.slice(prefix)), message);
      },
    });
    this.#stopWatching = link.onViolation((violation) => {
      const subject = this.#pending.values().next().value?.message.subject ?? '';
      if (violation.subject !== subject && violation.subject !== `${inbox}.*`) return;
      this.#failure ??= this.host.denied(violation, subject);
      this.#wake();
    });
  }

  #onAnswer(position: number, answer: Msg): void {
    this.#lastAnswerAt = Date.now();
    const sent = this.#pending.get(position);
    if (sent === undefined) return;
    if (answer.headers?.code === 503 && answer.data.length === 0) {
      sent.unanswered = true;
      this.#isStalled = true;
    } else {
      this.#onAck(position, sent, answer.data);
    }
    this.#wake();
  }

  #onAck(position: number, sent: Sent, bytes: Uint8Array): void {
    const ack = parseAnswer<{ readonly stream?: string; readonly seq: number; readonly duplicate?: boolean }>(bytes);
    if (ack.kind === 'apiError' && ack.error.code === 503 && ack.error.err_code !== 10077) {
      sent.unanswered = true;
      this.#isStalled = true;
      return;
    }
    if (ack.kind !== 'ok' || ack.response.stream === undefined) {
      this.#failure ??=
        ack.kind === 'apiError'
          ? this.host.refused(ack.error, sent.message.subject)
          : new TaskError(
              'NoStream',
              `The answer on "${sent.message.subject}" does not come from a stream: a subscriber replied instead.`,
              'Create a stream that captures the subject, or set delivery to core.',
            );
      return;
    }
    const { stream, seq, duplicate = false } = ack.response;
    this.#silentSince = undefined;
    this.#pending.delete(position);
    this.#pendingBytes -= sent.message.payload.length + sent.headers.bytes.length;
    this.#confirmed++;
    if (duplicate) this.#duplicates++;
    this.#early.set(position, { stream, sequence: seq, duplicate });
    this.#advance();
    this.onProgress(this.#confirmed);
  }

  /** Looks at the acknowledgements in the order of their positions, which their sequences should have as well. */
  #advance(): void {
    for (let ack = this.#early.get(this.#frontier + 1); ack !== undefined; ack = this.#early.get(this.#frontier + 1)) {
      this.#early.delete(++this.#frontier);
      if (this.#last !== undefined && ack.sequence < this.#last.sequence) {
        this.#outOfOrder++;
        if (this.#outOfOrderPositions.length < MOST_NAMED) this.#outOfOrderPositions.push(this.#frontier);
      }
      this.#last = ack;
    }
  }
}

/** Ascending numbers as ranges, both ends included. */
function rangesOf(positions: Iterable<number>): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  for (const position of positions) {
    const last = ranges.at(-1);
    if (last?.[1] === position - 1) last[1] = position;
    else ranges.push([position, position]);
  }
  return ranges;
}
