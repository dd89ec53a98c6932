import type { Msg } from 'nats';
import type { LookBack, StoredEvent, StreamSource, Subscription, SubscriptionEvents } from '../../bus.ts';
import { reasonOf, TaskError } from '../../errors.ts';
import { subjectTest } from '../../subject.ts';
import {
  API_ERROR,
  isTransient,
  type ApiAnswer,
  type ConsumerInfo,
  type ConsumerStart,
  type StreamInfo,
} from '../jetStreamApi.ts';
import { createInbox } from '../link/libraryLimits.ts';
import type { Link, Violation } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { ArrivalQueue } from './arrivalQueue.ts';
import { pause, unlessAborted } from '../../clock.ts';
import { hasSubject, NONE, rawSubject } from '../link/rawMessage.ts';
import { nearSubjectsIn } from '../streamHints.ts';
import { storedElsewhere } from '../subjectTransforms.ts';
import { lastStored } from './lastStored.ts';
import { ownConsumer } from './ownConsumer.ts';
import { replyPrefix, streamMessage } from './receivedMessage.ts';
import { StreamAccess } from './streamAccess.ts';

/** Messages asked for ahead of their arrival, by number and by bytes: a server closes a link with 64 MiB in its queue. */
const WINDOW = 10_000;
/** Where the window begins, to double with each pull: most waits find their event among the first. */
const FIRST_WINDOW = 100;
const WINDOW_BYTES = 16 * 1_024 * 1_024;
const NANOSECONDS = 1e6;
const PULL_EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 5_000;
/** Two heartbeats missed, and a moment. */
const SILENCE_MS = 2 * HEARTBEAT_MS + 2_000;
/** A consumer nobody pulls from is removed by the server after this long: the cleanup where no signal arrives. */
const INACTIVE_THRESHOLD_MS = 60_000;
const CLEANUP_MS = 1_000;
const RETRY_PAUSE_MS = 250;
const FLUSH_TIMEOUT_MS = 3_000;
const SKEW_TOLERANCE_MS = 2_000;

/** One attachment of the reader to its stream; messages of an older one are ignored. */
interface Attachment {
  readonly link: Link;
  readonly consumer: string;
  readonly inbox: string;
  readonly inboxBytes: Uint8Array;
  /** Where it is asked for messages. */
  readonly next: string;
  /** How the reply subjects of its messages begin; the first message tells. */
  replyPrefix: Uint8Array | undefined;
  /** The most messages asked for at a time. */
  window: number;
  /** What the window may grow to. */
  maxWindow: number;
  /** Messages of `lastPerSubject` from before the wait that have yet to arrive. */
  snapshot: number;
  /** Messages asked for and not yet delivered. */
  outstanding: number;
  readonly since: number;
  /** The consumer's own count of deliveries. */
  delivered: number;
  lastHeard: number;
  readonly release: () => void;
}

/**
 * Reads a stream with an ephemeral consumer of its own: no acknowledgements, kept in memory, started from a sequence.
 * After any loss (link, consumer, leader, heartbeats) a new consumer starts after the last message seen, so that each
 * message arrives exactly once and in order.
 */
export class StreamReader implements Subscription {
  readonly #access: StreamAccess;
  readonly #arrivals: ArrivalQueue;
  readonly #isWanted: (subject: string) => boolean;
  /** The previous message's subject and whether it's wanted: most share one, and decoding it takes time. */
  #subject = NONE;
  #isSubjectWanted = false;
  #streamCreated = '';
  /** The sequence to continue with; undefined while the start position itself still says so. */
  #nextSequence: number | undefined;
  /** Milliseconds since the epoch, corrected by the skew of the clocks; undefined for other start positions. */
  #startTime: number | undefined;
  /** While `lastPerSubject` has not delivered what there was, no sequence tells which messages are still missing. */
  #inSnapshot: boolean;
  /** The last sequence of the stream when the wait began. */
  #lastSequence = 0;
  /** How many subjects the stream had then. */
  #subjectCount: unknown;
  #isResumed = false;
  #streamGone = false;
  #downSince: number | undefined;
  #attachment: Attachment | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #ended = false;
  #recovering = false;
  #hasIgnored = false;

