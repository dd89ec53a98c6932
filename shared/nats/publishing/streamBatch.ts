import type { Msg, Subscription } from 'nats';
import type { Chunks, Headers, OutgoingMessage, PubAck, PublishResult } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import { createInbox } from '../link/libraryLimits.ts';
import type { Link } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { MessageFrames, type ComposedMessage } from './messageFrames.ts';
import { PubAcks } from './pubAcks.ts';
import { numberAt, rawSubject } from '../link/rawMessage.ts';
import { pause, unlessAborted } from '../../clock.ts';
import { deniedError, streamPublishGrants } from '../permissions.ts';
import { checkStream, isPassing, refusedByStream } from './streamErrors.ts';

/**
 * How far sending may run ahead of the first unconfirmed message: by number, which also limits how many can end up before an
 * earlier one, and by bytes, so that memory does not grow with the size of the events.
 */
const WINDOW = 4_096;
const WINDOW_BYTES = 8 * 1_024 * 1_024;
const ACK_TIMEOUT_MS = 5_000;
/** After this long without an answer, none is under way any more. */
const QUIET_MS = 1_000;
const RETRY_PAUSE_MS = 250;

/**
 * Sends many messages to one stream in order, with a window of unacknowledged ones. When an acknowledgement
 * fails to arrive, it stops, waits for those in flight, and sends again from the lowest unconfirmed position, with the same
 * message ids, so that the stream stores each message once.
 */
export class StreamBatch {
  readonly #ownHeaders: Headers;
  /** Sent and unconfirmed, by position and in that order. */
  readonly #pending = new Map<number, ComposedMessage>();
  /** Those of them that were answered with anything but an acknowledgement. */
  readonly #declined = new Set<number>();
  #pendingBytes = 0;
  readonly #acks = new PubAcks();
  #sent = 0;
  #confirmed = 0;
  #duplicates = 0;
  /** Acknowledgements behind a gap, by position. */
  readonly #early = new Map<number, PubAck>();
  /** All positions up to here are confirmed. */
  #frontier = 0;
  #last: PubAck | undefined;
  #highestSequence = 0;
  readonly #outOfOrder: Ranges = [];
  #lastAnswerAt = 0;
  #silentSince: number | undefined;
  #silence = 'the stream did not answer';
  #isStalled = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  #link: Link | undefined;
  #frames: MessageFrames | undefined;
  #subscription: Subscription | undefined;
  #stopWatching: () => void = () => {};
  #inbox = '';

  constructor(
    private readonly links: Links,
    private readonly expectedStream: string | undefined,
    private readonly signal: AbortSignal,
    private readonly onProgress: (confirmed: number) => void,
  ) {
    this.#ownHeaders = expectedStream === undefined ? [] : [['Nats-Expected-Stream', expectedStream]];
  }

  /** Never rejects for what happens to messages: the result says which are unconfirmed and why. */
  async run(chunks: Chunks): Promise<PublishResult> {
    let error: unknown;
    const onAbort = () => this.#wake();
    this.signal.addEventListener('abort', onAbort);
    try {
      for await (const chunk of chunks) {
        for (const message of chunk) {
          // Half a window at a time: a few messages at each acknowledgement would cost far more system calls.
          if (this.#isFilled(1) || this.#needsAttention) await this.#settle(() => !this.#isFilled(0.5));
          this.#send(message);
        }
        this.#frames?.flush();
      }
    } catch (thrown) {
      error = thrown;
    }
    // Also when the source has failed: what is under way is confirmed all the same.
    await this.#settle(() => this.#pending.size === 0).catch((thrown: unknown) => {
      error ??= thrown;
    });
    this.signal.removeEventListener('abort', onAbort);
    this.#stopWatching();
    if (this.#link?.isClosed === false) this.#subscription?.unsubscribe();
    return {
      confirmed: this.#confirmed,
      duplicates: this.#duplicates,
      last: this.#last,
      unconfirmed: rangesOf(this.#pending.keys()),
      sent: this.#sent,
      outOfOrder: this.#outOfOrder,
      error: this.#explained(error),
    };
  }

  #isFilled(part: number): boolean {
    return this.#sent - this.#frontier >= part * WINDOW || this.#pendingBytes >= part * WINDOW_BYTES;
  }

