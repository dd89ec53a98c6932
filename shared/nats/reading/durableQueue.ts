import type { Msg } from 'nats';
import type { QueuedMessage, WorkQueue, WorkQueueEvents } from '../../bus.ts';
import { reasonOf, TaskError } from '../../errors.ts';
import { createInbox } from '../link/libraryLimits.ts';
import type { Link, Violation } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { API_ERROR } from '../jetStreamApi.ts';
import { deniedToService } from '../permissions.ts';
import { pause } from '../../clock.ts';
import { replyPrefix, streamMessage } from './receivedMessage.ts';

const NANOSECONDS = 1e6;
const PULL_EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 5_000;
/** Two heartbeats missed, and a moment. */
const SILENCE_MS = 2 * HEARTBEAT_MS + 2_000;
/** Pause before asking again a consumer that isn't there or has lost its leader. */
const RETRY_PAUSE_MS = 500;
/** The consumer is there, but stays silent until a message comes or a heartbeat is due. */
const QUIET_MS = 1_000;

/** One attachment to the consumer; messages for an older one are still taken, since they've been delivered. */
interface Attachment {
  readonly link: Link;
  readonly inbox: string;
  /** Messages asked for that haven't come. */
  outstanding: number;
  lastHeard: number;
  readonly release: () => void;
}

/** {@link WorkQueue} by pull requests, over whatever link there is. */
export class DurableQueue implements WorkQueue {
  readonly #stopping = new AbortController();
  #attachment: Attachment | undefined;
  #wanted = 0;
  #isDown = false;
  #upTimer: NodeJS.Timeout | undefined;
  readonly #watchdog: NodeJS.Timeout;

  constructor(
    private readonly links: Links,
    private readonly stream: string,
    private readonly consumer: string,
    private readonly events: WorkQueueEvents,
  ) {
    this.#watchdog = setInterval(() => this.#checkSilence(), HEARTBEAT_MS).unref();
    void this.#attach(0);
  }

  want(count: number): void {
    this.#wanted = count;
    this.#pull();
  }

