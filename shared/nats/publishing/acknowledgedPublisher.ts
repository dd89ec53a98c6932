import type { Msg, Subscription } from 'nats';
import type { OutgoingMessage, PubAck, StreamPublisher } from '../../bus.ts';
import { reasonOf, TaskError } from '../../errors.ts';
import { API_ERROR, apiErrorText } from '../jetStreamApi.ts';
import { createInbox } from '../link/libraryLimits.ts';
import type { Link, Violation } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { numberAt, rawSubject } from '../link/rawMessage.ts';
import { deniedToService } from '../permissions.ts';
import { MessageFrames } from './messageFrames.ts';
import { PubAcks } from './pubAcks.ts';
import { isPassing, refusedByStream } from './streamErrors.ts';

/** Bytes that may wait for the server to read. Beyond that, it reads slower than messages come, or has stopped. */
const MOST_UNSENT_BYTES = 64 * 1_024 * 1_024;

/**
 * Publishes single messages side by side over whatever link there is. All acknowledgements come to one inbox, and what is
 * published in one turn of the event loop is written at once: one library request per message costs twice as much.
 */
export class AcknowledgedPublisher implements StreamPublisher {
  #desk: Desk | undefined;

  constructor(private readonly links: Links) {}

  async publish(message: OutgoingMessage, withinMs: number): Promise<PubAck> {
    const desk = this.#openDesk;
    if (desk !== undefined) return desk.publish(message, withinMs);
    const until = Date.now() + withinMs;
    const link = await this.#liveLink(withinMs);
    // Several may have waited for the link, which may be gone again.
    this.#desk = this.#openDesk ?? (link.isClosed ? undefined : new Desk(link, this.links.inboxPrefix));
    if (this.#desk === undefined) throw noLink('it broke at once');
    return this.#desk.publish(message, Math.max(1, until - Date.now()));
  }

  get #openDesk(): Desk | undefined {
    return this.#desk?.isOpen === true ? this.#desk : undefined;
  }

  async #liveLink(withinMs: number): Promise<Link> {
    try {
      return await this.links.linkWithin(withinMs);
    } catch (error) {
      throw noLink(error instanceof TaskError ? error.problem : `none came up within ${withinMs} ms`);
    }
  }
}

function noLink(why: string): TaskError {
  return new TaskError(
    'ConnectionLost',
    `There is no link to NATS: ${why}`,
    'Check whether its servers are reachable.',
  );
}

/** A message that was sent and not answered. */
interface Pending {
  readonly subject: string;
  readonly resolve: (ack: PubAck) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Publishes over one link, to which it belongs. */
class Desk {
  readonly #pending = new Map<number, Pending>();
  readonly #frames: MessageFrames;
  readonly #acks = new PubAcks();
  readonly #inbox: string;
  readonly #subscription: Subscription;
  readonly #stopWatching: readonly (() => void)[];
  #sent = 0;
  #isFlushing = false;
  #isOver = false;

  constructor(
    private readonly link: Link,
    inboxPrefix: string,
  ) {
    this.#frames = new MessageFrames(link);
    this.#inbox = createInbox(inboxPrefix);
    const prefix = Buffer.byteLength(this.#inbox) + 1;
    this.#subscription = link.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#onAnswer(numberAt(rawSubject(message), prefix), message);
      },
    });
    this.#stopWatching = [
      link.onViolation((violation) => this.#onViolation(violation)),
      link.onClose((reason) => {
        this.#end(new TaskError('ConnectionLost', `The link broke before the stream had answered: ${reason}`));
      }),
    ];
  }

  get isOpen(): boolean {
    return !this.#isOver && !this.link.isClosed;
  }

  publish({ subject, headers, payload }: OutgoingMessage, withinMs: number): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      if (this.link.unsentBytes > MOST_UNSENT_BYTES)
        throw new TaskError('Timeout', `${this.link.server} has stopped reading what is sent to it`);
      const number = ++this.#sent;
      this.#frames.send(subject, `${this.#inbox}.${number}`, headers, payload);
      const timer = setTimeout(() => {
        this.#settle(number)?.reject(
          new TaskError('Timeout', `The stream did not acknowledge the message on "${subject}" within ${withinMs} ms`),
        );
      }, withinMs);
      this.#pending.set(number, { subject, resolve, reject, timer });
      this.#flushSoon();
    });
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      this.#frames.flush();
    });
  }

  /** Takes a message from those that wait for an answer; undefined where it isn't among them any more. */
  #settle(number: number): Pending | undefined {
    const pending = this.#pending.get(number);
    if (pending === undefined) return undefined;
    this.#pending.delete(number);
    clearTimeout(pending.timer);
    return pending;
  }

  #onAnswer(number: number, answer: Msg): void {
    const pending = this.#settle(number);
    if (pending === undefined) return;
    try {
      pending.resolve(this.#read(answer, pending.subject));
    } catch (error) {
      // Thrown into the library, it would break the link.
      pending.reject(error instanceof Error ? error : new Error(reasonOf(error)));
    }
  }

  #read(answer: Msg, subject: string): PubAck {
    if (answer.data.length === 0 && answer.headers?.code === 503) {
      throw new TaskError(
        'NoStream',
        `No stream captures the subject "${subject}", or its stream has no leader`,
        'Create one in the account of this user.',
      );
    }
    const ack = this.#acks.read(answer.data, subject);
    if (!('error' in ack)) return ack;
    if (ack.error.err_code === API_ERROR.wrongStream) {
      throw new TaskError(
        'NoStream',
        `The subject "${subject}" is captured by the wrong stream`,
        'Correct the subjects of the streams.',
      );
    }
    if (!isPassing(ack.error)) throw refusedByStream(ack.error, subject, undefined);
    throw new TaskError(
      'Timeout',
      `The stream cannot take the message on "${subject}" now: ${apiErrorText(ack.error)}`,
    );
  }

  /** The server doesn't say which message it means, so all of the subject that are under way are refused. */
  #onViolation({ operation, subject }: Violation): void {
    if (operation === 'publish') {
      for (const [number, pending] of this.#pending)
        if (pending.subject === subject) this.#settle(number)?.reject(deniedToService(operation, subject));
    } else if (subject === `${this.#inbox}.*`) this.#end(deniedToService(operation, subject));
  }

  #end(error: TaskError): void {
    this.#isOver = true;
    for (const stop of this.#stopWatching) stop();
    if (!this.link.isClosed) this.#subscription.unsubscribe();
    for (const number of this.#pending.keys()) this.#settle(number)?.reject(error);
  }
}