  get #needsAttention(): boolean {
    return this.#isStalled || this.#failure !== undefined || this.#link?.isClosed !== false;
  }

  #send({ subject, headers, payload }: OutgoingMessage): void {
    const all = this.#ownHeaders.length === 0 ? headers : [...headers, ...this.#ownHeaders];
    // Before the first message, there is a link: its absence needs attention.
    if (this.#frames === undefined) throw new TaskError('Internal', 'A message was to be sent without a link');
    const position = ++this.#sent;
    const composed = this.#frames.send(subject, this.#replySubject(position), all, payload);
    this.#pending.set(position, composed);
    this.#pendingBytes += bytesOf(composed);
  }

  #replySubject(position: number): string {
    return `${this.#inbox}.${position}`;
  }

  /** Waits until the condition holds, sending again whenever needed. Once it fails, it always fails the same way. */
  async #settle(condition: () => boolean): Promise<void> {
    this.#frames?.flush();
    for (;;) {
      if (this.#failure !== undefined) {
        // Says exactly what was stored in spite of it, as far as there is time.
        await this.#lastAnswers().catch(() => undefined);
        throw this.#failure;
      }
      try {
        this.signal.throwIfAborted();
        if (this.#needsAttention) await this.#sendAgain();
        else if (condition()) return;
        else await this.#nextAnswer();
      } catch (error) {
        this.#failure ??= error as Error;
      }
    }
  }

  /** Resolves at the next answer, at the end of the link or of the step, or when an answer is overdue. */
  #nextAnswer(): Promise<void> {
    return new Promise((resolve) => {
      const overdue = setTimeout(() => {
        this.#isStalled = true;
        resolve();
      }, ACK_TIMEOUT_MS);
      this.#wake = () => {
        this.#wake = () => {};
        clearTimeout(overdue);
        resolve();
      };
    });
  }

  async #sendAgain(): Promise<void> {
    if (this.#isStalled) {
      // What is sent again keeps its order only when nothing is under way.
      await this.#lastAnswers();
      if (this.#failure !== undefined) return;
      const first = this.#pending.values().next().value;
      if (first !== undefined && this.#link?.isClosed === false) {
        this.#silentSince ??= Date.now();
        const isKnown = this.#last !== undefined;
        const isSilent = this.#declined.size === 0;
        const checked = checkStream(this.links, this.#link, first.subject, this.#silentSince, isKnown, isSilent);
        this.#silence = await unlessAborted(checked, this.signal);
      }
      await pause(RETRY_PAUSE_MS, this.signal);
    }
    const link = await this.links.liveLink(this.signal);
    // It may be gone again before anything was sent over it.
    if (link.isClosed) return pause(RETRY_PAUSE_MS, this.signal);
    if (link !== this.#link) this.#listen(link);
    this.#isStalled = false;
    this.#declined.clear();
    for (const [position, composed] of this.#pending) this.#frames?.sendAgain(composed, this.#replySubject(position));
    this.#frames?.flush();
  }

  /** Waits for the answers to what is under way. */
  async #lastAnswers(): Promise<void> {
    const until = Date.now() + ACK_TIMEOUT_MS;
    const isQuiet = () => Date.now() - this.#lastAnswerAt > QUIET_MS || this.#declined.size === this.#pending.size;
    while (!isQuiet() && Date.now() < until && this.#link?.isClosed === false) await pause(20, this.signal);
  }

  /** A deadline that passed while the stream was silent is reported with the reason for its silence. */
  #explained(error: unknown): unknown {
    if (error !== this.signal.reason || this.#silentSince === undefined) return error;
    if (!(error instanceof TaskError) || error.code !== 'Timeout') return error;
    return new TaskError('Timeout', `The deadline of this step has passed while ${this.#silence}`);
  }

  #listen(link: Link): void {
    this.#stopWatching();
    this.#link = link;
    this.#frames = new MessageFrames(link);
    this.#inbox = createInbox(this.links.inboxPrefix);
    const inbox = this.#inbox;
    const prefix = Buffer.byteLength(inbox) + 1;
    this.#subscription = link.connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error === null && inbox === this.#inbox) this.#onAnswer(numberAt(rawSubject(message), prefix), message);
      },
    });
    void link.closed.then(() => this.#wake());
    this.#stopWatching = link.onViolation((violation) => {
      const subject = this.#pending.values().next().value?.subject ?? '';
      if (violation.subject !== subject && violation.subject !== `${inbox}.*`) return;
      const grants = streamPublishGrants(subject, this.links.apiPrefix, this.links.inboxPrefix);
      this.#failure ??= deniedError(violation.operation, violation.subject, grants);
      this.#wake();
    });
  }

  #onAnswer(position: number, answer: Msg): void {
    this.#lastAnswerAt = Date.now();
    const sent = this.#pending.get(position);
    if (sent === undefined) return;
    try {
      if (answer.headers?.code === 503 && answer.data.length === 0) this.#onDecline(position, undefined);
      else this.#onReply(position, sent, answer.data);
    } catch (error) {
      // Thrown into the library, it would break the link.
      this.#onDecline(position, error as Error);
    }
    this.#wake();
  }

  /** @param failure why it must not be sent again; undefined: the stream may take it in a moment */
  #onDecline(position: number, failure: Error | undefined): void {
    this.#declined.add(position);
    if (failure === undefined) this.#isStalled = true;
    else this.#failure ??= failure;
  }

  #onReply(position: number, sent: ComposedMessage, bytes: Uint8Array): void {
    const ack = this.#acks.read(bytes, sent.subject);
    if ('error' in ack) {
      const isFinal = !isPassing(ack.error);
      this.#onDecline(position, isFinal ? refusedByStream(ack.error, sent.subject, this.expectedStream) : undefined);
      return;
    }
    this.#silentSince = undefined;
    this.#pending.delete(position);
    this.#declined.delete(position);
    this.#pendingBytes -= bytesOf(sent);
    this.#confirmed++;
    if (ack.duplicate) this.#duplicates++;
    if (position === this.#frontier + 1) this.#advance(ack);
    else this.#early.set(position, ack);
    this.onProgress(this.#confirmed);
  }

  /** Goes through the acknowledgements in the order of their positions, which their sequences should follow, too. */
  #advance(next: PubAck): void {
    for (let ack: PubAck | undefined = next; ack !== undefined; ack = this.#early.get(this.#frontier + 1)) {
      this.#frontier++;
      if (this.#early.size > 0) this.#early.delete(this.#frontier);
      if (ack.sequence < this.#highestSequence) addTo(this.#outOfOrder, this.#frontier);
      else this.#highestSequence = ack.sequence;
      this.#last = ack;
    }
  }
}

function bytesOf({ start, end }: ComposedMessage): number {
  return end - start;
}

/** Ascending positions, both ends of each range included. */
type Ranges = [from: number, to: number][];

function addTo(ranges: Ranges, position: number): void {
  const last = ranges.at(-1);
  if (last?.[1] === position - 1) last[1] = position;
  else ranges.push([position, position]);
}

function rangesOf(positions: Iterable<number>): Ranges {
  const ranges: Ranges = [];
  for (const position of positions) addTo(ranges, position);
  return ranges;
}
