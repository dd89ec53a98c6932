import type { Subscription, SubscriptionEvents } from '../../bus.ts';
import type { TaskError } from '../../errors.ts';
import { subjectMatches } from '../../subject.ts';
import { ArrivalQueue } from './arrivalQueue.ts';
import type { Link, Violation } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { unlessAborted } from '../../clock.ts';
import { coreWaitGrants, deniedError } from '../permissions.ts';
import { coreMessage } from './receivedMessage.ts';

const FLUSH_TIMEOUT_MS = 5_000;
/** Core NATS can't be asked for less, but its socket can be left unread: done beyond this much waiting to be taken. */
const MOST_WAITING_BYTES = 16 * 1_024 * 1_024;

/** Core NATS subscriptions that are made again on each new link. What is published while there is none is lost. */
export class CoreSubscription implements Subscription {
  readonly stream = undefined;
  readonly #arrivals: ArrivalQueue;
  #stopped = false;
  #link: Link | undefined;

  constructor(
    private readonly links: Links,
    private readonly subjects: readonly string[],
    private readonly events: SubscriptionEvents,
    private readonly signal: AbortSignal,
  ) {
    this.#arrivals = new ArrivalQueue(
      (arrivals) => events.arrived(arrivals),
      () => this.#link?.holdReading(false),
    );
  }

  /** Resolves once the server has the subscriptions. */
  async begin(): Promise<void> {
    for (;;) {
      const link = await this.links.liveLink(this.signal);
      if (await this.#subscribe(link)) return;
      await link.close('the server did not answer');
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#link?.close();
  }

  /** False when the link broke or the server did not answer in time. */
  async #subscribe(link: Link): Promise<boolean> {
    if (link.isClosed) return false;
    this.#link = link;
    for (const subject of this.subjects) {
      link.connection.subscribe(subject, {
        callback: (error, message) => {
          if (this.#stopped || link !== this.#link) return;
          // The server delivers an event once for each subscription that it is on.
          if (error !== null || this.subjects.find((other) => subjectMatches(other, message.subject)) !== subject)
            return;
          this.#arrivals.push(coreMessage(message));
          if (this.#arrivals.bytes > MOST_WAITING_BYTES) link.holdReading(true);
        },
      });
    }
    const violations = await unlessAborted(link.flush(FLUSH_TIMEOUT_MS), this.signal);
    if (violations === undefined) return false;
    const denied = violations.find(({ operation }) => operation === 'subscription');
    if (denied !== undefined) throw this.#denied(denied);
    // Permissions can also be taken away later, when the server's configuration is reloaded.
    link.onViolation((violation) => {
      if (violation.operation === 'subscription') this.#fail(this.#denied(violation));
    });
    void link.closed.then((reason) => this.#recover(reason));
    return true;
  }

  #denied({ operation, subject }: Violation): TaskError {
    return deniedError(operation, subject, coreWaitGrants(this.subjects));
  }

  async #recover(reason: string): Promise<void> {
    if (this.#isOver()) return;
    const lostAt = Date.now();
    this.events.linkDown(reason);
    try {
      await this.begin();
    } catch (error) {
      if (!this.#isOver()) this.#fail(error as Error);
      return;
    }
    const downMs = Date.now() - lostAt;
    this.events.linkUp(downMs);
    this.events.notice(
      `Events published while the link was down (${downMs} ms) are lost: core NATS keeps none. Use delivery: jetStream where that matters.`,
    );
  }

  #isOver(): boolean {
    return this.#stopped || this.signal.aborted;
  }

  #fail(error: Error): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.events.failed(error);
  }
}