  stop(): void {
    this.#stopping.abort();
    clearInterval(this.#watchdog);
    clearTimeout(this.#upTimer);
    this.#attachment?.release();
    this.#attachment = undefined;
  }

  #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Listens on a link. Never rejects. */
  async #attach(afterMs: number): Promise<void> {
    const { signal } = this.#stopping;
    while (!this.#isStopped()) {
      try {
        if (afterMs > 0) await pause(afterMs, signal);
        const link = await this.links.liveLink(signal);
        if (this.#isStopped()) return;
        this.#attachment = this.#listen(link);
        this.#pull();
        return;
      } catch (error) {
        if (this.#isStopped()) return;
        // The bus is closed, and nothing will ever come.
        if (error instanceof TaskError && error.code === 'Cancelled') return;
        this.#reportDown(error instanceof Error ? error : new Error(reasonOf(error)));
        afterMs = RETRY_PAUSE_MS;
      }
    }
  }

  #listen(link: Link): Attachment {
    const inbox = `${createInbox(this.links.inboxPrefix)}.0`;
    const subscription = link.connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null) this.#onMessage(attachment, message);
      },
    });
    const stops = [
      link.onClose((reason) => this.#lose(attachment, lost(reason), 0)),
      link.onViolation((violation) => this.#onViolation(attachment, violation)),
    ];
    const attachment: Attachment = {
      link,
      inbox,
      outstanding: 0,
      lastHeard: Date.now(),
      release: () => {
        for (const stop of stops) stop();
        if (!link.isClosed) subscription.unsubscribe();
      },
    };
    return attachment;
  }

  get #next(): string {
    return `${this.links.apiPrefix}.CONSUMER.MSG.NEXT.${this.stream}.${this.consumer}`;
  }

  /** Asks for more once less than half of the allowed messages are in flight. */
  #pull(): void {
    const attachment = this.#attachment;
    if (attachment === undefined || attachment.link.isClosed || attachment.outstanding > this.#wanted / 2) return;
    const batch = this.#wanted - attachment.outstanding;
    if (batch <= 0) return;
    attachment.outstanding += batch;
    attachment.lastHeard = Date.now();
    const request = {
      batch,
      expires: PULL_EXPIRES_MS * NANOSECONDS,
      idle_heartbeat: HEARTBEAT_MS * NANOSECONDS,
    };
    const { link, inbox } = attachment;
    link.connection.publish(this.#next, Buffer.from(JSON.stringify(request)), { reply: inbox });
    // A consumer that isn't there says so at once.
    if (this.#isDown) this.#upTimer ??= setTimeout(() => this.#reportUp(), QUIET_MS);
  }

  #onMessage(attachment: Attachment, received: Msg): void {
    if (attachment !== this.#attachment) return;
    attachment.lastHeard = Date.now();
    if (received.subject === attachment.inbox) {
      this.#onStatus(attachment, received);
      return;
    }
    const prefix = replyPrefix(received, this.stream, this.consumer);
    const read = prefix && streamMessage(received, this.stream, prefix);
    // Anybody may send to an inbox, but only the server under the name of the consumer.
    if (prefix === undefined || read === undefined) return;
    attachment.outstanding = Math.max(0, attachment.outstanding - 1);
    this.#reportUp();
    const { reply = '' } = received;
    const answer = (text: string) => this.#answer(reply, text);
    const queued: QueuedMessage = {
      message: read.message,
      deliveries: Number(reply.slice(prefix.length, reply.indexOf('.', prefix.length))),
      ack: () => answer('+ACK'),
      working: () => answer('+WPI'),
      retry: (afterMs) => answer(`-NAK ${JSON.stringify({ delay: Math.ceil(afterMs) * NANOSECONDS })}`),
      // Servers before 2.10 don't understand a reason after it.
      term: () => answer('+TERM'),
    };
    this.events.arrived(queued);
  }

  /** Over another link than the one it came by, where that is gone. */
  #answer(reply: string, text: string): void {
    const link = this.links.last;
    if (link === undefined || link.isClosed) return;
    link.connection.publish(reply, Buffer.from(text));
  }

  #onStatus(attachment: Attachment, status: Msg): void {
    const { code, description = '' } = status.headers ?? {};
    if (code === 100) {
      this.#reportUp();
      return;
    }
    const isBatchDone = code === 409 && /batch completed/i.test(description);
    if (code === 404 || code === 408 || isBatchDone) {
      // The end of one pull request: what it still had open will not come.
      const open = Number(status.headers?.get('Nats-Pending-Messages'));
      attachment.outstanding = open > 0 ? Math.max(0, attachment.outstanding - open) : 0;
      this.#pull();
      return;
    }
    if (code === 503) void this.#loseConsumer(attachment);
    else this.#lose(attachment, lost(description), RETRY_PAUSE_MS);
  }

  /** Nobody takes the pull request: the consumer isn't there, or there's no JetStream. Never rejects. */
  async #loseConsumer(attachment: Attachment): Promise<void> {
    const problem = new TaskError(
      'NoStream',
      `The stream "${this.stream}" has no consumer "${this.consumer}"`,
      'Create it: nats-event-bridge setup --apply.',
    );
    // Only the first reason is reported while it's down.
    const isOff = !this.#isDown && (await this.#isJetStreamOff(attachment.link));
    this.#lose(attachment, isOff ? jetStreamOff() : problem, RETRY_PAUSE_MS);
  }

  async #isJetStreamOff(link: Link): Promise<boolean> {
    const answer = await this.links
      .api(link)
      .streamInfo(this.stream, QUIET_MS)
      .catch(() => undefined);
    if (answer?.kind !== 'apiError') return answer?.kind === 'noResponders';
    return [API_ERROR.notEnabled, API_ERROR.notEnabledForAccount].some((code) => code === answer.error.err_code);
  }

  #onViolation(attachment: Attachment, { operation, subject }: Violation): void {
    const isOurs =
      subject === this.#next ||
      subject === attachment.inbox ||
      (subject.startsWith('$JS.ACK.') && subject.includes(`.${this.stream}.${this.consumer}.`));
    if (isOurs) this.#lose(attachment, deniedToService(operation, subject), SILENCE_MS);
  }

  #checkSilence(): void {
    const attachment = this.#attachment;
    if (attachment === undefined || attachment.outstanding === 0) return;
    if (Date.now() - attachment.lastHeard >= SILENCE_MS) this.#lose(attachment, lost('the server is silent'), 0);
  }

  #lose(attachment: Attachment, problem: TaskError, afterMs: number): void {
    if (attachment !== this.#attachment || this.#isStopped()) return;
    this.#attachment = undefined;
    attachment.release();
    this.#reportDown(problem);
    void this.#attach(afterMs);
  }

  #reportDown(problem: Error): void {
    clearTimeout(this.#upTimer);
    this.#upTimer = undefined;
    if (this.#isDown || this.#isStopped()) return;
    this.#isDown = true;
    this.events.down(problem);
  }

  #reportUp(): void {
    clearTimeout(this.#upTimer);
    this.#upTimer = undefined;
    if (!this.#isDown || this.#isStopped()) return;
    this.#isDown = false;
    this.events.up();
  }
}

function jetStreamOff(): TaskError {
  return new TaskError('NoStream', "JetStream isn't there", 'Enable it for the server and the account of this user.');
}

function lost(reason: string): TaskError {
  return new TaskError('ConnectionLost', `The consumer's messages can't be read: ${reason}`);
}