  constructor(
    private readonly links: Links,
    private readonly source: StreamSource,
    private readonly events: SubscriptionEvents,
    private readonly signal: AbortSignal,
  ) {
    this.#access = new StreamAccess(links, source, signal);
    this.#arrivals = new ArrivalQueue(
      (arrivals) => events.arrived(arrivals),
      () => this.#pullWhenLow(),
    );
    const tests = source.subjects.map(subjectTest);
    this.#isWanted = (subject) => tests.some((test) => test(subject));
    this.#inSnapshot = source.start.from === 'lastPerSubject';
    this.#startTime = source.start.from === 'time' ? source.start.at : undefined;
  }

  get stream(): string {
    return this.#access.name;
  }

  /** Finds the stream, checks it, and begins to read. */
  async begin(): Promise<void> {
    const info = await this.#access.open((text) => this.events.notice(text));
    this.#streamCreated = info.created;
    this.#lastSequence = info.state.last_seq;
    // An empty stream doesn't say.
    this.#subjectCount = info.state.num_subjects ?? (info.state.messages === 0 ? 0 : undefined);
    this.#nextSequence = this.#firstSequence(info);
    await this.#firstAttachment();
    this.#watchdog = setInterval(() => this.#checkSilence(), HEARTBEAT_MS);
  }

  async stop(): Promise<void> {
    this.#ended = true;
    clearInterval(this.#watchdog);
    const attachment = this.#attachment;
    if (attachment === undefined) return;
    attachment.release();
    await this.#deleteConsumer(attachment);
  }

  async lookBack(): Promise<LookBack | undefined> {
    const link = this.#attachment?.link;
    if (link === undefined || link.isClosed) return undefined;
    const { name, filter } = this.#access;
    try {
      const [info, last] = await Promise.all([
        this.links.api(link).streamInfo(name),
        lastStored(this.links, link, name, filter),
      ]);
      if (info.kind !== 'ok') return undefined;
      const { state, config } = info.response;
      const near =
        typeof last === 'object'
          ? []
          : await nearSubjectsIn(this.links.api(link), name, state.num_subjects, this.source.subjects);
      return {
        near,
        last: this.#asLast(last),
        stored: state.last_seq,
        removed: state.last_seq - state.messages,
        elsewhere: storedElsewhere(name, config, this.source.subjects),
      };
    } catch (error) {
      this.links.log.debug(`What the stream holds could not be looked at: ${reasonOf(error)}`);
      return undefined;
    }
  }

  async nearSubjects(): Promise<readonly string[]> {
    const link = this.#attachment?.link;
    if (link === undefined || link.isClosed) return [];
    return nearSubjectsIn(this.links.api(link), this.#access.name, this.#subjectCount, this.source.subjects);
  }

  #asLast(last: StoredEvent | 'unknown' | undefined): LookBack['last'] {
    if (typeof last !== 'object') return last;
    // The server does not always filter.
    if (!this.#isWanted(last.subject)) return 'unknown';
    return { ...last, isBeforeStart: this.#isBeforeStart(last) };
  }

  #isBeforeStart({ place, storedAt }: StoredEvent): boolean {
    const { start } = this.source;
    switch (start.from) {
      case 'now':
        return place.sequence <= this.#lastSequence;
      case 'sequence':
        return place.sequence <= start.after;
      case 'time':
        return storedAt !== undefined && storedAt < (this.#startTime ?? start.at);
      case 'all':
      case 'lastPerSubject':
        return false;
    }
  }

  /** Never fails: the server would remove the consumer anyway, only later. */
  async #deleteConsumer({ link, consumer }: Pick<Attachment, 'link' | 'consumer'>): Promise<void> {
    if (link.isClosed) return;
    const deleted = this.links.api(link).deleteConsumer(this.#access.name, consumer, CLEANUP_MS);
    const failure = await deleted.then((answer) => {
      const isGone = answer.kind === 'apiError' && answer.error.err_code === API_ERROR.consumerNotFound;
      return answer.kind === 'ok' || isGone ? undefined : answer.kind;
    }, reasonOf);
    if (failure === undefined) return;
    this.links.log.debug(
      `The consumer ${consumer} was not removed (${failure}); the server removes it after ${INACTIVE_THRESHOLD_MS / 1_000} s without use.`,
    );
  }

  /** Where the start position is a sequence from the beginning. */
  #firstSequence({ state }: StreamInfo): number | undefined {
    const { start } = this.source;
    if (start.from === 'now') return state.last_seq + 1;
    if (start.from !== 'sequence') return undefined;
    if (start.after <= state.last_seq) return start.after + 1;
    throw new TaskError(
      'InvalidInput',
      `startSequence: the stream "${this.stream}" ends at sequence ${state.last_seq}, before ${start.after}`,
      'Give the sequence of an event of this stream, such as the output "sequence" of the publishing step.',
    );
  }

  async #firstAttachment(): Promise<void> {
    const { start } = this.source;
    let sentAt = 0;
    let info = await this.#access.firstAnswer((link) => {
      sentAt = Date.now();
      return this.#attach(link);
    });
    if (start.from === 'time' && start.correctSkew && this.#nextSequence === undefined) {
      const created = Date.parse(info.created);
      // The consumer was created at some time between request and answer, which may be slow to come.
      const skew = created - Date.now();
      if (skew > SKEW_TOLERANCE_MS || created - sentAt < -SKEW_TOLERANCE_MS) {
        this.events.notice(
          `The clock of the NATS server is ${Math.round(Math.abs(skew))} ms ${skew > 0 ? 'ahead of' : 'behind'} this agent's; the start of the wait was corrected by that.`,
        );
        this.#startTime = start.at + skew;
        const wrong = this.#attachment;
        wrong?.release();
        if (wrong !== undefined) await this.#deleteConsumer(wrong);
        info = await this.#access.firstAnswer((link) => this.#attach(link));
      }
    }
    const asked = this.#access.filter.filter_subjects;
    if (asked !== undefined && info.config.filter_subjects?.length !== asked.length)
      this.links.log.debug('The server does not filter by the list of subjects; they are matched here.');
    this.#pull();
  }

  /** Creates a consumer at the present position and listens to it. */
  async #attach(link: Link): Promise<ApiAnswer<ConsumerInfo>> {
    if (link.isClosed) return { kind: 'lost' };
    const own = ownConsumer(INACTIVE_THRESHOLD_MS);
    const consumer = own.name;
    const inbox = `${createInbox(this.links.inboxPrefix)}.0`;
    const subscription = link.connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null && this.#attachment === attachment) this.#onMessage(attachment, message);
      },
    });
    const next = `${this.links.apiPrefix}.CONSUMER.MSG.NEXT.${this.stream}.${consumer}`;
    const denials: Violation[] = [];
    const stopWatching = link.onViolation((violation) => {
      if (violation.subject !== inbox && violation.subject !== next) return;
      denials.push(violation);
      if (this.#attachment === attachment) this.#fail(this.#access.denied(violation));
    });
    const attachment: Attachment = {
      link,
      consumer,
      inbox,
      inboxBytes: Buffer.from(inbox),
      next,
      replyPrefix: undefined,
      window: FIRST_WINDOW,
      maxWindow: WINDOW,
      snapshot: 0,
      outstanding: 0,
      delivered: 0,
      since: Date.now(),
      lastHeard: Date.now(),
      release: () => {
        stopWatching();
        if (!link.isClosed) subscription.unsubscribe();
      },
    };
    const position = this.#position();
    // With a list of subjects, servers from 2.10 to 2.15 at least begin too late for a start time: at an event of one
    // subject, behind those of another.
    const filter =
      position.deliver_policy === 'by_start_time' && this.#access.filter.filter_subjects !== undefined
        ? {}
        : this.#access.filter;
    const answer = await this.links.api(link).createConsumer(this.#access.name, {
      ...own,
      ...(this.source.headersOnly === true ? { headers_only: true } : {}),
      ...position,
      ...filter,
    });
    if (answer.kind !== 'ok') {
      attachment.release();
      return answer;
    }
    const [denial] = denials;
    if (denial !== undefined) throw this.#access.denied(denial);
    const { config, num_pending } = answer.response;
    // A server can limit all its consumers (max_request_batch).
    if (config.max_batch !== undefined && config.max_batch > 0)
      attachment.maxWindow = Math.min(WINDOW, config.max_batch);
    if (this.#inSnapshot) attachment.snapshot = num_pending;
    if (this.#inSnapshot && num_pending === 0) this.#leaveSnapshot();
    this.#attachment = attachment;
    void link.closed.then((reason) => {
      if (this.#attachment === attachment) void this.#recover(reason, true);
    });
    return answer;
  }

  /** From here on the stream is read in order, after what it held when the wait began. */
  #leaveSnapshot(): void {
    this.#inSnapshot = false;
    this.#nextSequence = Math.max(this.#nextSequence ?? 1, this.#lastSequence + 1);
  }

  #position(): ConsumerStart {
    if (this.#inSnapshot) return { deliver_policy: 'last_per_subject' };
    if (this.#nextSequence !== undefined)
      return { deliver_policy: 'by_start_sequence', opt_start_seq: this.#nextSequence };
    if (this.#startTime !== undefined)
      return { deliver_policy: 'by_start_time', opt_start_time: new Date(this.#startTime).toISOString() };
    return { deliver_policy: 'all' };
  }

  /** Asks for more once less than half of the window is under way or waits to be taken. */
  #pullWhenLow(): void {
    const attachment = this.#attachment;
    if (attachment !== undefined && attachment.outstanding + this.#arrivals.length <= attachment.window / 2)
      this.#pull();
  }

  /** Asks for as many messages as the window has room for. */
  #pull(): void {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#ended || attachment.link.isClosed) return;
    // The first pull asks for the first window; each pull after messages came asks for twice as much.
    if (attachment.delivered > 0) attachment.window *= 2;
    attachment.window = Math.min(attachment.window, attachment.maxWindow);
    const batch = attachment.window - attachment.outstanding - this.#arrivals.length;
    if (batch <= 0) return;
    attachment.outstanding += batch;
    const request = {
      batch,
      // A single message has to fit, with its subject and headers.
      max_bytes: Math.max(WINDOW_BYTES, 2 * (attachment.link.connection.info?.max_payload ?? 0)),
      expires: PULL_EXPIRES_MS * NANOSECONDS,
      idle_heartbeat: HEARTBEAT_MS * NANOSECONDS,
    };
    const { link, next, inbox } = attachment;
    link.connection.publish(next, Buffer.from(JSON.stringify(request)), { reply: inbox });
  }

  #onMessage(attachment: Attachment, received: Msg): void {
    // An event keeps its own subject, whatever its headers pretend. Whoever may publish to the inbox can send a status, too:
    // it makes no event, and at worst the stream is read again from where it was, with a pause and another inbox.
    if (hasSubject(received, attachment.inboxBytes)) {
      attachment.lastHeard = Date.now();
      this.#onStatus(attachment, received);
      return;
    }
    attachment.replyPrefix ??= replyPrefix(received, this.stream, attachment.consumer);
    const read = attachment.replyPrefix && streamMessage(received, this.stream, attachment.replyPrefix);
    if (read === undefined) {
      if (!this.#hasIgnored)
        this.links.log.debug(
          'The inbox of this wait was sent what its consumer did not deliver; that was ignored. An inbox prefix of its own keeps others out.',
        );
      this.#hasIgnored = true;
      return;
    }
    const { message, deliverySequence } = read;
    attachment.lastHeard = message.receivedAt;
    if (deliverySequence !== attachment.delivered + 1) {
      void this.#recover('the server skipped messages', false);
      return;
    }
    attachment.delivered = deliverySequence;
    attachment.outstanding--;
    if (this.#inSnapshot && this.#isResumed && message.sequence > this.#lastSequence) {
      // The last of its subject now, but it may not be the first since the wait began.
      this.#leaveSnapshot();
      void this.#recover('what came before the wait is read', false);
      return;
    }
    if (this.#inSnapshot && --attachment.snapshot === 0) this.#inSnapshot = false;
    if (this.#nextSequence === undefined || message.sequence >= this.#nextSequence) {
      this.#nextSequence = message.sequence + 1;
      if (!hasSubject(received, this.#subject)) {
        this.#subject = Uint8Array.from(rawSubject(received));
        this.#isSubjectWanted = this.#isWanted(message.subject);
      }
      if (this.#isSubjectWanted) this.#arrivals.push(message);
    }
    this.#pullWhenLow();
  }

  #onStatus(attachment: Attachment, status: Msg): void {
    const { code, description } = status.headers ?? {};
    // A pull request that got all it asked for says so since 2.10 where it had a limit in bytes.
    if (code === 100 || (code === 409 && /batch completed/i.test(description ?? ''))) return;
    if (code === 404 || code === 408 || (code === 409 && /exceeds maxbytes/i.test(description ?? ''))) {
      // The end of one pull request: what it still had open will not come.
      const open = Number(status.headers?.get('Nats-Pending-Messages'));
      const isTold = Number.isFinite(open) && open > 0;
      attachment.outstanding = isTold ? Math.max(0, attachment.outstanding - open) : 0;
      this.#pullWhenLow();
      return;
    }
    void this.#recover(description ?? 'the consumer is gone', false);
  }

  #checkSilence(): void {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#recovering || Date.now() - attachment.lastHeard < SILENCE_MS) return;
    // A long check blocks the process, and timers then run before what has arrived meanwhile is read.
    setImmediate(() => {
      if (this.#attachment === attachment && Date.now() - attachment.lastHeard >= SILENCE_MS)
        void this.#recover('the server is silent', false);
    });
  }

  /** Attaches again after the last message seen, for as long as it takes. */
  async #recover(reason: string, linkBroke: boolean): Promise<void> {
    if (this.#ended || this.#recovering) return;
    this.#recovering = true;
    this.#isResumed = true;
    const lost = this.#attachment;
    this.#attachment = undefined;
    lost?.release();
    if (linkBroke) this.#reportDown(reason);
    this.links.log.debug(`Reading the stream again: ${reason}.`);
    // Don't ask a server that ends each consumer at once for new ones at the speed of the network.
    const tooSoon = lost !== undefined && Date.now() - lost.since < RETRY_PAUSE_MS;
    let link = lost?.link;
    try {
      for (let first = true; !this.#isOver(); first = false) {
        if (!first || tooSoon) await pause(RETRY_PAUSE_MS, this.signal);
        // It may have closed meanwhile: a server that shuts down says so of the consumer first.
        if (link?.isClosed === true) this.#reportDown(await link.closed);
        link = await this.links.liveLink(this.signal);
        // Left alone, it counts against the stream's consumer limit for a minute.
        if (first && lost !== undefined) void this.#deleteConsumer({ link, consumer: lost.consumer });
        if (await this.#attachAgain(link)) break;
        const answers = link.isClosed || (await link.flush(FLUSH_TIMEOUT_MS)) !== undefined;
        if (!answers) await link.close('the server does not answer');
        if (link.isClosed) this.#reportDown(await link.closed);
      }
    } catch (error) {
      if (!this.#isOver()) this.#fail(error as Error);
      return;
    } finally {
      this.#recovering = false;
    }
    if (this.#isOver()) return;
    this.#reportUp();
    this.#pull();
    // The new link may have broken while this was going on.
    const current = this.#attachment as Attachment | undefined;
    if (current?.link.isClosed === true) void this.#recover(await current.link.closed, true);
  }

  #reportDown(reason: string): void {
    if (this.#downSince !== undefined) return;
    this.#downSince = Date.now();
    this.events.linkDown(reason);
  }

  #reportUp(): void {
    if (this.#downSince === undefined) return;
    this.events.linkUp(Date.now() - this.#downSince);
    this.#downSince = undefined;
  }

  #isOver(): boolean {
    return this.#ended || this.signal.aborted;
  }

  /** One attempt; false when it may work in a moment. */
  async #attachAgain(link: Link): Promise<boolean> {
    const info = await unlessAborted(this.links.api(link).streamInfo(this.#access.name), this.signal);
    if (info.kind === 'apiError' && info.error.err_code === API_ERROR.streamNotFound) {
      if (!this.#streamGone)
        this.events.notice(`The stream "${this.#access.name}" was deleted; waiting for it to be created again.`);
      this.#streamGone = true;
      this.#reportUp();
      return false;
    }
    if (info.kind !== 'ok') return this.#passing(info, link);
    this.#streamGone = false;
    const { created, state } = info.response;
    if (
      created !== this.#streamCreated ||
      (this.#nextSequence !== undefined && state.last_seq + 1 < this.#nextSequence)
    ) {
      this.events.notice(`The stream "${this.#access.name}" was created again; it is read from its first event.`);
      this.#streamCreated = created;
      this.#nextSequence = 1;
      this.#inSnapshot = false;
    }
    const answer = await unlessAborted(this.#attach(link), this.signal);
    return answer.kind === 'ok' || this.#passing(answer, link);
  }

  #passing(answer: Exclude<ApiAnswer<unknown>, { kind: 'ok' }>, link: Link): false {
    if (answer.kind === 'denied') throw this.#access.denied(answer.violation);
    if (answer.kind === 'apiError' && !isTransient(answer)) throw this.#access.apiError(answer.error, link);
    return false;
  }

  #fail(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#watchdog);
    this.events.failed(error);
  }
}
